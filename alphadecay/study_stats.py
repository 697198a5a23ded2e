"""Statistics of a study: t-intervals, paired t-tests, Cohen's d_z with its interval, Holm. Pure functions of numbers.

Legend: n pairs, d_i their differences, m and s mean and standard deviation (n - 1) of d, t = m / (s / sqrt(n)).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from spectra.errors import SpectraError

_SEARCH = 1e4  # noncentralities further from t than this times (1 + |t|) are not looked at


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Mean of a sample with a t-interval.

    Attributes:
        n: values.
        mean: of the values.
        sd: standard deviation (n - 1); None with fewer than two values.
        low, high: mean -/+ t_(n-1) sd / sqrt(n); None with fewer than two values.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A dependent t-test.

    Attributes:
        difference: summary of the d_i.
        t, p: two-sided, n - 1 degrees of freedom; None with fewer than two pairs, or where all differences are equal.
        effect: Cohen's d_z = m / s; None as t.
        effect_low, effect_high: its interval, from the noncentral t distribution (Cumming and Finch 2001): the noncentralities
            under which the t observed is at the upper, and the lower, tail, divided by sqrt(n).
        status: `ok`, `too_few_pairs`, `constant`.
    """

    difference: Summary
    t: float | None
    p: float | None
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    status: str


def summary(values: Sequence[float], level: float = 0.95) -> Summary:
    """Mean, spread and the t-interval of `level` of the mean.

    Raises:
        SpectraError: no values, or one that is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise SpectraError(f"Cannot summarise {list(values)}: expected at least one number, all finite.")
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Summary(n=len(values), mean=mean, sd=None, low=None, high=None)
    from scipy import stats

    sd = statistics.stdev(values)
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return Summary(n=len(values), mean=mean, sd=sd, low=mean - half, high=mean + half)


def paired(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Paired:
    """`first` minus `second`, pair by pair.

    Raises:
        SpectraError: they differ in length, or see `summary`.
    """
    if len(first) != len(second):
        raise SpectraError(f"Got {len(first)} and {len(second)} values, expected pairs. Leave incomplete pairs out.")
    found = summary([a - b for a, b in zip(first, second, strict=True)], level)
    scale = max(abs(x) for x in (*first, *second))
    if found.sd is None or found.sd <= 4 * math.ulp(scale):
        status = "too_few_pairs" if found.sd is None else "constant"
        empty: dict[str, None] = dict.fromkeys(("t", "p", "effect", "effect_low", "effect_high"))
        return Paired(difference=found, status=status, **empty)
    from scipy import stats

    n = found.n
    t = found.mean / (found.sd / math.sqrt(n))
    low, high = _noncentralities(t, n - 1, level)
    root = math.sqrt(n)
    return Paired(
        difference=found,
        t=t,
        p=float(2 * stats.t.sf(abs(t), n - 1)),
        effect=found.mean / found.sd,
        effect_low=None if low is None else low / root,
        effect_high=None if high is None else high / root,
        status="ok",
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values in the order given: p_(k) (m - k + 1), never falling, at most 1. None stays None, uncounted."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    made: list[float | None] = [None] * len(p_values)
    greatest = 0.0
    for k, (p, i) in enumerate(known):
        greatest = max(greatest, min(1.0, p * (len(known) - k)))
        made[i] = greatest
    return made


def _noncentralities(t: float, df: int, level: float) -> tuple[float | None, float | None]:
    """(low, high) with P(T >= t | low) = P(T <= t | high) = (1 - level)/2; None where the search does not end."""
    from scipy import optimize, stats

    tail = (1 - level) / 2

    def solve(probability: float) -> float | None:
        def off(noncentrality: float) -> float:
            return float(stats.nct.cdf(t, df, noncentrality)) - probability

        step = 1.0 + abs(t)  # the distribution function falls as the noncentrality grows
        left, right = t - step, t + step
        while not (off(left) >= 0.0 >= off(right)):
            if math.isnan(off(left)) or math.isnan(off(right)) or step > _SEARCH * (1.0 + abs(t)):
                return None
            step *= 2.0
            left, right = t - step, t + step
        return float(optimize.brentq(off, left, right, xtol=1e-10))

    return solve(1 - tail), solve(tail)
