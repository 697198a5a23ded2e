"""One measurement of a whole model: `alphadecay.AlphaDecay` against its authors' method, at the shapes of LLaMA 60M and 135M.

The other side does what the public code does at each measurement (docs/alphadecay.md): for every `nn.Linear`, the head
included, float32 singular values by torch, norms and entropy, the fit and its distance; then it drops the first and the
last. Ours measures the modules that it tunes. One thread on both sides; weights random, as at the first step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.bench_alphadecay import TORCH_FITS, torch_eigenvalues
from benchmarks.measure import Line, Result, Run, as_data, in_turns, log, median, run_function
from benchmarks.settings import Settings

SIZES = ("llama_60m", "llama_135m")
TARGETS = {"hill": ">= 2", "gof": ">= 3", "fix_finger": ""}


def authors(model: nn.Module, fit: str, *, head: bool) -> None:
    """What a measurement of the public code computes, of every Linear (or of all but the head)."""
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or (not head and name == "lm_head"):
            continue
        eigenvalues = torch_eigenvalues(module.weight.data.clone().to(torch.float))
        total, largest = torch.sum(eigenvalues).item(), eigenvalues[-1].item()
        singular = torch.sqrt(eigenvalues)
        rank = torch.count_nonzero(singular > 6e-05)
        p = eigenvalues / torch.sum(eigenvalues) + 6e-05
        (-torch.sum(p * torch.log(p)) / torch.log(rank + 6e-05)).item()
        alpha = TORCH_FITS[fit](eigenvalues)
        math.log(1.0 + math.exp(min(alpha * math.log10(max(largest, 1e-10)), 700.0)) + total * 0.0)


def run(settings: Settings) -> Result:
    """CPU time a measurement, by size and fit."""
    from alphadecay import AlphaDecay, recipes
    from alphadecay.models import build

    torch.set_num_threads(1)
    lines, details = [], {}
    for size in SIZES:
        model = build(recipes.load(size).model, vocab_size=32000, window=256, seed=0)
        for fit, target in TARGETS.items():
            policy = AlphaDecay(model, base=0.1, gap=1, fit=fit, workers=1)  # type: ignore[arg-type]
            sides: dict[str, Callable[[], object]] = {
                "ours": policy.update,
                "other": lambda model=model, fit=fit: authors(model, fit, head=True),
                "other without the head": lambda model=model, fit=fit: authors(model, fit, head=False),
            }
            with torch.no_grad():
                runs = in_turns({name: _measured(side, settings) for name, side in sides.items()}, settings, log)
            details[f"{size} {fit}"] = as_data(runs)
            ours = median(runs["ours"], "cpu_s")
            for side, held in (("other", target), ("other without the head", "")):
                other = median(runs[side], "cpu_s")
                what = f"{size}, {fit}" + ("" if side == "other" else ", the head left out")
                lines.append(
                    Line(what=what, ours=f"{ours:.2f} s", other=f"{other:.2f} s", value=other / ours, target=held)
                )
    return Result(
        name="decay",
        title="One measurement of AlphaDecay, CPU time, one thread",
        lines=lines,
        notes=(
            "Ours in float64, of the modules that are tuned; theirs in float32, of every Linear, written after the code.",
        ),
        details=details,
    )


def _measured(side: Callable[[], object], settings: Settings) -> Callable[[], Run]:
    return lambda: run_function(side, settings)
