"""Module -> score: tail exponent, gradient norm, Frobenius or spectral norm. What is measured; `measure.py` says when and where.

The numbers are those of `spectra`: nothing is written twice. A parameter that holds several matrices (fused projections, stacked
experts) has the mean score of those that have one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphadecay.modules import Module
from spectra import panel, profiles
from spectra.checkpoint.memory import dtype_name, torch_bits
from spectra.errors import SpectraError
from spectra.naming import cut
from spectra.null_cache import NullCache, default_directory
from spectra.panel import FITS, FitOptions
from spectra.spectrum import Spectrum, spectrum
from spectra.stored import Stored, unit_roundoff
from spectra.tails import FitName
from spectra.types import MatrixRef

if TYPE_CHECKING:
    import torch

Score = Literal["alpha", "gradient_norm", "frobenius_norm", "spectral_norm"]
SCORES: tuple[Score, ...] = ("alpha", "gradient_norm", "frobenius_norm", "spectral_norm")
PROFILES = ("default", "alphadecay")
_AUTHORS_LEAST = 50  # eigenvalues under which AlphaDecay's code drops a module

Spectra = Callable[[Stored], Spectrum]


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """What is measured of a module.

    Attributes:
        score: `alpha` (a tail exponent, by `fit`), `gradient_norm`, `frobenius_norm` or `spectral_norm`.
        fit: `hill` (eq. 2 of the paper), `gof` (goodness-of-fit) or `fix_finger`.
        profile: `default` (spectra's conventions), or `alphadecay`, the authors' code: its estimators, modules of under 50
            eigenvalues and the first and last Linear left out, squared Frobenius and spectral norms.
        null_corrected: take off each matrix' alpha the mean alpha of random matrices of its shape, and add back the mean of those
            over all matrices, so that only differences between shapes go.
    """

    score: Score = "alpha"
    fit: FitName = "hill"
    profile: str = "default"
    null_corrected: bool = False

    def __post_init__(self) -> None:
        for what, got, known in (
            ("score", self.score, SCORES),
            ("fit", self.fit, FITS),
            ("profile", self.profile, PROFILES),
        ):
            if got not in known:
                raise SpectraError(f"Unknown {what} {got!r}. Use one of: {', '.join(known)}.")
        if self.null_corrected and self.score != "alpha":
            raise SpectraError(
                f"null_corrected goes with the score alpha, not with {self.score}: norms have no such null."
            )
        if self.null_corrected and self.profile != "default" and self.fit == "fix_finger":
            raise SpectraError(
                "null_corrected has no null for the authors' fix-finger: it depends on the scale of the weights."
            )

    @property
    def of_gradient(self) -> bool:
        """Whether the gradient is measured, not the weight."""
        return self.score == "gradient_norm"

    @property
    def fits(self) -> FitOptions:
        """The fit as `spectra.panel` takes it."""
        if self.profile == "alphadecay":
            return FitOptions(fits=(self.fit,), min_eigenvalues=_AUTHORS_LEAST)
        return FitOptions(fits=(self.fit,))


@dataclass(frozen=True, kw_only=True)
class ModuleScore:
    """What was measured of one module.

    Attributes:
        value: its score; None where no matrix has one.
        status: `ok`, or why there is none (`degenerate`, `too_few_eigenvalues`, `non_finite`, `no_tail`, `no_gradient`).
        seconds: wall time of the measurement.
        matrices: matrix name -> (value, status), where the parameter holds more than one.
    """

    value: float | None
    status: str
    seconds: float
    matrices: Mapping[str, tuple[float | None, str]] = field(default_factory=dict)


class Meter:
    """Measures modules. Safe to share between threads."""

    def __init__(self, options: ScoreOptions, modules: tuple[Module, ...]) -> None:
        self.options = options
        self._profile = profiles.lookup(options.profile)
        self._offset: dict[tuple[int, int], float] = {}
        if options.null_corrected:
            self._offset = self._nulls([ref for module in modules for ref in module.matrices])

    def _nulls(self, refs: list[MatrixRef]) -> dict[tuple[int, int], float]:
        """Shape -> what is taken off the alpha of a matrix."""
        cache = NullCache(0, self.options.fits, default_directory(), self._profile)
        column = f"alpha_{self.options.fit}"
        means: dict[tuple[int, int], float] = {}
        for shape in {_shape(ref) for ref in refs}:
            mean = cache.matrix(shape).moments[column][0]
            means[shape] = math.nan if mean is None else mean
        known = [means[_shape(ref)] for ref in refs if math.isfinite(means[_shape(ref)])]
        centre = math.fsum(known) / len(known) if known else 0.0
        return {shape: mean - centre for shape, mean in means.items()}

    def module(self, module: Module, stored: Stored | None, spectra: Spectra = spectrum) -> ModuleScore:
        """Score of one module from its weight (or gradient, where that is the score) as stored; None: it has no gradient."""
        started = time.perf_counter()
        found: dict[str, tuple[float | None, str]] = {}
        for ref in module.matrices:
            if stored is None:
                found[ref.name] = None, "no_gradient"
                continue
            part = stored if ref.view.index is None else stored[ref.view.index]
            found[ref.name] = self.matrix(cut(part, ref.view), ref, spectra)
        values = [value for value, _ in found.values() if value is not None]
        status = "ok" if values else next(iter(found.values()))[1]
        return ModuleScore(
            value=math.fsum(values) / len(values) if values else None,
            status=status,
            seconds=time.perf_counter() - started,
            matrices=found if len(found) > 1 else {},
        )

    def matrix(self, matrix: Stored, ref: MatrixRef, spectra: Spectra = spectrum) -> tuple[float | None, str]:
        """Score and status of one (rows, cols) matrix."""
        if self.options.score in ("gradient_norm", "frobenius_norm"):
            value = float(np.linalg.norm(matrix.decode()))
            squared = self.options.score == "frobenius_norm" and self.options.profile == "alphadecay"
            return _finite(value * value if squared else value)
        found = spectra(matrix)
        if found.status != "ok":
            return None, found.status
        if self.options.score == "spectral_norm":
            largest = float(found.eigenvalues[-1])
            return _finite(largest if self.options.profile == "alphadecay" else math.sqrt(largest))
        fit = panel.fit_all(found.eigenvalues, self.options.fits, unit_roundoff(matrix.dtype), self._profile)[
            self.options.fit
        ]
        if fit.status != "ok":
            return None, fit.status
        return _finite(fit.alpha - self._offset.get(_shape(ref), 0.0))


def stored_values(tensor: torch.Tensor, *, copy: bool) -> Stored:
    """A full (not sharded) tensor's values on the CPU; a view of it where it is there already and no copy is asked for."""
    bits: Any = torch_bits(tensor, None, "")
    moved = tensor.device.type != "cpu"
    return Stored(bits.copy() if copy and not moved else bits, dtype_name(tensor))


def _shape(ref: MatrixRef) -> tuple[int, int]:
    return min(ref.rows, ref.cols), max(ref.rows, ref.cols)


def _finite(value: float) -> tuple[float | None, str]:
    return (value, "ok") if math.isfinite(value) else (None, "non_finite")
