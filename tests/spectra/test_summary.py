"""What is called out, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from spectra import summary
from spectra.analysis import analyze
from spectra.options import AnalysisOptions
from spectra.types import Analysis

RNG = np.random.default_rng(0)


def model(layers: int = 10) -> dict[str, np.ndarray]:
    made = {f"layers.{i}.mlp.up_proj.weight": RNG.standard_normal((60, 90)) for i in range(layers)}
    return made | {f"layers.{i}.mlp.down_proj.weight": RNG.standard_normal((90, 60)) for i in range(layers)}


def run(tensors: dict[str, np.ndarray]) -> Analysis:
    return analyze(tensors, options=AnalysisOptions(workers=1, null_cache=None))


def test_random_matrices_are_said_to_be_random_and_not_odd() -> None:
    found = run(model())
    assert summary.odd_matrices(found) == []
    assert len(summary.like_random(found)) >= 18


def test_the_odd_one_is_named_with_its_reason() -> None:
    tensors = model()
    tensors["layers.4.mlp.up_proj.weight"] *= 3
    u, v = RNG.standard_normal((90, 1)), RNG.standard_normal((1, 60))
    tensors["layers.7.mlp.down_proj.weight"] += 2 * u @ v
    found = run(tensors)
    odd = {o.name: o for o in summary.odd_matrices(found)}
    assert set(odd) == {"layers.4.mlp.up_proj.weight", "layers.7.mlp.down_proj.weight"}
    assert any("larger Frobenius norm" in r for r in odd["layers.4.mlp.up_proj.weight"].reasons)
    assert any("lower stable rank" in r for r in odd["layers.7.mlp.down_proj.weight"].reasons)
    assert "layers.7.mlp.down_proj.weight" not in summary.like_random(found)


def test_failures_are_counted_and_in_no_mean() -> None:
    tensors = model()
    tensors["layers.0.mlp.up_proj.weight"][0, 0] = np.nan
    tensors["layers.1.mlp.up_proj.weight"][:] = 0
    tensors["layers.2.mlp.up_proj.weight"][:] = 1
    found = run(tensors)
    line = next(line for line in summary.role_lines(found) if line.role == "up")
    assert (line.count, line.failed) == (10, 2)
    alphas = [
        r.values["alpha_hill"] for r in found.matrices if r.ref.role == "up" and r.values["alpha_hill"] is not None
    ]
    assert len(alphas) == 7 and line.medians["alpha_hill"] == pytest.approx(np.median(alphas))
    assert {(f.what, f.status) for f in summary.failures(found)} == {
        ("matrix", "non_finite"), ("matrix", "degenerate"), ("alpha_hill", "degenerate"), ("alpha_gof", "degenerate"),
        ("alpha_fix_finger", "degenerate"),
    }  # fmt: skip
    assert len(summary.fell_short(found)) == 5


def test_coverage_counts_tied_as_covered() -> None:
    E = RNG.standard_normal((50, 30))
    found = run({"model.embed_tokens.weight": E, "lm_head.weight": E.copy(), "model.norm.weight": np.ones(30)})
    cover = summary.coverage_summary(found)
    assert cover.counts == {"analysed": 1, "tied": 1, "skipped": 1}
    assert cover.parameters == 3030 and cover.covered == 3000


def test_doubts_count_what_the_tests_decide() -> None:
    tensors = {f"layers.{i}.mlp.up_proj.weight": RNG.standard_normal((60, 90)) for i in range(3)}
    assert summary.doubts(run(tensors)) == []
    options = AnalysisOptions(workers=1, null_cache=None, uncertainty=True, bootstrap=10)
    lines = summary.doubts(analyze(tensors, options=options))
    assert len(lines) == 4 and "of 3 goodness-of-fit tails" in lines[0]
    for line in lines[1:]:
        assert sum(int(word.rstrip(",")) for word in line.split() if word.rstrip(",").isdigit()) == 3
