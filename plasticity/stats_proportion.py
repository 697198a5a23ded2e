"""Intervals where the bootstrap has none: proportions, and values that are all equal."""

from __future__ import annotations

from plasticity.stats_result import Estimate, Interval
from spectra.errors import SpectraError

_TAIL = 0.025


def proportion_interval(successes: int, n: int) -> Estimate:
    """`successes / n` with Clopper and Pearson's exact 95% interval.

    Meant for proportions that are all 0 or all 1: there the percentile bootstrap has no width. It covers at least 95%, and between
    the extremes often more: keep the bootstrap there. With no success the upper limit is 1 - 0.025^(1/n).

    Raises:
        SpectraError: not 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise SpectraError(f"Got {successes} successes of {n}; expected between 0 and the number of trials.")
    method = "proportion; exact 95% interval (Clopper-Pearson)"
    if n == 0:
        return Estimate(value=None, ci95=None, n=0, method=method, status="no_values", why="There is no trial.")
    from scipy import stats

    low = float(stats.beta.ppf(_TAIL, successes, n - successes + 1)) if successes else 0.0
    high = float(stats.beta.ppf(1 - _TAIL, successes + 1, n - successes)) if successes < n else 1.0
    return Estimate(value=successes / n, ci95=(low, high), n=n, method=method)


def constant_interval(value: float, n: int, limits: Interval) -> Interval:
    """Where the mean can be (95%) if all `n` values drawn were `value`, and none can leave `limits`.

    Values other than `value` have a probability of at most u = 1 - 0.05^(1/n) (exact, one-sided), and each moves the mean by no
    more than its distance to a limit.
    """
    rest = 1 - (2 * _TAIL) ** (1 / n)
    return value - rest * (value - limits[0]), value + rest * (limits[1] - value)
