"""Decays of real and random models against the papers' formulas, for every score, assignment and fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from alphadecay import (
    AlphaDecay,
)
from alphadecay.assign import ASSIGNMENTS
from alphadecay.modules import find_modules
from alphadecay.scores import SCORES
from spectra.errors import SpectraError
from tests.spectra.tiny_models import TINY, build_tiny

from . import reference
from .conftest import backward, tiny_llama
from .scoring import RATIO, expected_decays, expected_scores, load, step

CASES = [("alpha", fit) for fit in reference.FITS] + [(score, "hill") for score in SCORES if score != "alpha"]


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
@pytest.mark.parametrize(("score", "fit"), CASES)
def test_decays_of_a_real_model(stories: Path, score: str, fit: str, assignment: str) -> None:
    model = load(stories)
    backward(model)
    policy = AlphaDecay(model, base=0.1, ratio=RATIO, score=score, fit=fit, assignment=assignment)  # type: ignore[arg-type]
    step(policy)
    scores = expected_scores(model, score, reference.FITS, fit)
    expected = expected_decays(scores, assignment, 0.1, model)
    kept = {name: value if value >= 0 else 0.1 for name, value in expected.items()}
    assert policy.decays == pytest.approx(dict.fromkeys(policy.decays, 0.1) | kept, rel=1e-6)
    assert len(set(policy.decays.values())) > 5


@pytest.mark.parametrize("arch", TINY)
def test_decays_of_every_architecture(arch: str) -> None:
    model = build_tiny(arch)
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():  # any gradient will do
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
    for score, fit in (("alpha", "hill"), ("gradient_norm", "hill"), ("spectral_norm", "hill")):
        for assignment in ("linear", "sigmoid"):
            policy = AlphaDecay(model, base=0.1, ratio=RATIO, score=score, fit=fit, assignment=assignment)  # type: ignore[arg-type]
            step(policy)
            expected = expected_decays(expected_scores(model, score, reference.FITS, fit), assignment, 0.1, model)
            assert policy.decays == pytest.approx(dict.fromkeys(policy.decays, 0.1) | expected, rel=1e-6)
    groups = policy.param_groups()
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted({id(p) for p in parameters.values()})  # every parameter once, tied ones too
    assert {group["name"] for group in groups} == set(policy.decays) | {"base"}
    tuned = {p.ndim for group in groups if group["name"] != "base" for p in group["params"]}
    assert tuned <= {2, 3}


@pytest.mark.parametrize("fit", reference.FITS)
def test_the_profile_of_the_authors_code(stories: Path, fit: str) -> None:
    """Its estimators; modules of under 50 eigenvalues and the first and last Linear keep the base decay."""
    model = load(stories)
    policy = AlphaDecay(model, base=0.1, ratio=RATIO, fit=fit, profile="alphadecay")  # type: ignore[arg-type]
    step(policy)
    scores = expected_scores(model, "alpha", reference.FITS_OF_THE_CODE, fit)
    small = {m.name for m in find_modules(model) if min(m.matrices[0].rows, m.matrices[0].cols) < 50}
    assert small  # the 32 rows of k and v
    first = "model.layers.0.self_attn.q_proj.weight"
    assert first not in policy.decays
    kept = {name: s for name, s in scores.items() if name not in small and name != first}
    expected = dict.fromkeys(policy.decays, 0.1) | reference.linear(kept, 0.1, *RATIO)
    assert policy.decays == pytest.approx(expected, rel=1e-6)
    step(AlphaDecay(model, base=0.1, score="frobenius_norm", profile="alphadecay"))


def test_squared_norms_of_the_authors_code() -> None:
    model = tiny_llama()
    for score in ("frobenius_norm", "spectral_norm"):
        plain, squared = (AlphaDecay(model, base=0.1, score=score, profile=p) for p in ("default", "alphadecay"))  # type: ignore[arg-type]
        step(plain), step(squared)
        for name, found in squared.scores.items():
            value = plain.scores[name].value
            assert value is not None and found.value == pytest.approx(value**2)


def test_null_corrected(stories: Path) -> None:
    """What a random matrix of the shape gives is taken off; only differences between shapes go."""
    from spectra.null_cache import NullCache
    from spectra.panel import FitOptions

    model = load(stories)
    plain, corrected = (AlphaDecay(model, base=0.1, ratio=RATIO, null_corrected=flag) for flag in (False, True))
    step(plain), step(corrected)
    cache = NullCache(0, FitOptions(fits=("hill",)), None)
    nulls = {}
    for module in plain.modules:
        ref = module.matrices[0]
        nulls[module.name] = cache.matrix((ref.rows, ref.cols)).moments["alpha_hill"][0]
    mean = float(np.mean(list(nulls.values())))
    for name, score in corrected.scores.items():
        assert score.value == pytest.approx(plain.scores[name].value - nulls[name] + mean)  # type: ignore[operator]
    expected = reference.linear({n: s.value for n, s in corrected.scores.items() if s.value is not None}, 0.1, *RATIO)
    assert corrected.decays == pytest.approx(expected)
    with pytest.raises(SpectraError, match="null_corrected goes with the score alpha"):
        AlphaDecay(model, base=0.1, score="gradient_norm", null_corrected=True)
