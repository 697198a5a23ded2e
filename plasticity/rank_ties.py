"""Which candidates a signal tells apart: two tie unless it is shown that they differ, each pair at 95% by itself.

Legend: n candidates, B draws, Q questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plasticity.stats_result import Floats, Interval
from spectra.errors import SpectraError

Apart = Callable[[str, str], bool]  # whether it is shown that two candidates differ
GAP, PROBE = "gap", "probe"  # folders of what was measured, in that of a candidate
EXACT = ("pseudo_rank_qk", "alpha_sd")
_NORMAL = 1.959964
HOW: Mapping[str, str] = {
    "probe": "two tie unless their accuracies differ by more than other seeds and other test texts would explain (95%, Welch's t; "
    "not paired, so that small differences are missed)",
    **dict.fromkeys(EXACT, "computed from the weights, without uncertainty: any difference counts"),
    "gap": "two tie unless the 95% interval of their difference, paired over documents, leaves out 0",
    "loss": "two tie unless the 95% interval of their difference, paired over documents, leaves out 0",
    "short_finetune": "two tie unless their answers to the same questions are shown to differ at 5% (exact McNemar test of "
    "right and wrong, paired t of other scores)",
}


def ranks(values: Floats, sign: int, tied: NDArray[np.bool_] | None = None) -> Floats:
    """(B, n) numbers -> (B, n) ranks, 1 the best: one more than how many are better, and half for each other that ties.

    Where ties are transitive these are the mid-ranks; a may tie with b and b with c, though a is better than c.

    Args:
        sign: 1 where higher is better, -1 where lower.
        tied: (n, n), pairs that tie whatever their numbers; equal numbers always do.
    """
    gains = sign * values
    made = np.empty(gains.shape)
    for at in range(gains.shape[1]):
        mine = gains[:, at : at + 1]
        points = (gains > mine) + 0.5 * (gains == mine)  # (B, n)
        if tied is not None:
            points[:, tied[at]] = 0.5
        made[:, at] = 0.5 + points.sum(axis=1)  # of itself: half a point
    return made


def pairs(labels: list[str], apart: Apart | None) -> tuple[tuple[str, str], ...]:
    """The pairs that are not shown to differ; None: any difference counts."""
    return () if apart is None else tuple(pair for pair in combinations(labels, 2) if not apart(*pair))


def matrix(labels: list[str], tied: tuple[tuple[str, str], ...]) -> NDArray[np.bool_]:
    """(n, n) of such pairs, both ways."""
    made = np.zeros((len(labels), len(labels)), dtype=bool)
    for first, second in tied:
        if first in labels and second in labels:
            made[labels.index(first), labels.index(second)] = made[labels.index(second), labels.index(first)] = True
    return made


def measured(name: str, folders: Mapping[str, Path]) -> Apart | None:
    """How a signal that is no fine-tuning tells candidates apart, from what lies in their folders; None: by any difference."""
    inside = {"gap": GAP, "loss": GAP, "probe": PROBE}.get(name)
    if inside is None:
        return None
    compare = {"gap": gaps, "loss": losses, "probe": probes}[name]
    return lambda first, second: compare(folders[first] / inside, folders[second] / inside)


def answers(gains: Mapping[str, Floats]) -> Apart:
    """How a short fine-tuning tells candidates apart; `gains`: (Q,) each, the same questions."""
    return lambda first, second: answered(gains[first], gains[second])


def gaps(first: Path, second: Path) -> bool:
    """Whether two folders of `plasticity gap` are shown to have other gaps; False where they are of other windows."""
    from plasticity.gap_paired import paired

    try:
        return _leaves_out_zero(paired(first, second).ci95)
    except SpectraError:
        return False


def losses(first: Path, second: Path) -> bool:
    """The same of their validation losses."""
    from plasticity.gap_paired import paired_loss

    try:
        return _leaves_out_zero(paired_loss(first, second).ci95)
    except SpectraError:
        return False


def probes(first: Path, second: Path) -> bool:
    """Whether two folders of `plasticity probe` are shown to have other accuracies.

    Seeds and test texts of both are the same, and go up and down together: not paired, the error is rather too large.
    """
    from scipy import stats

    a, b = _accuracy(first), _accuracy(second)
    parts = [*a[1], *b[1]]
    variance = sum(part for part, _ in parts)
    if variance <= 0.0:
        return False
    degrees = variance**2 / sum(part**2 / freedom for part, freedom in parts if part > 0.0)
    return bool(abs(a[0] - b[0]) > float(stats.t.ppf(0.975, degrees)) * math.sqrt(variance))


def _accuracy(folder: Path) -> tuple[float, list[tuple[float, int]]]:
    """Mean accuracy over tasks; variances of it over seeds and over test texts of each task, with their degrees of freedom."""
    from plasticity.probe_result import read_result

    result = read_result(folder)
    many, parts = len(result.tasks), []
    for task in result.tasks:
        best = task.best_layer
        low, high = best.test_accuracy_ci95
        parts.append((((high - low) / (2 * _NORMAL * many)) ** 2, max(1, task.n_test - 1)))
        if best.test_accuracy_sd is not None:
            parts.append((best.test_accuracy_sd**2 / len(result.seeds) / many**2, len(result.seeds) - 1))
    return sum(task.best_layer.test_accuracy for task in result.tasks) / many, parts


def answered(first: Floats, second: Floats) -> bool:
    """Whether two are shown to differ over the same questions: exact McNemar test of flags, else paired t; 5%."""
    from alphadecay.study_stats import paired
    from plasticity.stats_paired import mcnemar

    flags = bool(np.isin(first, (0.0, 1.0)).all() and np.isin(second, (0.0, 1.0)).all())
    p = mcnemar(first, second).p if flags else paired(first.tolist(), second.tolist()).p
    return p is not None and p < 0.05


def _leaves_out_zero(ci95: Interval | None) -> bool:
    return ci95 is not None and not ci95[0] <= 0.0 <= ci95[1]
