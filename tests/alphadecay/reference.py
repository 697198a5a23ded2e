"""AlphaDecay's numbers written again from METHODS and the papers, slow and obvious, on numpy alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def eigenvalues(W: Floats) -> Floats:
    """Ascending squares of singular values, by SVD (the code under test goes through a Gram matrix)."""
    return np.sort(np.linalg.svd(np.asarray(W, dtype=np.float64), compute_uv=False) ** 2)


def hill(x: Floats) -> float:
    """AlphaDecay eq. 2: k = floor(M/2), alpha = 1 + k / sum_{i<=k} ln(lambda_(M-i+1) / lambda_(M-k))."""
    M = len(x)
    k = M // 2
    return 1 + k / sum(math.log(x[M - i] / x[M - k - 1]) for i in range(1, k + 1))


def hill_of_the_code(x: Floats) -> float:
    """i0 = floor(M/2), m = M - i0, alpha = 1 + m / sum_{j>=i0} ln(lambda_j / lambda_i0)."""
    i0 = len(x) // 2
    return 1 + (len(x) - i0) / sum(math.log(v / x[i0]) for v in x[i0:])


def goodness_of_fit(x: Floats, allowed: Callable[[float], bool] = lambda _: True) -> float:
    """The alpha of the xmin with the least left-grid distance, every eigenvalue but the largest tried."""
    best, alpha_best = math.inf, math.nan
    for i in range(len(x) - 1):
        if not allowed(x[i]):
            continue
        tail = x[i:]
        m = len(tail)
        alpha = 1 + m / np.sum(np.log(tail / tail[0]))
        D = np.max(np.abs(1 - (tail / tail[0]) ** (1 - alpha) - np.arange(m) / m))
        if best > D:
            best, alpha_best = float(D), float(alpha)
    return alpha_best


def peak(x: Floats) -> float:
    """10 to the left edge of the lowest peak bin of a histogram of log10 lambda with 100 bins."""
    counts, edges = np.histogram(np.log10(x), bins=100)
    return float(10 ** edges[np.argmax(counts)])


def fix_finger(x: Floats) -> float:
    """xmin in [0.95 c, 1.5 c]."""
    c = peak(x)
    return goodness_of_fit(x, lambda xmin: 0.95 * c <= xmin <= 1.5 * c)


def fix_finger_of_the_code(x: Floats) -> float:
    """xmin in [log10(0.95 c), 1.5 c]."""
    c = peak(x)
    return goodness_of_fit(x, lambda xmin: math.log10(0.95 * c) <= xmin <= 1.5 * c)


FITS = {"hill": hill, "gof": goodness_of_fit, "fix_finger": fix_finger}
FITS_OF_THE_CODE = {"hill": hill_of_the_code, "gof": goodness_of_fit, "fix_finger": fix_finger_of_the_code}


def linear(scores: dict[str, float], base: float, s1: float, s2: float) -> dict[str, float]:
    """AlphaDecay eq. 3."""
    low, high = min(scores.values()), max(scores.values())
    return {n: base * ((a - low) / (high - low) * (s2 - s1) + s1) for n, a in scores.items()}


def over_mean(transform: Callable[[float], float]) -> Callable[..., dict[str, float]]:
    def made(scores: dict[str, float], base: float) -> dict[str, float]:
        mean = sum(transform(a) for a in scores.values()) / len(scores)
        return {n: base * transform(a) / mean for n, a in scores.items()}

    return made


def sigmoid(scores: dict[str, float], base: float, layers: dict[str, object], beta: float = 4.0) -> dict[str, float]:
    """eta 2/(1 + exp(-beta z)), z standardised over the modules of one layer."""
    made = {}
    for name, score in scores.items():
        same = np.array([s for n, s in scores.items() if layers[n] == layers[name]])
        z = (score - same.mean()) / same.std()
        made[name] = base * 2 / (1 + math.exp(-beta * z))
    return made


def adam_step(
    w: Floats,
    g: Floats,
    lr: float,
    decay: float | Floats,
    *,
    decoupled: bool,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Floats:
    """The weights after the first step of Adam with L2 (coupled) or AdamW (decoupled; plasticity paper, eq. 1 and 2)."""
    if not decoupled:
        g = g + decay * w
    m, v = (1 - betas[0]) * g, (1 - betas[1]) * g * g
    m_hat, v_hat = m / (1 - betas[0]), v / (1 - betas[1])
    shrunk = w * (1 - lr * decay) if decoupled else w
    return np.asarray(shrunk - lr * m_hat / (np.sqrt(v_hat) + 1e-8))


def awd(base: float, factor: float, norms: list[tuple[float, float]]) -> list[float]:
    """Ghiasi et al. 2023, algorithm 1, over (||gradient||, ||weights||) of each step: the applied decays."""
    applied, made = 0.0, []
    for gradient, weights in norms:
        applied = 0.1 * applied + 0.9 * factor * base * gradient / weights
        made.append(applied)
    return made


def adadecay_factors(gradient: Floats, beta: float) -> Floats:
    """Nakamura and Hong 2019: 2/(1 + exp(-beta z)), z the standardised size of each entry's gradient within its weight."""
    size = np.abs(gradient)
    return np.asarray(2 / (1 + np.exp(-beta * (size - size.mean()) / size.std())))
