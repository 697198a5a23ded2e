"""What a random matrix of the same shape gives: seeded draws of exact Gaussian spectra, and the comparison with them.

A matrix of i.i.d. N(0, 1) entries, M <= N, has the same singular values as the (M, M) bidiagonal matrix with independent
chi variables of N, N-1, ..., N-M+1 degrees of freedom on the diagonal and M-1, ..., 1 beside it (Dumitriu and Edelman
2002). So a draw costs O(M^2) instead of O(M^2 N), at any shape, and is exact at every size: Marchenko-Pastur's limit
is not needed. Products of two Gaussian factors (the circuits' null) come from Bartlett's triangular factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spectra import circuits, panel
from spectra.bulk import bulk
from spectra.panel import FitOptions
from spectra.profiles import DEFAULT, Profile
from spectra.types import NullValue

Floats = NDArray[np.float64]

# Columns that depend on the shape alone once ||W||_F is given.
MATRIX_NULL = (
    "alpha_hill", "alpha_gof", "alpha_fix_finger", "spectral_norm", "nuclear_norm", "stable_rank", "effective_rank",
    "spectral_entropy_rank", "pseudo_rank", "alpha_weighted", "log_alpha_norm", "n_spikes",
)  # fmt: skip
CIRCUIT_NULL = ("pseudo_rank", "pseudo_rank_d_model", "effective_rank", "spectral_norm", "frobenius_norm")
_NORMS = ("spectral_norm", "nuclear_norm", "frobenius_norm")


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Metrics of random matrices of one shape with unit-variance entries: metric -> (draws,), NaN where a fit failed."""

    values: Mapping[str, Floats]

    def __post_init__(self) -> None:
        object.__setattr__(self, "moments", {name: moments(drawn) for name, drawn in self.values.items()})

    moments: Mapping[str, tuple[float | None, float | None]] = field(init=False, compare=False)


def draw_count(size: int, profile: Profile = DEFAULT) -> int:
    """Draws for a matrix of short side M: enough that the sd of a well-behaved metric is known to 7 to 16%, 1/sqrt(2 draws).

    Half as many where each is cut into windows.

    Goodness-of-fit and fix-finger alphas of random matrices are heavy-tailed themselves: their mean and sd are rough.
    """
    count = int(np.clip(12288 // max(size, 1), 20, 100))
    return count if profile.draw is None else count // 2


def gaussian_eigenvalues(size: int, long: int, rng: np.random.Generator) -> Floats:
    """Eigenvalues of the (M, M) Gram matrix of an M x N Gaussian matrix, ascending. Source: Dumitriu and Edelman 2002."""
    from scipy.linalg import eigvalsh_tridiagonal

    diagonal = rng.chisquare(long - np.arange(size))  # squares of the bidiagonal's diagonal
    if size == 1:
        return np.asarray(diagonal, dtype=np.float64)
    below = rng.chisquare(np.arange(size - 1, 0, -1))
    offdiagonal = np.sqrt(diagonal[:-1] * below)
    diagonal[1:] += below
    values: Floats = eigvalsh_tridiagonal(diagonal, offdiagonal, lapack_driver="sterf", check_finite=False)
    return np.maximum(values, 0.0)


def draw_matrices(shape: tuple[int, int], seed: int, options: FitOptions, profile: Profile = DEFAULT) -> Draws:
    """Panel columns of `draw_count` Gaussian matrices of a shape, seeded by (seed, M, N), by the fits of a profile.

    A profile that fits other eigenvalues than the matrix' own has those drawn apart from its norms and ranks.
    """
    size, long = min(shape), max(shape)
    rng = np.random.default_rng([seed, size, long])
    rows = []
    for _ in range(draw_count(size, profile)):
        eigenvalues = gaussian_eigenvalues(size, long, rng)
        eigenvalues *= size * long / eigenvalues.sum()  # the Frobenius norm is given, not drawn
        pooled = profile.draw((size, long), rng) if profile.draw is not None else None
        fits = panel.fit_all(eigenvalues if pooled is None else pooled, options, profile=profile)
        row = panel.shape_columns(eigenvalues, fits)
        for name in panel.FITS:
            row[f"alpha_{name}"] = (
                fits[name].alpha if name in fits and name not in profile.scale_bound else float("nan")
            )
        random_part = bulk(eigenvalues, (size, long))
        row["n_spikes"] = float("nan") if random_part is None else float(random_part.n_spikes)
        rows.append(row)
    return Draws(values={name: np.array([row[name] for row in rows]) for name in MATRIX_NULL})


def draw_circuits(head_dim: int, sides: tuple[int, int], denominators: tuple[int, int], seed: int) -> Draws:
    """Circuit columns of products A^T B of Gaussian (head_dim, d) factors, `sides` = d of A and of B."""
    rng = np.random.default_rng([seed, head_dim, *sides])
    count = draw_count(head_dim)
    left, right = (np.stack([_bartlett(d, head_dim, rng) for _ in range(count)]) for d in sides)
    left, right = (_normed(factor, head_dim * d) for factor, d in ((left, sides[0]), (right, sides[1])))
    rows = [circuits.circuit_columns(s, *denominators)[1] for s in circuits.singular_values(left, right)]
    return Draws(values={name: np.array([row[name] for row in rows], dtype=float) for name in CIRCUIT_NULL})


def _normed(factors: Floats, entries: int) -> Floats:
    """Factors (n, r, width) scaled to the Frobenius norm of unit-variance entries: it is given, not drawn."""
    scaled: Floats = factors * np.sqrt(entries) / np.linalg.norm(factors, axis=(1, 2), keepdims=True)
    return scaled


def _bartlett(rows: int, width: int, rng: np.random.Generator) -> Floats:
    """A draw of the factor R (min(rows, width), width) of a Gaussian (rows, width) matrix."""
    if rows <= width:
        return rng.standard_normal((rows, width))
    upper: Floats = np.triu(rng.standard_normal((width, width)), 1)
    upper[np.diag_indices(width)] = np.sqrt(rng.chisquare(rows - np.arange(width)))
    return upper


def compare_matrix(values: Mapping[str, object], shape: tuple[int, int], draws: Draws) -> dict[str, NullValue]:
    """Each shape-dependent column beside the draws, scaled to the matrix's own Frobenius norm.

    Entries of variance sigma^2 = ||W||_F^2 / (rows cols) scale singular values by sigma; alpha_weighted and log_alpha_norm
    gain 2 alpha log10(sigma), alpha being each draw's own.
    """
    norm = values.get("frobenius_norm")
    if not isinstance(norm, float) or norm <= 0.0:
        return {}
    sigma = norm / float(np.sqrt(float(shape[0]) * float(shape[1])))
    compared = {}
    for name in MATRIX_NULL:
        if name in ("alpha_weighted", "log_alpha_norm"):
            drawn = draws.values[name] + 2.0 * np.log10(sigma) * draws.values["alpha_gof"]
            compared[name] = null_value(values.get(name), moments(drawn))
        else:
            compared[name] = null_value(values.get(name), draws.moments[name], sigma if name in _NORMS else 1.0)
    return compared


def compare_circuit(values: Mapping[str, object], scale: float, draws: Draws) -> dict[str, NullValue]:
    """Each circuit column beside the draws; `scale` = sigma_left sigma_right of the two factors' entries."""
    return {
        name: null_value(values.get(name), draws.moments[name], scale if name in _NORMS else 1.0)
        for name in CIRCUIT_NULL
    }


def moments(drawn: Floats) -> tuple[float | None, float | None]:
    """Mean and sample sd over the finite draws; None where there are none (or one)."""
    finite = drawn[np.isfinite(drawn)]
    return float(finite.mean()) if finite.size else None, float(finite.std(ddof=1)) if finite.size > 1 else None


def null_value(measured: object, drawn: tuple[float | None, float | None], scale: float = 1.0) -> NullValue:
    """Mean and sd of the draws times `scale`, difference and z; None where there is no number to give."""
    mean, sd = (None if value is None or not np.isfinite(value * scale) else value * scale for value in drawn)
    if mean is None or isinstance(measured, bool) or not isinstance(measured, (int, float)):
        return NullValue(mean=mean, sd=sd, difference=None, z=None)
    difference = float(measured) - mean
    if not np.isfinite(difference):
        return NullValue(mean=mean, sd=sd, difference=None, z=None)
    # Draws that agree to rounding (a pseudo-rank is k/M) have no spread to measure a difference by.
    known = sd is not None and sd > 1e-12 * max(abs(mean), 1e-300)
    z = difference / sd if known and sd else None
    return NullValue(mean=mean, sd=sd, difference=difference, z=z if z is None or np.isfinite(z) else None)
