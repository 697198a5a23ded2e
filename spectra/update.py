"""What changed between two matrices of the same shape: the spectrum of B - A, and how far the top directions turned.

Legend: A, B, D = B - A (rows, cols); M = min(rows, cols); u the unit roundoff of the stored dtype (the coarser of the two).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra import norms, panel, ranks
from spectra.panel import FitOptions
from spectra.spectrum import Spectrum, gram, spectrum
from spectra.stored import Stored

Floats = NDArray[np.float64]

SUBSPACE = 16  # top directions compared; fewer where M is under 32


@dataclass(frozen=True, kw_only=True)
class Update:
    """The change D = B - A of one matrix.

    Attributes:
        status: `unchanged` (every stored value equal), `ok`, or `non_finite` (A or B has NaN or infinite entries).
        rank: singular values of D above what rounding A and B to their stored dtype would leave.
        rank_share: rank / M.
        relative_norm: ||D||_F / ||A||_F.
        values: norms, ranks and alphas of D, named as the columns of a matrix.
        overlap: mean squared cosine between the spans of the `subspace` top singular directions of A and of B, on the
            short side: 1 the same span, subspace / M for unrelated ones.
    """

    status: str
    rank: int | None
    rank_share: float | None
    relative_norm: float | None
    values: Mapping[str, float | int | None]
    overlap: float | None
    subspace: int


_COLUMNS = (
    "alpha_hill",
    "alpha_gof",
    "frobenius_norm",
    "spectral_norm",
    "nuclear_norm",
    "stable_rank",
    "effective_rank",
)


def update(a: Stored, b: Stored, unit_roundoff: float) -> Update:
    """The change from `a` to `b`, both (rows, cols)."""
    subspace = max(1, min(SUBSPACE, min(a.shape) // 2))
    empty: dict[str, float | int | None] = dict.fromkeys(_COLUMNS)
    A, B = a.decode(), b.decode()
    if np.array_equal(A, B):
        zero = {"frobenius_norm": 0.0, "spectral_norm": 0.0, "nuclear_norm": 0.0}
        return Update(
            status="unchanged",
            rank=0,
            rank_share=0.0,
            relative_norm=0.0,
            values=empty | zero,
            overlap=1.0,
            subspace=subspace,
        )
    found = spectrum(Stored(B - A, "float64"))
    if found.status == "non_finite":
        return Update(
            status="non_finite",
            rank=None,
            rank_share=None,
            relative_norm=None,
            values=empty,
            overlap=None,
            subspace=subspace,
        )
    scale = max(float(np.linalg.norm(A)), float(np.linalg.norm(B)))
    rank = update_rank(found, scale, unit_roundoff)
    made = panel.columns(found, unit_roundoff, FitOptions(fits=("hill", "gof")))
    values = {name: value for name in _COLUMNS if isinstance(value := made[name], (int, float)) or value is None}
    size = float(np.linalg.norm(A))
    return Update(
        status="ok",
        rank=rank,
        rank_share=rank / min(a.shape),
        relative_norm=norms.frobenius_norm(found.eigenvalues) / size if size > 0 else None,
        values=values,
        overlap=overlap(A, B, subspace),
        subspace=subspace,
    )


def update_rank(found: Spectrum, scale: float, unit_roundoff: float) -> int:
    """Singular values of D above the rounding noise of A and B.

    Each entry of A and B carries an error of up to u |w|; their difference acts like a random matrix with entries of
    u max(||A||_F, ||B||_F) sqrt(2) / sqrt(rows cols), whose largest singular value is about (sqrt rows + sqrt cols) times that.
    """
    rows, cols = found.rows, found.cols
    noise = unit_roundoff * scale * np.sqrt(2.0 / (rows * cols)) * (np.sqrt(rows) + np.sqrt(cols))
    own = ranks.numerical_rank(found.eigenvalues, (rows, cols), 0.0)
    return min(own, int(np.count_nonzero(np.sqrt(found.eigenvalues) > noise)))


def overlap(A: Floats, B: Floats, count: int) -> float:
    """||U_A^T U_B||_F^2 / k for the k top singular directions on the short side; in [0, 1]."""
    tops = [np.linalg.eigh(gram(Stored(W, "float64")))[1][:, -count:] for W in (A, B)]
    return float(np.sum((tops[0].T @ tops[1]) ** 2) / count)
