"""The estimators of AlphaDecay's method against ours: eigenvalues and one fit, of every matrix of SmolLM2-135M.

The other side is written here after the method that docs/methods.md describes: float32 singular values by torch,
squared; the median (Hill) estimator over the upper half; goodness-of-fit and fix-finger by a Python loop over xmin, a few
small torch operations a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from benchmarks import tensors
from benchmarks.measure import Line, Result, Run, as_data, in_turns, log, median, run_function
from benchmarks.settings import Settings
from spectra import tails
from spectra.spectrum import Spectrum, spectrum
from spectra.stored import Stored

FITS: Mapping[str, Callable[[Any], Any]] = {
    "hill": tails.hill,
    "gof": tails.goodness_of_fit,
    "fix_finger": tails.fix_finger,
}
BINS = 100
EIGENVALUES = "eigenvalues"


def torch_eigenvalues(weight: torch.Tensor) -> torch.Tensor:
    """Ascending squares of the float32 singular values, (M,)."""
    return torch.sort(torch.square(torch.linalg.svdvals(weight)).flatten()).values


def torch_hill(x: torch.Tensor) -> float:
    """i0 = floor(M/2), m = M - i0, alpha = 1 + m / sum_{j >= i0} ln(x_j / x_i0): the zero self-term is counted."""
    logs = torch.log(x)
    i = len(x) // 2
    m = float(len(x) - i)
    alpha = 1 + m / (torch.sum(logs[i:]) - m * logs[i])
    torch.max(torch.abs(1 - (x[i:] / x[i]) ** (1 - alpha) - torch.arange(m) / m))
    return alpha.item()


def torch_gof(x: torch.Tensor, low: float = -math.inf, high: float = math.inf) -> float:
    """Alpha of the xmin in [low, high] with the least left-grid distance."""
    size = len(x)
    logs = torch.log(x)
    alphas, distances = torch.zeros(size - 1), torch.ones(size - 1)
    for i, xmin in enumerate(x[:-1]):
        if xmin < low:
            continue
        if xmin > high:
            break
        m = float(size - i)
        alpha = 1 + m / (torch.sum(logs[i:]) - m * logs[i])
        alphas[i] = alpha
        if alpha > 1:
            distances[i] = torch.max(torch.abs(1 - (x[i:] / xmin) ** (1 - alpha) - torch.arange(m) / m))
    return alphas[torch.argmin(distances)].item()


def torch_fix_finger(x: torch.Tensor) -> float:
    """Xmin from log10(0.95 c) to 1.5 c, c the left edge of the histogram's peak: the loosened lower bound of the public code."""
    logs = torch.log10(x)
    low, high = logs.min().item(), logs.max().item()
    peak = int(torch.argmax(torch.histc(logs, BINS, min=low, max=high)))
    center = 10 ** torch.linspace(low, high, BINS + 1)[peak].item()
    return torch_gof(x, math.log10(0.95 * center), 1.5 * center)


TORCH_FITS = {"hill": torch_hill, "gof": torch_gof, "fix_finger": torch_fix_finger}


class _Sides:
    """Both sides' steps over all matrices; what the eigenvalue step finds, the fits use."""

    def __init__(self, matrices: Mapping[str, NDArray[Any]]) -> None:
        self.weights = {name: torch.from_numpy(values) for name, values in matrices.items()}
        self.stored = {name: Stored(values, "float32") for name, values in matrices.items()}
        self.torch_spectra: dict[str, torch.Tensor] = {}
        self.spectra: dict[str, Spectrum] = {}
        self.alphas: dict[str, dict[str, float]] = {}

    def eigenvalues(self) -> None:
        self.spectra = {name: spectrum(matrix) for name, matrix in self.stored.items()}

    def torch_eigenvalues(self) -> None:
        self.torch_spectra = {name: torch_eigenvalues(weight) for name, weight in self.weights.items()}

    def fit(self, kind: str) -> None:
        self.alphas[kind] = {name: FITS[kind](found.eigenvalues).alpha for name, found in self.spectra.items()}

    def torch_fit(self, kind: str) -> None:
        self.alphas[f"torch {kind}"] = {name: TORCH_FITS[kind](x) for name, x in self.torch_spectra.items()}


def run(settings: Settings) -> Result:
    """CPU time of eigenvalues plus one fit, for each of the three."""
    torch.set_num_threads(1)
    sides = _Sides(tensors.matrices(tensors.read_all(settings)))
    steps: dict[str, Callable[[], None]] = {
        f"torch {EIGENVALUES}": sides.torch_eigenvalues,
        EIGENVALUES: sides.eigenvalues,
    }
    for kind in FITS:
        steps[f"torch {kind}"] = lambda kind=kind: sides.torch_fit(kind)  # type: ignore[misc]
        steps[kind] = lambda kind=kind: sides.fit(kind)  # type: ignore[misc]
    with torch.no_grad():
        runs = in_turns({name: _measured(step, settings) for name, step in steps.items()}, settings, log)
    lines = [_line(runs, kind) for kind in FITS]
    moved = {
        kind: sum(abs(value / sides.alphas[f"torch {kind}"][name] - 1) > 0.01 for name, value in found.items())
        for kind, found in sides.alphas.items()
        if kind in FITS
    }
    count = len(sides.stored)
    note = ", ".join(f"{kind} {number}" for kind, number in moved.items())
    return Result(
        name="alphadecay",
        title=f"AlphaDecay's estimators, CPU time of eigenvalues and one fit, one thread, {count} matrices",
        lines=lines,
        notes=(f"Matrices whose alpha differs by more than 1% (float32, and the public code's conventions): {note}.",),
        details={"runs": as_data(runs), "moved_by_1_percent": moved},
    )


def _measured(step: Callable[[], None], settings: Settings) -> Callable[[], Run]:
    return lambda: run_function(step, settings)


def _line(runs: Mapping[str, list[Run]], kind: str) -> Line:
    ours, other = (
        sum(median(runs[prefix + part], "cpu_s") for part in (EIGENVALUES, kind)) for prefix in ("", "torch ")
    )
    return Line(what=f"eigenvalues and {kind}", ours=f"{ours:.2f} s", other=f"{other:.2f} s", value=other / ours)
