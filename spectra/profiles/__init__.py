"""Profiles: the numbers of another public tool, by its own conventions, each quirk named. `default` is ours.

A profile says which eigenvalues are fitted, by which functions, and which columns are added; norms and ranks stay those of the
whole matrix. What each was verified against: docs/profiles.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spectra.errors import SpectraError
from spectra.profiles import fits as peer_fits
from spectra.profiles import windows
from spectra.stored import Stored
from spectra.types import TailFit

Floats = NDArray[np.float64]
Name = Literal["hill", "gof", "fix_finger"]
Fit = Callable[[Floats, int], TailFit]
Columns = Callable[[Floats, tuple[int, int], Mapping[Name, TailFit]], dict[str, float | int | str | None]]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One tool's conventions.

    Attributes:
        fits: (eigenvalues ascending, least number of them) -> TailFit, by the name of our columns; empty: ours. A fit that
            the tool does not have is `not_requested`.
        quirks: what differs from the default, one sentence each, for the notes of an analysis.
        conventions: for the provenance, over the default's.
        pool: the eigenvalues that are fitted, from the matrix; None: its own.
        draw: the same of a Gaussian matrix of a shape, for the null; None of it: the whole spectrum.
        columns: columns of the tool that have no counterpart here.
        scale_bound: fits that depend on the scale of the weights by a quirk: no null is given for them.
    """

    name: str
    fits: Mapping[Name, Fit] = field(default_factory=dict)
    quirks: tuple[str, ...] = ()
    conventions: Mapping[str, str] = field(default_factory=dict)
    pool: Callable[[Stored], Floats] | None = None
    draw: Callable[[tuple[int, int], np.random.Generator], Floats | None] | None = None
    columns: Columns | None = None
    scale_bound: tuple[Name, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """The quirks as one note; none for the default."""
        return (f"Profile {self.name}: {' '.join(self.quirks)} See docs/profiles.md.",) if self.quirks else ()


def weightwatcher_columns(
    eigenvalues: Floats, shape: tuple[int, int], fits: Mapping[Name, TailFit]
) -> dict[str, float | int | str | None]:
    """`metrics.WEIGHTWATCHER_METRICS` from the eigenvalues (M,), ascending, the largest positive."""
    total, largest = float(eigenvalues.sum()), float(eigenvalues[-1])
    singular = np.sqrt(eigenvalues)
    rank = int(np.count_nonzero(singular > singular[-1] * max(shape) * np.finfo(np.float64).eps))
    p = eigenvalues / total + 1e-10
    gof = fits.get("gof")
    return {
        "ww_norm": total,
        "ww_log_norm": float(np.log10(total)),
        "ww_spectral_norm": largest,
        "ww_log_spectral_norm": float(np.log10(largest)),
        "ww_matrix_rank": rank,
        "ww_rank_loss": int(eigenvalues.size) - rank,
        "ww_weak_rank_loss": int(np.count_nonzero(eigenvalues < 1e-6)),
        "ww_entropy": float(-np.sum(p * np.log(p)) / np.log(rank + 1e-10)) if rank > 1 else None,
        "ww_warning": None if gof is None or gof.status != "ok" else _warning(gof.alpha),
    }


def _warning(alpha: float) -> str:
    if alpha < 2.0:
        return "over-trained"
    return "under-trained" if alpha > 6.0 else ""


_LOOSE = (
    "fix-finger's lower bound is log10(0.95 c), compared with a linear xmin, so it depends on the scale of the weights"
)
_MEDIAN = "Hill's tail counts its own xmin: alpha = 1 + m / sum ln(lambda_j/xmin), m = M - floor(M/2)"

DEFAULT = Profile(name="default")
_PROFILES = (
    DEFAULT,
    Profile(
        name="weightwatcher-0.7.7",
        fits={"gof": peer_fits.weightwatcher_gof, "fix_finger": peer_fits.weightwatcher_xmin_peak},
        columns=weightwatcher_columns,
        scale_bound=("fix_finger",),
        quirks=(
            "alpha_gof (its alpha, D, xmin, num_pl_spikes) is over eigenvalues above 1e-5, an absolute threshold;",
            "under 20 of those, alpha = 1 + (m - 1)/sum ln(x_j/xmin) over tails of at least 8;",
            "its norm and spectral_norm are squares (ww_norm, ww_spectral_norm), ours are not; logarithms are base 10;",
            f"{_LOOSE};",
            "its alpha -1 for a failed fit is a status here; it has no Hill estimate.",
        ),
        conventions={
            "goodness-of-fit": "WeightWatcher 0.7.7 analyze() on a CPU: eigenvalues > 1e-5, left grid, tails of 2 and more",
            "fix-finger": "fix_fingers='xmin_peak' with log10(0.95 c) <= xmin <= 1.5 c, through powerlaw 1.5",
        },
    ),
    Profile(
        name="alphadecay",
        fits={
            "hill": peer_fits.median_with_self_term,
            "gof": peer_fits.left_grid_search,
            "fix_finger": peer_fits.loose_fix_finger,
        },
        scale_bound=("fix_finger",),
        quirks=(
            f"{_MEDIAN}, which is biased by m/(m-2);",
            f"{_LOOSE};",
            "its eigenvalues come from float32 svdvals, here from float64: the method is reproduced, not its rounding;",
            "it drops modules of under 50 eigenvalues and its fnorm and spectral_norm are squares.",
        ),
        conventions={
            "hill": "AlphaDecay's code, pl_fitting='median': xmin = lambda[floor(M/2)], counted in the tail",
            "goodness-of-fit": "AlphaDecay's code: left grid, every eigenvalue but the largest",
            "fix-finger": "AlphaDecay's code: log10(0.95 c) <= xmin <= 1.5 c",
        },
    ),
    Profile(
        name="farms",
        fits={
            "hill": peer_fits.median_with_self_term,
            "gof": peer_fits.left_grid_search,
            "fix_finger": peer_fits.loose_fix_finger,
        },
        pool=windows.pooled_eigenvalues,
        draw=windows.draw_pooled,
        scale_bound=("fix_finger",),
        quirks=(
            f"fits are over the pooled eigenvalues of square windows (side min({windows.SIDE}, M), at most {windows.PER_SIDE} "
            "along each side), so tail sizes count those;",
            f"{_MEDIAN.replace('M - floor(M/2)', 'n - floor(n/2)')}, n pooled eigenvalues;",
            f"{_LOOSE};",
            "norms, ranks, spikes, ESD and Hill plot are of the whole matrix; a square matrix of side up to "
            f"{windows.SIDE} is its only window.",
        ),
        conventions={
            "fitted eigenvalues": f"pooled over windows of aspect ratio 1, side min({windows.SIDE}, M), "
            f"{windows.PER_SIDE} along each side at most, even steps (FARMS' fixed_sampling)",
            "hill": "FARMS' code, xmin_mid: xmin = lambda[floor(n/2)], counted in the tail",
            "fix-finger": "FARMS' code, xmin_peak: log10(0.95 c) <= xmin <= 1.5 c",
        },
    ),
)  # fmt: skip
PROFILES: dict[str, Profile] = {profile.name: profile for profile in _PROFILES}


def lookup(name: str) -> Profile:
    """The profile of a name.

    Raises:
        SpectraError: there is none; names the nearest, and all.
    """
    if name in PROFILES:
        return PROFILES[name]
    near = difflib.get_close_matches(name.lower(), PROFILES, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise SpectraError(f"Unknown profile {name!r}. {hint}Available: {', '.join(PROFILES)}.")
