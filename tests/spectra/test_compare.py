"""Two checkpoints: what changed, and what kind of change it was."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from spectra import results
from spectra.analysis import analyze
from spectra.checkpoint import open_checkpoint
from spectra.compare import Comparison, compare, match, verdict
from spectra.comparing import read_comparison, write_comparison
from spectra.errors import SpectraError
from spectra.options import AnalysisOptions
from spectra.panel import FitOptions
from spectra.reading import read_result
from spectra.stored import Stored
from spectra.update import overlap, update
from tests.spectra.conftest import LLAMA_CONFIG, Save, llama_tensors

QUICK = AnalysisOptions(workers=1, null_cache=None, null=False)
RNG = np.random.default_rng(0)


def run(a: Path, b: Path) -> Comparison:
    analyses = [analyze(path, options=QUICK) for path in (a, b)]
    return compare(analyses[0], analyses[1], (open_checkpoint(a), open_checkpoint(b)), workers=2)


def test_a_rank_2_update_is_found_on_exactly_the_changed_matrices(stories: Path, tmp_path: Path) -> None:
    weights = load_file(stories / "model.safetensors")
    changed = ["model.layers.1.self_attn.q_proj.weight", "model.layers.3.mlp.down_proj.weight"]
    for name in changed:
        rows, cols = weights[name].shape
        step = RNG.standard_normal((rows, 2)) @ RNG.standard_normal((2, cols))
        weights[name] = (weights[name] + 0.05 * step).astype(np.float32)
    other = tmp_path / "other"
    shutil.copytree(stories, other)
    save_file(weights, other / "model.safetensors")
    found = run(stories, other)
    assert len(found.pairs) == 36 and not found.only_a and not found.only_b
    for pair in found.pairs:
        assert pair.update is not None
        if pair.a.name in changed:
            assert (pair.update.status, pair.update.rank) == ("ok", 2)
        else:
            assert (pair.update.status, pair.update.rank, pair.update.relative_norm) == ("unchanged", 0, 0.0)
    words = " ".join(verdict(found))
    assert "2 of 36 matrices changed" in words and "low-rank" in words


def test_kinds_of_change_are_told_apart(save: Save) -> None:
    first = llama_tensors(d=64, heads=4)
    config = LLAMA_CONFIG | {"hidden_size": 64}
    matrices = [name for name, value in first.items() if value.ndim == 2]

    def changed(name: str, step: float) -> Path:
        moved = {n: v + np.float32(step) * RNG.standard_normal(v.shape).astype(np.float32) for n, v in first.items()}
        return save(moved, config, name=name)

    a = save(first, config, name="a")
    assert verdict(run(a, changed("small", 0.01)))[-1].startswith("full-rank but small")
    assert verdict(run(a, changed("large", 2.0)))[-1].startswith("full-rank updates of the size")
    lora = dict(first)
    for name in matrices:
        rows, cols = lora[name].shape
        step = RNG.standard_normal((rows, 4)) @ RNG.standard_normal((4, cols)) * 0.1
        lora[name] = (lora[name] + step).astype(np.float32)
    found = run(a, save(lora, config, name="lora"))
    assert {pair.update.rank for pair in found.pairs if pair.update} == {4}
    assert verdict(found)[-1].startswith("low-rank")
    assert verdict(run(a, a)) == [
        f"0 of {len(matrices)} matrices changed, {len(matrices)} are equal in every stored value"
    ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rounding_is_not_an_update_of_full_rank(dtype: str) -> None:
    """A rank-3 update stored in bfloat16 changes every entry by rounding; its rank is still 3."""
    torch = pytest.importorskip("torch")
    g = torch.Generator().manual_seed(0)
    A = torch.randn(96, 128, generator=g)
    B = A + torch.randn(96, 3, generator=g) @ torch.randn(3, 128, generator=g)
    kind = getattr(torch, dtype)
    stored = [W.to(kind).double().numpy() for W in (A, B)]
    roundoff = {"float32": 2.0**-24, "bfloat16": 2.0**-8}[dtype]
    assert update(*(Stored(W, "float64") for W in stored), roundoff).rank == 3


def test_overlap_of_spans() -> None:
    u, _ = np.linalg.qr(RNG.standard_normal((40, 40)))
    v, _ = np.linalg.qr(RNG.standard_normal((60, 40)))
    s = np.concatenate([np.full(4, 10.0), np.full(36, 0.1)])
    A = u * s @ v.T
    B = np.roll(u, 4, axis=1) * s @ v.T
    assert overlap(A, A, 4) == pytest.approx(1.0)
    assert overlap(A, B, 4) == pytest.approx(0.0, abs=1e-12)
    assert overlap(A, 3 * A, 4) == pytest.approx(1.0)


def test_differences_are_b_minus_a_and_shapes_must_agree(save: Save) -> None:
    first = llama_tensors()
    second = {n: v * np.float32(2) for n, v in first.items()}
    second["model.layers.0.mlp.up_proj.weight"] = RNG.standard_normal((40, 32)).astype(np.float32)
    second["extra.weight"] = RNG.standard_normal((20, 20)).astype(np.float32)
    found = run(save(first, name="a"), save(second, name="b"))
    assert list(found.only_a) == ["model.layers.0.mlp.up_proj.weight"]
    assert sorted(found.only_b) == ["extra.weight", "model.layers.0.mlp.up_proj.weight"]
    for pair in found.pairs:
        W = first[pair.a.tensor].astype(np.float64)
        assert pair.differences["frobenius_norm"] == pytest.approx(np.linalg.norm(W), rel=1e-6)
        assert pair.differences["alpha_hill"] == pytest.approx(0.0, abs=1e-6)
        assert pair.update is not None and pair.update.relative_norm == pytest.approx(1.0)


def test_names_may_differ_where_the_place_is_the_same(save: Save) -> None:
    first = llama_tensors()
    renamed = {"module." + name: value for name, value in first.items()}
    analyses = [analyze(save(t, name=n), options=QUICK) for t, n in ((first, "a"), (renamed, "b"))]
    pairs, only_a, only_b = match(analyses[0], analyses[1])
    assert len(pairs) == 15 and not only_a and not only_b
    assert all(y.ref.name == "module." + x.ref.name for x, y in pairs)


def test_other_conventions_are_refused(save: Save) -> None:
    folder = save(llama_tensors(), name="a")
    two_sided = analyze(folder, options=replace(QUICK, fit=FitOptions(two_sided=True)))
    with pytest.raises(SpectraError, match="different conventions"):
        compare(analyze(folder, options=QUICK), two_sided)


def test_nothing_in_common(save: Save) -> None:
    a = analyze(save(llama_tensors(), name="a"), options=QUICK)
    b = analyze({"w": RNG.standard_normal((9, 9))}, options=QUICK)
    with pytest.raises(SpectraError, match="counterpart"):
        compare(a, b)


def test_analyses_alone_give_differences_without_updates(save: Save, tmp_path: Path) -> None:
    a = analyze(save(llama_tensors(), name="a"), options=QUICK)
    results.write_json(a, tmp_path / "a.json")
    found = compare(results.read_json(tmp_path / "a.json"), a)
    assert all(pair.update is None for pair in found.pairs) and verdict(found) == []
    assert {d for pair in found.pairs for d in pair.differences.values()} == {0.0}


def test_a_comparison_is_read_as_it_was_written(save: Save, tmp_path: Path) -> None:
    first = llama_tensors()
    second = {n: v * np.float32(2) for n, v in first.items()}
    second["model.layers.0.mlp.up_proj.weight"][0, 0] = np.nan
    second["model.layers.1.mlp.up_proj.weight"] = np.zeros((5, 6), np.float32)
    a, b = save(first, name="a"), save(second, name="b")
    for found in (run(a, b), compare(analyze(a, options=QUICK), analyze(b, options=QUICK))):
        write_comparison(found, tmp_path / "c.json")
        assert read_comparison(tmp_path / "c.json") == found == read_result(tmp_path / "c.json")
    one = next(pair for pair in found.pairs if pair.a.name.endswith("0.self_attn.q_proj.weight"))
    assert one.values_b["spectral_norm"] == pytest.approx(2 * (one.values_a["spectral_norm"] or 0))
    for text in ("{}", '{"pairs": []}', '{"schema_version": 1, "pairs": [{}]}'):
        (tmp_path / "no.json").write_text(text)
        with pytest.raises(SpectraError, match="no comparison"):
            read_comparison(tmp_path / "no.json")
