"""Ranks of W: how many directions it uses, by four definitions. Arguments are singular values or eigenvalues, as named."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PSEUDO_RANK_SHARE = 0.95  # plasticity paper, eq. 4


def pseudo_rank_count(singular_values: Floats, share: float = PSEUDO_RANK_SHARE) -> int:
    """Least k whose k largest singular values (not squares) sum to `share` of the total; 0 for a zero matrix.

    Source: plasticity paper, eq. 4, after Kobayashi et al. 2024. Order of the values does not matter.
    """
    descending = np.sort(singular_values)[::-1]
    total = float(descending.sum())
    if total <= 0.0:
        return 0
    # The relative slack keeps an exact tie (19 of 20 equal values) from flipping on a rounding error.
    return int(np.searchsorted(np.cumsum(descending), share * total * (1.0 - 1e-12))) + 1


def stable_rank(eigenvalues: Floats) -> float:
    """sum lambda / lambda_max = ||W||_F^2 / ||W||_2^2, in [1, M]."""
    return float(eigenvalues.sum() / eigenvalues[-1])


def effective_rank(values: Floats) -> float:
    """exp(-sum p ln p), p = values / sum(values), in [1, M].

    With singular values: Roy and Vetterli's effective rank (2007). With eigenvalues: the column `spectral_entropy_rank`.
    """
    total = values.sum()
    p = values[values > 0] / total
    return float(np.exp(-np.sum(p * np.log(p))))


def numerical_rank(eigenvalues: Floats, shape: tuple[int, int], unit_roundoff: float) -> int:
    """Number of singular values above what rounding to the stored dtype alone would leave.

    Cutoff: max(u ||W||_F / sqrt(rows cols) (sqrt M + sqrt N), sqrt(eps64) s_1): rounding errors of relative size u act
    like a random matrix of entries u * rms(W), whose largest singular value is about (sqrt M + sqrt N) times that.
    Source: docs/methods.md.
    """
    rows, cols = shape
    rms = np.sqrt(eigenvalues.sum() / (rows * cols))
    noise = unit_roundoff * rms * (np.sqrt(rows) + np.sqrt(cols))
    cutoff = max(float(noise), float(np.sqrt(np.finfo(np.float64).eps * eigenvalues[-1])))
    return int(np.count_nonzero(np.sqrt(eigenvalues) > cutoff))
