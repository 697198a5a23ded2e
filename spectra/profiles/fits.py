"""Power-law fits as other public codes make them, quirks included; in float64. Which profile uses which: `__init__.py`.

Legend: x ascending eigenvalues; n how many; i index of the tail's first; m = n - i its size.
Failures are statuses here too, where those codes return -1, 0 or an infinity (docs/profiles.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spectra import tails
from spectra.types import TailFit

Floats = NDArray[np.float64]

WEIGHTWATCHER_THRESHOLD = (
    1e-5  # EVALS_THRESH of its CPU route: an absolute eigenvalue, whatever the scale of the weights
)
SMALL_N = 20  # SMALL_N_CUTOFF: fewer eigenvalues above the threshold are fitted by another formula
SMALL_N_TAIL = 8  # k_min of that formula


def median_with_self_term(eigenvalues: Floats, min_eigenvalues: int) -> TailFit:
    """Hill's estimate as AlphaDecay's and FARMS' code make it: the tail counts its own xmin.

    i0 = floor(n/2), xmin = x[i0] (0-based), m = n - i0, alpha = 1 + m / sum_{j>=i0} ln(x_j / xmin). The sum has m - 1 terms
    that are not zero: on a Pareto tail alpha - 1 is too large by m/(m-2).
    """
    status = tails.screen(eigenvalues, min_eigenvalues)
    if status != "ok":
        return tails.failed(status)
    tail = eigenvalues[eigenvalues.size // 2 :]
    return _fit(tail, float(tail.size)) if tail[0] > 0.0 else tails.failed("degenerate", int(tail.size))


def left_grid_search(eigenvalues: Floats, min_eigenvalues: int) -> TailFit:
    """Goodness-of-fit over all xmin but the largest eigenvalue, tails of two and more: the default's search and distance."""
    return tails.best_tail(eigenvalues, None, min_eigenvalues, 2, two_sided=False)


def loose_fix_finger(eigenvalues: Floats, min_eigenvalues: int) -> TailFit:
    """Goodness-of-fit with xmin in [log10(0.95 c), 1.5 c], c the ESD's peak: a logarithm stands where 0.95 c was meant.

    Source: AlphaDecay's, AlphaPruning's and FARMS' code. No eigenvalue in that range: `no_tail` (theirs report alpha 0).
    """

    def window(x: Floats) -> tuple[float, float]:
        peak = tails.esd_peak(x)
        return float(np.log10(0.95 * peak)), 1.5 * peak

    return tails.best_tail(eigenvalues, window, min_eigenvalues, 2, two_sided=False)


def weightwatcher_gof(eigenvalues: Floats, min_eigenvalues: int) -> TailFit:
    """WeightWatcher 0.7.7's `alpha`: goodness-of-fit over eigenvalues above 1e-5; under 20 of them, `_small_sample`."""
    status = tails.screen(eigenvalues, min_eigenvalues)
    if status != "ok":
        return tails.failed(status)
    x = eigenvalues[eigenvalues > WEIGHTWATCHER_THRESHOLD]
    if x.size < 2:
        return tails.failed("no_tail", int(x.size))
    return _small_sample(x) if x.size < SMALL_N else tails.best_tail(x, None, 2, 2, two_sided=False)


def weightwatcher_xmin_peak(eigenvalues: Floats, min_eigenvalues: int) -> TailFit:
    """WeightWatcher's fix_fingers='xmin_peak': xmin in [log10(0.95 c), 1.5 c] without the largest such, over lambda > 1e-5.

    Fitted there by the powerlaw package, which leaves the largest candidate out (powerlaw 1.5; with powerlaw 2, as with
    WeightWatcher's own fit, this option always fails: docs/profiles.md).
    """
    status = tails.screen(eigenvalues, min_eigenvalues)
    if status != "ok":
        return tails.failed(status)
    x = eigenvalues[eigenvalues > WEIGHTWATCHER_THRESHOLD]
    if x.size < 2 or x[0] == x[-1]:
        return tails.failed("no_tail", int(x.size))
    peak = tails.esd_peak(x)
    low, high = float(np.log10(0.95 * peak)), 1.5 * peak
    candidates = np.unique(x[(x >= low) & (x <= high)])[:-1]
    if candidates.size == 0:
        return tails.failed("no_tail")
    return tails.best_tail(x, lambda _: (low, float(candidates[-1])), 2, 2, two_sided=False)


def _small_sample(x: Floats) -> TailFit:
    """WeightWatcher's fit under 20 eigenvalues: alpha = 1 + (m - 1) / sum ln(x_j/xmin), least D over tails of 8 and more.

    Its code minimises D - 0.868/sqrt(m) first, and then overwrites the result by the least D: so it is that which counts.
    Under 8 eigenvalues all of them are the tail.
    """
    starts = range(x.size - SMALL_N_TAIL + 1) if x.size >= SMALL_N_TAIL else range(1)
    fits = [_fit(x[i:], x.size - i - 1.0) for i in starts]
    made = [fit for fit in fits if fit.status == "ok"]
    return min(made, key=lambda fit: fit.ks) if made else tails.failed("degenerate", int(x.size))


def _fit(tail: Floats, numerator: float) -> TailFit:
    """alpha = 1 + numerator / sum ln(x_j / tail[0]) and its left-grid D."""
    logs = np.log(tail) - np.log(tail[0])
    total, m = float(np.sum(logs)), int(tail.size)
    if total <= m * tails.FLAT:
        return tails.failed("degenerate", m)
    alpha = 1.0 + numerator / total
    ks = tails.ks_distance(alpha, logs, two_sided=False)
    return TailFit(alpha=alpha, stderr=(alpha - 1) / m**0.5, xmin=float(tail[0]), tail_size=m, ks=ks, status="ok")
