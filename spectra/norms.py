"""Norms of W from the eigenvalues of its Gram matrix (lambda_i = s_i^2, ascending)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def frobenius_norm(eigenvalues: Floats) -> float:
    """||W||_F = sqrt(sum lambda). Not squared."""
    return float(np.sqrt(eigenvalues.sum()))


def spectral_norm(eigenvalues: Floats) -> float:
    """||W||_2 = s_1 = sqrt(lambda_max). Not squared."""
    return float(np.sqrt(eigenvalues[-1]))


def nuclear_norm(eigenvalues: Floats) -> float:
    """||W||_* = sum s_i."""
    return float(np.sqrt(eigenvalues).sum())


def alpha_weighted(alpha: float, eigenvalues: Floats) -> float:
    """alpha * log10(lambda_max) (Martin et al. 2021, "alpha-hat"); lambda not divided by N."""
    return float(alpha * np.log10(eigenvalues[-1]))


def log_alpha_norm(alpha: float, eigenvalues: Floats) -> float:
    """log10 sum_i lambda_i^alpha, computed so that no power overflows (Martin et al. 2021)."""
    largest = eigenvalues[-1]
    return float(alpha * np.log10(largest) + np.log10(np.sum((eigenvalues / largest) ** alpha)))
