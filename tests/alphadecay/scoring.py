"""Expected scores and decays of a whole model, by `reference.py`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from alphadecay import Policy
from alphadecay.modules import find_modules

from . import reference

RATIO = (0.67, 5.0)


def load(path: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


def step(policy: Policy, optimizer: torch.optim.Optimizer | None = None) -> None:
    policy.step(optimizer or torch.optim.AdamW(policy.param_groups(), lr=1e-3))


def pieces(tensor: torch.Tensor, role: str, module: Any) -> list[np.ndarray]:
    """The (out, in) matrices of a parameter, cut by hand where this test knows how, else by the names of `spectra`."""
    from spectra.naming import cut
    from spectra.stored import Stored

    values = tensor.detach().double().numpy()
    if len(module.matrices) == 1 and values.ndim == 2:
        return [values]
    stored = Stored(values, "float64")
    parts = []
    for ref in module.matrices:
        part = stored if ref.view.index is None else stored[ref.view.index]
        parts.append(cut(part, ref.view).decode())
    return parts


def expected_scores(model: Any, score: str, fits: dict[str, Any], fit: str) -> dict[str, float]:
    found = {}
    parameters = dict(model.named_parameters())
    for module in find_modules(model):
        parameter = parameters[module.name]
        tensor = parameter.grad if score == "gradient_norm" else parameter
        assert tensor is not None
        values = []
        for W in pieces(tensor, module.role, module):
            if score == "alpha" and min(W.shape) < 8:
                continue  # too few eigenvalues for any fit
            if score == "alpha":
                values.append(fits[fit](reference.eigenvalues(W)))
            elif score == "spectral_norm":
                values.append(float(np.linalg.norm(W, 2)))
            else:
                values.append(float(np.sqrt((W * W).sum())))
        values = [v for v in values if math.isfinite(v)]
        if values:
            found[module.name] = sum(values) / len(values)
    return found


def expected_decays(scores: dict[str, float], assignment: str, base: float, model: Any) -> dict[str, float]:
    layers: dict[str, object] = {m.name: (m.stack, m.layer) for m in find_modules(model)}
    if assignment == "linear":
        return reference.linear(scores, base, *RATIO)
    if assignment == "sigmoid":
        return reference.sigmoid(scores, base, layers)
    return reference.over_mean({"sqrt": math.sqrt, "log2": math.log2}[assignment])(scores, base)
