"""Correlation over a handful of checkpoints, with what becomes of it when any one of them is left out.

Checkpoints of one sweep are neither many nor independent: there is no p-value and no interval here. The leave-one-out range
(paper, figure 10) is how far one point moves it, not a confidence interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from plasticity.stats_result import Floats, Remarks, counted, is_constant, is_number, listed

Number = float | None


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """A correlation between two numbers of each point.

    Attributes:
        value: in [-1, 1]; None below 3 points or where one side is constant.
        loo_range: least and greatest value with one point left out; None below 4 points.
        without: point -> value without it; None where the others are constant. Empty below 4 points.
        moved_most_by: the points whose absence moves the value most (several where they tie; one whose absence leaves nothing to
            correlate comes before all others).
        n: points.
        method: its name.
        left_out: points that lack one of the two numbers.
        status, why: `ok`, or a code and a sentence.
    """

    value: float | None
    loo_range: tuple[float, float] | None
    without: Mapping[str, float | None]
    moved_most_by: tuple[str, ...]
    n: int
    method: str
    left_out: tuple[str, ...]
    status: str = "ok"
    why: str = ""


def pearson(x: Mapping[str, Number], y: Mapping[str, Number]) -> Correlation:
    """Pearson's r over the points that `x` and `y` (point -> number) share, with its leave-one-out range."""
    return _correlation(x, y, _pearson, "Pearson r")


def spearman(x: Mapping[str, Number], y: Mapping[str, Number]) -> Correlation:
    """Spearman's rho: Pearson's r of ranks, ties by mid-ranks (only exactly equal numbers tie); else as `pearson`."""
    return _correlation(x, y, _spearman, "Spearman rho (mid-ranks)")


def kendall(x: Mapping[str, Number], y: Mapping[str, Number]) -> Correlation:
    """Kendall's tau-b: concordant minus discordant pairs over the root of pairs untied in x times pairs untied in y."""
    return _correlation(x, y, _kendall, "Kendall tau-b")


def _correlation(
    x: Mapping[str, Number], y: Mapping[str, Number], function: Callable[[Floats, Floats], float | None], method: str
) -> Correlation:
    names = tuple(name for name in x if is_number(x[name]) and is_number(y.get(name)))
    left_out = tuple(name for name in dict.fromkeys([*x, *y]) if name not in names)
    a = np.array([x[name] for name in names], dtype=np.float64)
    b = np.array([y[name] for name in names], dtype=np.float64)
    n, said = len(names), Remarks()
    value: float | None = None
    loo: dict[str, float | None] = {}
    most: tuple[str, ...] = ()
    if n < 3:
        said.add("too_few_points", f"{counted(n, 'point')}: fewer than 3 say nothing of how two numbers go together.")
    else:
        value = function(a, b)
        if value is None:
            said.add("constant", f"One of the two numbers is the same at all {n} points.")
        elif n == 3:
            said.add("no_leave_one_out", "3 points: with one left out, two remain, which always correlate fully.")
        else:
            keep = ~np.eye(n, dtype=bool)
            loo = {name: function(a[rest], b[rest]) for name, rest in zip(names, keep, strict=True)}
            most = _moved_most(value, loo)
            if loo[most[0]] is None:
                said.add("rests_on_one_point", f"Without {most[0]} one of the two numbers is the same at all points.")
    if left_out:
        said.add("points_left_out", f"Left out, without both numbers: {listed(left_out)}.")
    known = [one for one in loo.values() if one is not None]
    return Correlation(
        value=value,
        loo_range=(min(known), max(known)) if known else None,
        without=loo,
        moved_most_by=most,
        n=n,
        method=method,
        left_out=left_out,
        status=said.status,
        why=said.why,
    )


def _moved_most(value: float, without: Mapping[str, float | None]) -> tuple[str, ...]:
    moved = {name: math.inf if other is None else abs(other - value) for name, other in without.items()}
    greatest = max(moved.values())
    return tuple(name for name, by in moved.items() if by >= greatest - 1e-12)


def _pearson(a: Floats, b: Floats) -> float | None:
    if is_constant(a) or is_constant(b):
        return None
    a, b = (v / np.abs(v).max() for v in (a, b))  # squares of any finite number stay in range
    a, b = (v - v.mean() for v in (a, b))
    a, b = (v / np.linalg.norm(v) for v in (a, b))
    return float(np.clip(a @ b, -1.0, 1.0))


def _spearman(a: Floats, b: Floats) -> float | None:
    from scipy import stats

    return _pearson(stats.rankdata(a), stats.rankdata(b))


def _kendall(a: Floats, b: Floats) -> float | None:
    first, second = (np.sign(v[:, None] - v[None, :]) for v in (a, b))  # (n, n): points are few
    scale = math.sqrt(float((first != 0).sum()) * float((second != 0).sum()))
    return float((first * second).sum() / scale) if scale else None
