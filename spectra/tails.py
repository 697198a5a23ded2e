"""Power-law exponents of a spectrum's tail: Hill, goodness-of-fit, fix-finger. Pure functions on eigenvalues.

Legend: x ascending eigenvalues; n how many; i index of the tail's first; m = n - i its size; L = ln x.
Every failure is a status, never a number: alpha is NaN then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spectra.types import Status, TailCurve, TailFit

Floats = NDArray[np.float64]
FitName = Literal["hill", "gof", "fix_finger"]

MIN_EIGENVALUES = 8  # fewer: too_few_eigenvalues
SMALL_TAIL = 50  # Clauset et al. 2009, sec. 3.1: estimates from fewer points are flagged
_SAMPLES = 24  # points at which a candidate's D is bounded from below before it is computed
_FIRST = 8  # candidates computed before the others are bounded more tightly
_MANY = 24  # survivors from which that pays
_CHUNK = 1 << 13  # elements of a bounding step
FLAT = 1e-10  # mean log-ratio under which a tail is constant up to rounding


def failed(status: Status, tail_size: int = 0) -> TailFit:
    """A TailFit that carries only the reason why there is none."""
    nan = float("nan")
    return TailFit(alpha=nan, stderr=nan, xmin=nan, tail_size=tail_size, ks=nan, status=status)


def screen(eigenvalues: Floats, min_eigenvalues: int) -> Status:
    """Whether a spectrum (ascending, zeros included) can be fitted at all."""
    if eigenvalues.size < min_eigenvalues:
        return "too_few_eigenvalues"
    if not np.isfinite(eigenvalues[-1]):
        return "non_finite"
    return "ok" if eigenvalues[-1] > 0 else "degenerate"


def is_constant(eigenvalues: Floats, unit_roundoff: float) -> bool:
    """Whether all positive eigenvalues agree to what rounding to the stored dtype can explain.

    Rounding an orthogonal matrix moves its eigenvalues by up to about 4 u; twice that is the tolerance, u at most bfloat16's
    (for coarser types 8 u would swallow real spectra).
    """
    positive = eigenvalues[eigenvalues > 0]
    if positive.size < 2:
        return False
    return float(np.log(positive[-1]) - np.log(positive[0])) <= max(1e-9, 8.0 * min(unit_roundoff, 2.0**-8))


def ks_distance(alpha: float, log_ratio: Floats, two_sided: bool) -> float:
    """D = max_j |1 - (x_j/xmin)^(1-alpha) - j/m|, j = 0..m-1 (the left grid); two-sided: also against (j+1)/m.

    `log_ratio`: ln(x_j / xmin), (m,), ascending. Source: docs/methods.md; Clauset et al. 2009, eq. 3.9.
    """
    m = log_ratio.size
    gap = 1.0 - np.exp((1.0 - alpha) * log_ratio) - np.arange(m) / m
    distance = float(np.max(np.abs(gap)))
    return max(distance, float(np.max(np.abs(gap - 1.0 / m)))) if two_sided else distance


def hill(eigenvalues: Floats, min_eigenvalues: int = MIN_EIGENVALUES) -> TailFit:
    """Hill estimate over the upper half of the spectrum.

    k = floor(M/2), S = sum_{i=1..k} ln(lambda_(M-i+1) / lambda_(M-k)), alpha = 1 + k/S; xmin = lambda_(M-k), standard
    error (alpha - 1)/sqrt(k). Bias factor of alpha - 1 on a Pareto tail: k/(k-1).
    Source: AlphaDecay eq. 2.

    Args:
        eigenvalues: (M,), ascending, zeros included.
    """
    status = screen(eigenvalues, min_eigenvalues)
    k = eigenvalues.size // 2
    if status != "ok":
        return failed(status)
    xmin = float(eigenvalues[eigenvalues.size - k - 1])
    if xmin <= 0.0:
        return failed("degenerate", k)
    log_ratio = np.log(eigenvalues[eigenvalues.size - k :]) - np.log(xmin)
    total = float(np.sum(log_ratio))
    if total <= k * FLAT:
        return failed("degenerate", k)
    alpha = 1.0 + k / total
    ks = ks_distance(alpha, log_ratio, two_sided=False)
    return TailFit(alpha=alpha, stderr=(alpha - 1) / k**0.5, xmin=xmin, tail_size=k, ks=ks, status="ok")


def tail_curve(eigenvalues: Floats, points: int = 64) -> TailCurve | None:
    """Ranks 1..n spaced evenly in log k, the k-th largest eigenvalue, and Hill's alpha over the k largest.

    alpha(k) = 1 + k / sum_{i<=k} ln(lambda_(i) / lambda_(k+1)), descending; k = floor(M/2) is the column `alpha_hill`.
    `eigenvalues`: (M,), ascending, zeros included. None where none is positive.
    """
    x = eigenvalues[eigenvalues > 0][::-1]
    if not x.size:
        return None
    half = min(eigenvalues.size // 2, x.size)
    ranks = np.unique(np.append(np.geomspace(1, x.size, points).round().astype(int), max(half, 1)))
    logs = np.log(x)
    sums = np.cumsum(logs)[ranks - 1]
    inside = ranks < x.size
    excess = sums[inside] - ranks[inside] * logs[ranks[inside]]
    alphas: list[float | None] = [
        float(1.0 + k / total) if total > k * FLAT else None for k, total in zip(ranks[inside], excess, strict=True)
    ]
    return TailCurve(
        ranks=tuple(int(k) for k in ranks),
        eigenvalues=tuple(float(v) for v in x[ranks - 1]),
        hill_alphas=tuple(alphas + [None] * int(ranks.size - len(alphas))),
    )


def goodness_of_fit(
    eigenvalues: Floats,
    *,
    min_eigenvalues: int = MIN_EIGENVALUES,
    min_tail: int = 2,
    two_sided: bool = False,
) -> TailFit:
    """Clauset, Shalizi and Newman's fit (2009, sec. 3.3): the xmin whose tail is closest to its own power law.

    Every eigenvalue but the largest is a candidate xmin (of equal ones, once, with all of them in the tail):
    alpha = 1 + m / sum ln(x_j/x_i); kept is the xmin with the least Kolmogorov-Smirnov distance D. The search is exact:
    a candidate is skipped only if a lower bound of its D exceeds the best D found.

    Args:
        eigenvalues: (M,), ascending; zeros are no candidates and in no tail.
        min_tail: least tail size m of a candidate (default 2, as in powerlaw and WeightWatcher).
        two_sided: distance to both sides of each step of the empirical distribution, instead of the left grid.
    """
    return best_tail(eigenvalues, None, min_eigenvalues, min_tail, two_sided)


def fix_finger(
    eigenvalues: Floats,
    *,
    min_eigenvalues: int = MIN_EIGENVALUES,
    min_tail: int = 2,
    two_sided: bool = False,
    bins: int = 100,
) -> TailFit:
    """Goodness-of-fit with xmin held near the peak of the ESD, so that a few large eigenvalues ("fingers") cannot drag it.

    Histogram of log10 lambda with 100 bins; e = left edge of the (lowest) highest bin; c = 10^e; xmin in [0.95 c, 1.5 c].
    No eigenvalue there: `no_tail`. Source: WeightWatcher's fix_fingers='xmin_peak' and AlphaPruning, as meant: the
    public codes compare log10(0.95 c) with a linear xmin.
    """

    def near_peak(x: Floats) -> tuple[float, float]:
        center = esd_peak(x, bins)
        return 0.95 * center, 1.5 * center

    return best_tail(eigenvalues, near_peak, min_eigenvalues, min_tail, two_sided)


def esd_peak(positive: Floats, bins: int = 100) -> float:
    """Left edge of the (lowest) highest bin of log10 lambda, as an eigenvalue."""
    counts, edges = np.histogram(np.log10(positive), bins=bins)
    return float(10.0 ** float(edges[int(np.argmax(counts))]))


def best_tail(
    eigenvalues: Floats,
    window: Callable[[Floats], tuple[float, float]] | None,
    min_eigenvalues: int,
    min_tail: int,
    two_sided: bool,
) -> TailFit:
    """The tail with the least D whose xmin lies in `window(positive eigenvalues)` = (lowest, highest); None: anywhere."""
    status = screen(eigenvalues, min_eigenvalues)
    if status != "ok":
        return failed(status)
    x: Floats = eigenvalues[eigenvalues > 0]
    if x.size < min_eigenvalues:
        return failed("degenerate", int(x.size))
    logs = np.log(x) - np.log(x[-1])  # not the log of a ratio, which can over- or underflow
    if -float(logs[0]) <= FLAT:
        return failed("degenerate", int(x.size))
    candidates = np.arange(x.size - 1)
    usable = np.diff(x, prepend=-np.inf)[:-1] > 0  # of equal eigenvalues the first stands for all
    usable &= (x[:-1] < x[-1]) & (x.size - candidates >= min_tail)
    if window is not None:
        low, high = window(x)
        usable &= (x[:-1] >= low) & (x[:-1] <= high)
    candidates = candidates[usable]
    alphas, candidates = _alphas(logs, candidates)
    if candidates.size == 0:
        return failed("no_tail")
    best, distance = _closest(logs, alphas, candidates, two_sided)
    i, alpha = int(candidates[best]), float(alphas[best])
    m = int(x.size - i)
    return TailFit(alpha=alpha, stderr=(alpha - 1) / m**0.5, xmin=float(x[i]), tail_size=m, ks=distance, status="ok")


def _alphas(logs: Floats, candidates: NDArray[np.intp]) -> tuple[Floats, NDArray[np.intp]]:
    """Maximum-likelihood alpha of each candidate's tail, from one reverse cumulative sum; flat tails are dropped."""
    sizes = logs.size - candidates
    totals = np.cumsum(logs[::-1])[::-1][candidates] - sizes * logs[candidates]
    steep = totals > sizes * FLAT
    return 1.0 + sizes[steep] / totals[steep], candidates[steep]


def _closest(logs: Floats, alphas: Floats, candidates: NDArray[np.intp], two_sided: bool) -> tuple[int, float]:
    """Index into `candidates` of the least D (ties: the lowest xmin), and that D.

    The bound of a candidate is its |gap| at some points of its tail: a few for all, eight times as many for those that the
    best of the first few leaves. Candidates are visited from the lowest bound up, until the bound exceeds the best D: what
    is left out cannot be better.
    """
    search = _Search(logs, alphas, candidates, two_sided)
    everyone = np.arange(candidates.size)
    left, bounds = search.visit(everyone, search.bounds(everyone, _SAMPLES), _FIRST)
    if left.size > _MANY:
        bounds = search.bounds(left, 8 * _SAMPLES)
    search.visit(left, bounds, left.size)
    return search.best, search.distance


class _Search:
    """The least D found so far, and how to look on."""

    def __init__(self, logs: Floats, alphas: Floats, candidates: NDArray[np.intp], two_sided: bool) -> None:
        self.logs, self.alphas, self.candidates, self.two_sided = logs, alphas, candidates, two_sided
        self.best, self.distance = -1, float("inf")

    def visit(self, positions: NDArray[np.intp], bounds: Floats, at_most: int) -> tuple[NDArray[np.intp], Floats]:
        """Compute D for up to `at_most` candidates, lowest bound first; those left that could be better, and their bounds."""
        order = np.argsort(bounds, kind="stable")
        for j in order[:at_most]:
            if bounds[j] > self.distance:
                break
            self._evaluate(int(positions[j]))
        rest = order[at_most:]
        rest = rest[bounds[rest] <= self.distance]
        return positions[rest], bounds[rest]

    def _evaluate(self, position: int) -> None:
        i = self.candidates[position]
        current = ks_distance(float(self.alphas[position]), self.logs[i:] - self.logs[i], self.two_sided)
        if current < self.distance or (current == self.distance and position < self.best):
            self.best, self.distance = position, current

    def bounds(self, positions: NDArray[np.intp], samples: int) -> Floats:
        """max |1 - (x_j/x_i)^(1-alpha_i) - (j-i)/m| over `samples` values of j, for each candidate i: at most its D."""
        fractions = (np.arange(samples) + 0.5) / samples
        step = max(1, _CHUNK // samples)  # few enough at a time to stay in the cache
        parts = [self._bounds(positions[k : k + step], fractions) for k in range(0, positions.size, step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _bounds(self, positions: NDArray[np.intp], fractions: Floats) -> Floats:
        first, alphas = self.candidates[positions], self.alphas[positions]
        sizes = self.logs.size - first
        offsets = (sizes[:, None] * fractions).astype(np.intp)  # (candidates, samples), 0 <= offset < m
        gaps = self.logs[first[:, None] + offsets]
        gaps -= self.logs[first][:, None]
        gaps *= 1.0 - alphas[:, None]
        np.exp(gaps, out=gaps)
        gaps += offsets / sizes[:, None]
        gaps -= 1.0
        least: Floats = np.abs(gaps, out=gaps).max(axis=1)
        return least * (1.0 - 1e-12)  # rounding must not push a bound over the D it bounds
