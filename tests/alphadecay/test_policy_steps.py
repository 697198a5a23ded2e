"""One optimizer step of each policy, written out by hand, under Adam and AdamW."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from alphadecay import (
    AdaDecay,
    AdaptiveWeightDecay,
    AlphaDecay,
    NoDecay,
    Policy,
    Uniform,
)
from alphadecay.modules import find_modules
from spectra.errors import SpectraError

from . import reference
from .conftest import backward, tiny_llama
from .scoring import RATIO, expected_decays, step

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize("policy_name", ["none", "uniform", "alphadecay", "awd", "adadecay", "adadecay-element"])
def test_one_step_by_hand(policy_name: str, optimizer_name: str) -> None:
    """Every parameter after one optimizer step equals the update written out in numpy."""
    model = tiny_llama().double()
    backward(model)
    make: dict[str, Any] = {
        "none": lambda: NoDecay(model),
        "uniform": lambda: Uniform(model, base=0.2),
        "alphadecay": lambda: AlphaDecay(model, base=0.2, ratio=RATIO),
        "awd": lambda: AdaptiveWeightDecay(model, base=0.002),
        "adadecay": lambda: AdaDecay(model, base=0.2),
        "adadecay-element": lambda: AdaDecay(model, base=0.2, granularity="element"),
    }
    policy: Policy = make[policy_name]()
    before = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    gradients = {name: p.grad.numpy().copy() for name, p in model.named_parameters()}
    optimizer = OPTIMIZERS[optimizer_name](policy.param_groups(), lr=0.01)
    policy.step(optimizer)
    optimizer.step()
    for name, parameter in model.named_parameters():
        decay: Any = 0.2
        tuned = name in {m.name for m in find_modules(model)}
        if policy_name == "none":
            decay = 0.0
        elif policy_name == "awd":
            norm = lambda arrays: math.sqrt(sum(float((a * a).sum()) for a in arrays))  # noqa: E731
            decay = reference.awd(0.002, 100.0, [(norm(gradients.values()), norm(before.values()))])[0]
        elif policy_name == "adadecay-element" and tuned:
            decay = 0.2 * reference.adadecay_factors(gradients[name], 4.0)
        elif policy_name in ("alphadecay", "adadecay") and tuned:
            score = "alpha" if policy_name == "alphadecay" else "gradient_norm"
            scores = _scores_before(before, gradients, score, model)
            form = "linear" if policy_name == "alphadecay" else "sigmoid"
            decay = expected_decays(scores, form, 0.2, model)[name]
        expected = reference.adam_step(before[name], gradients[name], 0.01, decay, decoupled=optimizer_name == "adamw")
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-6, atol=1e-9, err_msg=name)


def _scores_before(before: Any, gradients: Any, score: str, model: Any) -> dict[str, float]:
    names = [m.name for m in find_modules(model)]
    if score == "gradient_norm":
        return {n: float(np.linalg.norm(gradients[n])) for n in names}
    return {n: reference.hill(reference.eigenvalues(before[n])) for n in names}


def test_awd_over_several_steps() -> None:
    model = tiny_llama()
    policy = AdaptiveWeightDecay(model, base=0.001, factor=50.0)
    optimizer = torch.optim.AdamW(policy.param_groups(), lr=0.01)
    norms, applied = [], []
    for seed in range(4):
        optimizer.zero_grad()
        backward(model, seed)
        flat = [
            torch.cat([t.flatten() for t in ts]).double()
            for ts in zip(*[(p.grad, p.detach()) for p in model.parameters()], strict=True)
        ]
        norms.append((float(flat[0].norm()), float(flat[1].norm())))
        policy.step(optimizer)
        applied.append(policy.base)
        assert {group["weight_decay"] for group in optimizer.param_groups} == {policy.base}
        optimizer.step()
    assert applied == pytest.approx(reference.awd(0.001, 50.0, norms), rel=1e-5)


def test_awd_without_gradients() -> None:
    policy = AdaptiveWeightDecay(tiny_llama(), base=0.1)
    with pytest.raises(SpectraError, match=r"after backward\(\)"):
        step(policy)
