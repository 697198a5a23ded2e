"""Several fine-tuning settings a base: the best of them, as figure 23 has it, and its worth on questions it was not chosen by.

The best of J settings is best partly by luck: of 27 settings that are all alike, on 300 questions, it scores 5 points too much. So
the setting is also chosen on one half of the questions and scored on the other, over many halvings.

Legend: P bases, J settings, S seeds, Q questions of a task, B draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from plasticity.stats_grid import Grid, Scores, align, draw_seeds
from plasticity.stats_resample import DRAWS, counts, percentile
from plasticity.stats_result import Estimate, Floats, Remarks, counted, listed

HALVINGS = 16
LEAST = 20  # questions of a task that can be halved
_BLOCK = 125  # draws held at a time


@dataclass(frozen=True, kw_only=True)
class BestSetting:
    """Of one base.

    Attributes:
        settings: the best on all questions; several where they tie.
        value: its mean score: partly luck.
        mean: over all settings.
        chosen: mean score of the setting chosen on the other half of the questions, both ways, over 16 halvings.
        against: `chosen` minus that of the control, paired; None of the control itself.
    """

    settings: tuple[str, ...]
    value: float
    mean: float
    chosen: Estimate
    against: Estimate | None


@dataclass(frozen=True, kw_only=True)
class BestSettings:
    """By base.

    Attributes:
        bases: base -> its best; empty where there is nothing to choose from.
        control: the base that the others are compared with.
        n_settings: which all bases have.
        n_seeds: which all of them have.
        status, why: `ok`, or a code and sentences.
    """

    bases: Mapping[str, BestSetting]
    control: str | None
    n_settings: int
    n_seeds: int
    status: str = "ok"
    why: str = ""


def best_settings(
    scores: Mapping[str, Mapping[str, Scores]], control: str, *, draws: int = DRAWS, seed: int = 0
) -> BestSettings:
    """The best setting of every base.

    The intervals (percentile bootstrap over seeds, then over questions, halves kept apart) err on the safe side: in simulations
    with 27 settings they held 98 to 100%.

    Args:
        scores: base -> setting -> task -> seed -> (Q,), greater is better. Settings that some base lacks are left out, and said.
        control: the base that the others are compared with; one of `scores`.

    Raises:
        SpectraError: numbers of questions differ.
    """
    said = Remarks()
    settings = [name for name in _all(scores) if all(name in of for of in scores.values())]
    if lacking := [name for name in _all(scores) if name not in settings]:
        said.add("left_out", f"Left out, settings that not all bases have: {listed(lacking)}.")
    grid = align(
        {f"{b} {s}": scores[base][setting] for b, base in enumerate(scores) for s, setting in enumerate(settings)}
    )
    if len(settings) < 2 or len(grid.names) < len(scores) * len(settings):
        said.add("too_few_settings", f"{counted(len(settings), 'setting')} that all bases have; two make a choice.")
        return BestSettings(
            bases={}, control=None, n_settings=len(settings), n_seeds=0, status=said.status, why=said.why
        )
    for sentence in grid.left_out:
        said.add("left_out", sentence)
    shape = (len(scores), len(settings))
    point, drawn, method = _halved(grid, shape, draws, seed)
    means = grid.means.reshape(shape)
    at = list(scores).index(control)
    made = {}
    for p, base in enumerate(scores):
        top = np.flatnonzero(means[p] >= means[p].max() - 1e-12)
        made[base] = BestSetting(
            settings=tuple(settings[k] for k in top), value=float(means[p].max()), mean=float(means[p].mean()),
            chosen=_estimate(grid, method, None if point is None else point[p], None if drawn is None else drawn[:, p]),
            against=None if p == at else _estimate(
                grid, f"paired; {method}", None if point is None else point[p] - point[at],
                None if drawn is None else drawn[:, p] - drawn[:, at],
            ),
        )  # fmt: skip
    return BestSettings(
        bases=made, control=control, n_settings=len(settings), n_seeds=len(grid.seeds), status=said.status, why=said.why
    )  # fmt: skip


def _all(scores: Mapping[str, Mapping[str, Scores]]) -> list[str]:
    return list(dict.fromkeys(setting for of in scores.values() for setting in of))


def _halved(grid: Grid, shape: tuple[int, int], draws: int, seed: int) -> tuple[Floats | None, Floats | None, str]:
    """(P,) score of what the other half chose, (B, P) the same under resampling, and the method; None with too few questions."""
    method = f"setting chosen on one half of the questions, scored on the other, {HALVINGS} halvings both ways"
    if min(table.shape[2] for table in grid.tables.values()) < LEAST:
        return None, None, method
    rng = np.random.default_rng(seed)
    sizes = {task: table.shape[2] for task, table in grid.tables.items()}
    halves = {task: _halves(rng, size) for task, size in sizes.items()}
    everything = {task: np.ones((1, size)) for task, size in sizes.items()}
    n_seeds = len(grid.seeds)
    point = _crossed(grid, shape, halves, everything, np.full((1, n_seeds), 1 / n_seeds))[0]
    weights, made = draw_seeds(rng, n_seeds, draws), []
    for at in range(0, draws, _BLOCK):
        of = weights[at : at + _BLOCK]
        drawn = {task: np.concatenate(list(counts(rng, size, len(of)))) for task, size in sizes.items()}
        made.append(_crossed(grid, shape, halves, drawn, of))
    return point, np.concatenate(made), method


def _halves(rng: np.random.Generator, n: int) -> Floats:
    """(HALVINGS, Q) of 0 and 1."""
    made = np.zeros((HALVINGS, n))
    for row in made:
        row[rng.permutation(n)[: n // 2]] = 1.0
    return made


def _crossed(
    grid: Grid, shape: tuple[int, int], halves: Mapping[str, Floats], drawn: Mapping[str, Floats], seeds: Floats
) -> Floats:
    """(b, P) of `drawn` counts of questions, (b, Q) a task, and weights of seeds, (b, S)."""
    total: Floats = np.zeros((len(seeds), shape[0]))
    for number in range(HALVINGS):
        first, second = (np.zeros((len(seeds), *shape)) for _ in range(2))
        for task, table in grid.tables.items():
            for side, mask in ((first, halves[task][number]), (second, 1.0 - halves[task][number])):
                side[...] += _means(table, drawn[task] * mask, seeds).reshape(side.shape)
        total += _picked(first, second) + _picked(second, first)
    return total / (2 * HALVINGS * len(grid.tables))


def _means(table: Floats, count: Floats, seeds: Floats) -> Floats:
    """(b, K) of a table (K, S, Q)."""
    k, s, q = table.shape
    by_seed = (count @ table.reshape(k * s, q).T / np.maximum(count.sum(axis=1, keepdims=True), 1.0)).reshape(-1, k, s)
    made: Floats = np.einsum("bks,bs->bk", by_seed, seeds)
    return made


def _picked(by: Floats, scored: Floats) -> Floats:
    """(b, P): `scored` where `by` is greatest over settings; ties averaged."""
    among = by >= by.max(axis=2, keepdims=True) - 1e-12
    made: Floats = (among * scored).sum(axis=2) / among.sum(axis=2)
    return made


def _estimate(grid: Grid, method: str, value: float | None, drawn: Floats | None) -> Estimate:
    n = grid.n_questions
    if value is None or drawn is None:
        why = f"Fewer than {LEAST} questions of a task cannot be halved."
        return Estimate(value=None, ci95=None, n=n, method=method, status="too_few_questions", why=why)
    if np.ptp(drawn) <= 1e-12:
        why = "Every draw of seeds and questions gives the same: there is no interval."
        return Estimate(value=float(value), ci95=None, n=n, method=method, status="constant", why=why)
    return Estimate(value=float(value), ci95=percentile(drawn), n=n, method=method)
