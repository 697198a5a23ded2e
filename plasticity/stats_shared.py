"""Two bases on the seeds that both have: their difference, with an interval over seeds and questions.

A seed shifts all questions of a run at once; an interval over questions alone holds the truth in half of the cases where that
matters. And bases averaged over different seeds differ by the luck of those, too. Legend: S seeds, Q questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from plasticity.stats_grid import Grid, Scores, align, interval
from plasticity.stats_paired import paired_bootstrap
from plasticity.stats_resample import DRAWS
from plasticity.stats_result import Estimate, Floats, Remarks, listed
from plasticity.stats_tasks import difference_over_tasks


@dataclass(frozen=True, kw_only=True)
class SharedDifference(Estimate):
    """Mean over tasks of the mean difference, over the seeds that both have on every task; `n` questions in all.

    Attributes:
        seeds: how many of each were averaged.
        shared: those that both have; empty: there is none, the value is over all of each, and there is no interval.
        by_task: each task's.
        left_out: tasks that only one of the two has.
    """

    seeds: tuple[int, int]
    shared: tuple[int, ...]
    by_task: Mapping[str, float]
    left_out: tuple[str, ...]


def shared_difference(first: Scores, second: Scores, *, draws: int = DRAWS, seed: int = 0) -> SharedDifference:
    """`first` minus `second`, each task -> seed -> (Q,) values of the same questions.

    With one seed the interval is over questions alone, and the method says so: `paired_bootstrap`, of several tasks
    `difference_over_tasks`.

    Raises:
        SpectraError: numbers of questions of a task differ.
    """
    grid, said = align({"first": first, "second": second}), Remarks()
    if not grid.names:
        return _unpaired(first, second, said, draws)
    tasks = [task for task in dict.fromkeys([*first, *second]) if task not in grid.tables]
    if gone := _gone(first, second, grid):
        said.add("seeds_left_out", f"Left out, seeds that not both have on every task: {listed(gone)}.")
    if tasks:
        said.add("tasks_left_out", f"Left out, tasks that not both have: {listed(tasks)}.")
    n_seeds, off = len(grid.seeds), {task: table[0] - table[1] for task, table in grid.tables.items()}
    ci95 = interval(off) if n_seeds > 1 else None
    method = (
        f"paired; 95% t-interval over {n_seeds} seeds and over questions{_within(off)}, both random, the same for both"
    )
    if ci95 is None:
        a, b = ({task: table[at] for task, table in grid.tables.items()} for at in (0, 1))
        found = _over_questions(a, b, draws, seed)
        ci95, method = found.ci95, found.method
        method += "; one seed: over questions alone" if n_seeds == 1 else ""
        if found.status != "ok":
            said.add(found.status, found.why)
    elif flat := [task for task, d in off.items() if np.ptp(d) == 0.0]:
        said.add(
            "constant_tasks",
            f"All differences are equal in {listed(flat)}: the interval holds nothing of their uncertainty.",
        )
    by_task = {task: float(d.mean()) for task, d in off.items()}
    return SharedDifference(
        value=float(np.mean(list(by_task.values()))), ci95=ci95, n=grid.n_questions, method=method, status=said.status,
        why=said.why, seeds=(n_seeds, n_seeds), shared=grid.seeds, by_task=by_task, left_out=tuple(tasks),
    )  # fmt: skip


def _gone(first: Scores, second: Scores, grid: Grid) -> list[str]:
    every = {seed for side in (first, second) for task in grid.tables for seed in side[task]}
    return [str(seed) for seed in sorted(every) if seed not in grid.seeds]


def _within(tasks: Mapping[str, Floats]) -> str:
    return f" within each of {len(tasks)} tasks" if len(tasks) > 1 else ""


def _over_questions(a: Mapping[str, Floats], b: Mapping[str, Floats], draws: int, seed: int) -> Estimate:
    """Of (S, Q) tables, seeds averaged."""
    if len(a) > 1:
        return difference_over_tasks(a, b, draws=draws, seed=seed)
    (task,) = a
    return paired_bootstrap(a[task], b[task], draws=draws, seed=seed)


def _unpaired(first: Scores, second: Scores, said: Remarks, draws: int) -> SharedDifference:
    """Without a seed that both have: the difference of means over all seeds of each."""
    tasks = [task for task in first if task in second and first[task] and second[task]]
    a, b = (
        {task: np.stack([np.asarray(v) for v in side[task].values()]) for task in tasks} for side in (first, second)
    )
    found = difference_over_tasks(a, b, draws=draws)
    if tasks:
        said.add(
            "no_shared_seeds", "They share no seed: the difference is of means over other seeds, and has no interval."
        )
    else:
        said.add(found.status, found.why)
    counts = tuple(len(side[tasks[0]]) if tasks else 0 for side in (a, b))
    return SharedDifference(
        value=found.value, ci95=None, n=found.n, method="difference of means over all seeds of each; no interval",
        status=said.status, why=said.why, seeds=(counts[0], counts[1]), shared=(), by_task=found.by_task,
        left_out=found.left_out,
    )  # fmt: skip
