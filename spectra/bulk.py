"""The Marchenko-Pastur bulk of a spectrum, its Tracy-Widom edge, and the spikes above it.

Legend: M <= N; aspect y = M / N; W with i.i.d. entries of variance sigma^2; eigenvalues of the (M, M) Gram matrix,
not divided by N, so that their bulk is sigma^2 N [(1 - sqrt y)^2, (1 + sqrt y)^2].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# 99% point of the Tracy-Widom distribution of order 1 (real matrices). Bejan 2005, table 2: 2.0234.
TW1_99 = 2.0234


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """The random part of a spectrum: sigma^2 matched at the median, edge of the bulk, threshold, eigenvalues above it."""

    sigma: float
    edge: float
    threshold: float
    n_spikes: int


def marchenko_pastur_quantiles(probabilities: Floats, aspect: float) -> Floats:
    """Quantiles of the Marchenko-Pastur law of sigma = 1 and aspect y = M/N in (0, 1], in units of N.

    With lambda = 1 + y + 2 sqrt(y) cos(theta) the density becomes 2 sin^2(theta) / (pi lambda) d theta, smooth on
    [0, pi] for every y, so that the trapezoid rule on 8192 intervals gives the distribution to about 1e-8.
    """
    theta = np.linspace(0.0, np.pi, 8193)
    value = 1.0 + aspect + 2.0 * np.sqrt(aspect) * np.cos(theta)
    density = np.empty_like(theta)
    inside = value > 1e-12
    density[inside] = 2.0 * np.sin(theta[inside]) ** 2 / (np.pi * value[inside])
    density[~inside] = 2.0 / np.pi  # the limit at theta = pi for y = 1: sin^2 / (2 (1 + cos)) -> (1 - cos)/2
    steps = 0.5 * (density[1:] + density[:-1]) * (theta[1] - theta[0])
    upper = np.concatenate([[0.0], np.cumsum(steps)])  # probability of values above value[j]
    quantiles: Floats = np.interp(1.0 - probabilities, upper / upper[-1], value)
    return quantiles


@cache
def marchenko_pastur_median(aspect: float) -> float:
    """Median of the Marchenko-Pastur law of sigma = 1, in units of N."""
    return float(marchenko_pastur_quantiles(np.array([0.5]), aspect)[0])


def bulk(eigenvalues: Floats, shape: tuple[int, int]) -> Bulk | None:
    """Fit the bulk of a spectrum at its median and count the spikes above the Tracy-Widom threshold.

    sigma^2 = median(lambda) / (N median_MP(M/N)); edge sigma^2 (sqrt N + sqrt M)^2; threshold mu + q s with
    mu = sigma^2 (sqrt(N-1) + sqrt M)^2, s = sigma^2 (sqrt(N-1) + sqrt M)(1/sqrt(N-1) + 1/sqrt M)^(1/3), q the 99%
    point of TW1 (Johnstone 2001). At 99%, one random matrix in a hundred shows a spike.

    Args:
        eigenvalues: (M,), ascending, zeros included.

    Returns:
        None where the median is 0 (rank below half) or N = 1: there is no bulk to match.
    """
    M, N = min(shape), max(shape)
    median = float(np.median(eigenvalues)) if eigenvalues.size else 0.0
    if median <= 0.0 or N < 2:
        return None
    variance = median / (N * marchenko_pastur_median(M / N))
    root = np.sqrt(N - 1.0) + np.sqrt(M)
    center = variance * root**2
    width = variance * root * (1.0 / np.sqrt(N - 1.0) + 1.0 / np.sqrt(M)) ** (1.0 / 3.0)
    threshold = float(center + TW1_99 * width)
    return Bulk(
        sigma=float(np.sqrt(variance)),
        edge=float(variance * (np.sqrt(N) + np.sqrt(M)) ** 2),
        threshold=threshold,
        n_spikes=int(np.count_nonzero(eigenvalues > threshold)),
    )
