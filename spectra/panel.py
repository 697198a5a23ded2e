"""Eigenvalues of one matrix -> the columns of its row. What each column means is stated in `metrics.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra import norms, ranks, tails
from spectra.bulk import bulk
from spectra.errors import SpectraError
from spectra.profiles import DEFAULT, Profile
from spectra.spectrum import Spectrum
from spectra.tails import FitName
from spectra.types import Histogram, TailFit

Floats = NDArray[np.float64]
Value = float | int | str | bool | None

FITS: tuple[FitName, ...] = ("hill", "gof", "fix_finger")
ESD_BINS = 100


def parse_fits(text: str) -> tuple[FitName, ...]:
    """`hill,gof,fix-finger` -> names, in the order of `FITS`.

    Raises:
        SpectraError: a name is unknown, or none is given.
    """
    asked = [part.strip().replace("-", "_") for part in text.split(",") if part.strip()]
    unknown = [name for name in asked if name not in FITS]
    if unknown or not asked:
        raise SpectraError(f"Unknown fit {', '.join(unknown) or repr(text)}. Available: hill, gof, fix-finger.")
    return tuple(name for name in FITS if name in asked)


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Which fits are made, and how. `two_sided` changes goodness-of-fit and fix-finger (docs/methods.md: never mix)."""

    fits: tuple[FitName, ...] = FITS
    min_eigenvalues: int = tails.MIN_EIGENVALUES
    min_tail: int = 2
    two_sided: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.fits if name not in FITS]
        if unknown or not self.fits:
            raise SpectraError(
                f"Unknown fit {', '.join(map(repr, unknown)) or '(none)'}. Available: {', '.join(FITS)}."
            )
        if self.min_tail < 2 or self.min_eigenvalues < 2:
            raise SpectraError(
                f"min_tail and min_eigenvalues must be at least 2, got {self.min_tail}, {self.min_eigenvalues}."
            )


def fit_all(
    eigenvalues: Floats, options: FitOptions, unit_roundoff: float = 0.0, profile: Profile = DEFAULT
) -> dict[FitName, TailFit]:
    """The fits asked for (those that the profile has), by name. `eigenvalues`: (M,), ascending, zeros included.

    `unit_roundoff` of the stored dtype: a spectrum that is constant up to rounding (an orthogonal matrix) has no tail.
    """
    least = options.min_eigenvalues
    asked = [name for name in options.fits if not profile.fits or name in profile.fits]
    if tails.is_constant(eigenvalues, unit_roundoff):
        size = int(eigenvalues.size)
        return {name: tails.failed("degenerate" if size >= least else "too_few_eigenvalues", size) for name in asked}
    if profile.fits:
        return {name: profile.fits[name](eigenvalues, least) for name in asked}
    made: Mapping[FitName, Callable[[], TailFit]] = {
        "hill": lambda: tails.hill(eigenvalues, least),
        "gof": lambda: tails.goodness_of_fit(
            eigenvalues, min_eigenvalues=least, min_tail=options.min_tail, two_sided=options.two_sided
        ),
        "fix_finger": lambda: tails.fix_finger(
            eigenvalues, min_eigenvalues=least, min_tail=options.min_tail, two_sided=options.two_sided
        ),
    }
    return {name: made[name]() for name in asked}


def fit_columns(fits: Mapping[FitName, TailFit]) -> dict[str, Value]:
    """`alpha_<fit>` and `_stderr _xmin _tail_size _ks _status` of every fit; None where the fit was not asked for."""
    columns: dict[str, Value] = {}
    for name in FITS:
        fit = fits.get(name)
        ok = fit is not None and fit.status == "ok"
        columns[f"alpha_{name}"] = fit.alpha if fit and ok else None
        columns[f"alpha_{name}_stderr"] = fit.stderr if fit and ok else None
        columns[f"alpha_{name}_xmin"] = fit.xmin if fit and ok else None
        columns[f"alpha_{name}_tail_size"] = fit.tail_size if fit else None
        columns[f"alpha_{name}_ks"] = fit.ks if fit and ok else None
        columns[f"alpha_{name}_status"] = fit.status if fit else "not_requested"
        columns[f"alpha_{name}_small_tail"] = fit.tail_size < tails.SMALL_TAIL if fit and ok else None
    return columns


def shape_columns(eigenvalues: Floats, fits: Mapping[FitName, TailFit]) -> dict[str, float]:
    """Norms, ranks and the alpha-dependent norms of a spectrum with at least one positive eigenvalue; NaN for no fit."""
    singular = np.sqrt(eigenvalues)
    columns = {
        "frobenius_norm": norms.frobenius_norm(eigenvalues),
        "spectral_norm": norms.spectral_norm(eigenvalues),
        "nuclear_norm": norms.nuclear_norm(eigenvalues),
        "stable_rank": ranks.stable_rank(eigenvalues),
        "effective_rank": ranks.effective_rank(singular),
        "spectral_entropy_rank": ranks.effective_rank(eigenvalues),
        "pseudo_rank": ranks.pseudo_rank_count(singular) / eigenvalues.size,
        "alpha_weighted": float("nan"),
        "log_alpha_norm": float("nan"),
    }
    gof = fits.get("gof")
    if gof is not None and gof.status == "ok":
        columns["alpha_weighted"] = norms.alpha_weighted(gof.alpha, eigenvalues)
        columns["log_alpha_norm"] = norms.log_alpha_norm(gof.alpha, eigenvalues)
    return columns


_EMPTY: Sequence[str] = (
    "frobenius_norm", "spectral_norm", "nuclear_norm", "stable_rank", "effective_rank", "spectral_entropy_rank",
    "pseudo_rank", "alpha_weighted", "log_alpha_norm",
)  # fmt: skip


def columns(
    spectrum: Spectrum,
    unit_roundoff: float,
    options: FitOptions,
    profile: Profile = DEFAULT,
    fitted: Floats | None = None,
) -> dict[str, Value]:
    """Every column of `metrics.MATRIX_METRICS` for one matrix, from its Spectrum, and those that the profile adds.

    `fitted`: eigenvalues for the fits, where the profile takes others than the matrix' own.
    """
    eigenvalues = spectrum.eigenvalues
    fits = fit_all(eigenvalues if fitted is None else fitted, options, unit_roundoff, profile)
    made: dict[str, Value] = fit_columns(fits)
    made |= dict.fromkeys(_EMPTY)
    made |= dict.fromkeys(("numerical_rank", "mp_sigma", "mp_bulk_edge", "tw_threshold", "n_spikes"))
    if spectrum.status == "non_finite":
        return made
    if spectrum.status == "degenerate":  # all zero: norms and ranks are 0 by definition, ratios are not
        return made | {"frobenius_norm": 0.0, "spectral_norm": 0.0, "nuclear_norm": 0.0, "numerical_rank": 0}
    numbers = shape_columns(eigenvalues, fits)
    made |= {name: value if np.isfinite(value) else None for name, value in numbers.items()}
    shape = (spectrum.rows, spectrum.cols)
    made["numerical_rank"] = ranks.numerical_rank(eigenvalues, shape, unit_roundoff)
    random_part = bulk(eigenvalues, shape)
    if random_part is not None and np.isfinite(random_part.threshold):
        made["mp_sigma"] = random_part.sigma
        made["mp_bulk_edge"] = random_part.edge
        made["tw_threshold"] = random_part.threshold
        made["n_spikes"] = random_part.n_spikes
    return made if profile.columns is None else made | profile.columns(eigenvalues, shape, fits)


def histogram(spectrum: Spectrum) -> Histogram | None:
    """The ESD on log10 bins, kept so that a report needs no recomputation; None where no eigenvalue is positive."""
    positive = spectrum.positive
    if spectrum.status != "ok":
        return None
    logs = np.log10(positive)
    low, high = float(logs[0]), float(logs[-1])
    if high - low < 1e-6:  # all but equal: numpy cannot cut so little into bins
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(logs, bins=ESD_BINS, range=(low, high))
    zeros = int(spectrum.eigenvalues.size - positive.size)
    return Histogram(edges=tuple(float(e) for e in edges), counts=tuple(int(c) for c in counts), zeros=zeros)
