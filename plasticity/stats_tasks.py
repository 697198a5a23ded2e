"""Means over tasks, and stability against plasticity (paper, appendix D). Every task weighs the same, whatever its size.

Legend: Q questions of a task, S seeds. Questions are resampled within each task, independently of the other tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plasticity.stats_grid import interval
from plasticity.stats_paired import is_constant_difference
from plasticity.stats_resample import DRAWS, means, percentile
from plasticity.stats_result import Estimate, Floats, Remarks, by_seed, counted, listed
from spectra.errors import SpectraError

Table = Mapping[str, ArrayLike]  # task -> (Q,) or (S, Q)
_MEAN, _DIFFERENCE = "mean over tasks", "paired difference, mean over tasks"


@dataclass(frozen=True, kw_only=True)
class TaskMean(Estimate):
    """Mean over tasks of the mean over their questions; `n` questions in all, `by_task` each task's, `left_out` tasks not in it."""

    by_task: Mapping[str, float]
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """One base, fine-tuned on several tasks.

    Attributes:
        stability: accuracy on the cloze benchmarks after fine-tuning minus before: mean over benchmarks and fine-tuned models
            (figure 18; 0 is no change, below 0 is forgetting).
        upstream: the same accuracy after fine-tuning (figure 17).
        plasticity: mean over downstream tasks. It shares no question with the other two, so their errors are independent.
        n: fine-tuned models.
        method: of the intervals.
        status, why: `ok`, or the first that is not of the three.
    """

    stability: TaskMean
    upstream: TaskMean
    plasticity: TaskMean
    n: int
    method: str
    status: str = "ok"
    why: str = ""


def mean_over_tasks(values: Table, *, draws: int = DRAWS, seed: int = 0) -> TaskMean:
    """Mean over tasks with a 95% percentile interval by bootstrap over questions within tasks; seeds are averaged first."""
    return _over_tasks(values, _nothing(values), _MEAN, draws, seed)


def difference_over_tasks(first: Table, second: Table, *, draws: int = DRAWS, seed: int = 0) -> TaskMean:
    """Mean over the tasks that both have of the paired difference `first` minus `second`; else as `mean_over_tasks`.

    Raises:
        SpectraError: a task has different numbers of questions on both sides.
    """
    return _over_tasks(first, second, _DIFFERENCE, draws, seed)


def tradeoff(
    before: Table,
    after: Mapping[str, Table],
    downstream: Table,
    *,
    seeds: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> TradeOff:
    """Stability and plasticity of one base, each with its interval.

    Args:
        before: cloze benchmark -> (Q,) flags of the base.
        seeds: rows are seeds, the same everywhere (one row: of what all seeds share), and the intervals are over seeds and
            questions. Else seeds are averaged, and the intervals are over questions alone.
        after: fine-tuned model (the task it was tuned on) -> benchmark -> (Q,) or (S, Q) flags. A benchmark that one of them
            lacks is left out.
        downstream: chain-of-thought task -> (Q,) or (S, Q) values of the model fine-tuned on it.

    Raises:
        SpectraError: numbers of questions of a benchmark differ.
    """
    shared = {name: [by_seed(one[name], name) for one in after.values()] for name in _shared(after)}
    tuned: dict[str, Floats] = {
        name: np.mean(rows, axis=0)
        if seeds
        else by_seed([row.mean(axis=0) for row in rows], f"{name} after fine-tuning")
        for name, rows in shared.items()
    }
    lacking = [name for one in after.values() for name in one if name not in tuned]
    first: Table = {**dict.fromkeys(lacking, ()), **tuned}
    stability = _over_tasks(first, before, _DIFFERENCE, draws, seed, seeds=seeds)
    kept = {t: v for t, v in tuned.items() if t in stability.by_task}
    upstream = _over_tasks(kept, _nothing(kept), _MEAN, draws, seed, seeds=seeds)
    plasticity = _over_tasks(downstream, _nothing(downstream), _MEAN, draws, seed + 1, seeds=seeds)
    parts = {"Stability": stability, "Upstream accuracy": upstream, "Plasticity": plasticity}
    said = Remarks()
    for name, part in parts.items():
        if part.status != "ok":
            said.add(part.status, f"{name}: {part.why}")
    method = f"{plasticity.method}; mean over {counted(len(after), 'fine-tuned model')}"
    return TradeOff(
        stability=stability,
        upstream=upstream,
        plasticity=plasticity,
        n=len(after),
        method=method,
        status=said.status,
        why=said.why,
    )


def _shared(after: Mapping[str, Table]) -> list[str]:
    """Benchmarks that all fine-tuned models have, in the order of the first."""
    tables = list(after.values())
    return [name for name in tables[0] if all(name in table for table in tables)] if tables else []


def _nothing(values: Table) -> dict[str, Floats]:
    return {task: np.zeros((1, by_seed(v, task).shape[1])) for task, v in values.items()}


def _over_tasks(first: Table, second: Table, what: str, draws: int, seed: int, *, seeds: bool = False) -> TaskMean:
    said, kept, flat = Remarks(), {}, []
    for task in first:
        if task not in second:
            continue
        a, b = by_seed(first[task], task), by_seed(second[task], task)
        if a.size == 0 or b.size == 0 or not (np.isfinite(a).all() and np.isfinite(b).all()):
            continue
        if a.shape[1] != b.shape[1]:
            raise SpectraError(
                f"Got {a.shape[1]} and {b.shape[1]} questions of {task}, expected the same questions in the same order."
            )
        kept[task] = a - b if seeds else (a.mean(axis=0) - b.mean(axis=0))[None]  # (S, Q) or (1, Q)
        if is_constant_difference(a, b, kept[task]):
            flat.append(task)
    left_out = tuple(task for task in dict.fromkeys([*first, *second]) if task not in kept)
    by_task = {task: float(d.mean()) for task, d in kept.items()}
    n_seeds = max((len(d) for d in kept.values()), default=1)
    ci95 = None
    if not kept:
        said.add("no_values", "No task has values to average.")
    elif len(flat) == len(kept):
        said.add("constant", "In every task all questions have the same value: the interval would have no width.")
    else:
        ci95 = interval(kept) if n_seeds > 1 else percentile(_drawn(list(kept.values()), draws, seed))
        if flat:
            said.add(
                "constant_tasks",
                f"All questions have the same value in {listed(flat)}: the interval holds nothing of their uncertainty.",
            )
    if left_out:
        said.add("tasks_left_out", f"Left out, without values, or without them on both sides: {listed(left_out)}.")
    return TaskMean(
        value=float(np.mean(list(by_task.values()))) if by_task else None,
        ci95=ci95,
        n=sum(d.shape[1] for d in kept.values()),
        method=f"{what} ({len(kept)}); {_method(n_seeds, seeds, draws)}",
        by_task=by_task,
        left_out=left_out,
        status=said.status,
        why=said.why,
    )


def _method(n_seeds: int, seeds: bool, draws: int) -> str:
    if n_seeds > 1:
        return f"95% t-interval over {n_seeds} seeds and over questions within tasks, both random"
    one = "one seed: " if seeds else ""
    return f"{one}bootstrap over questions within tasks{'' if seeds else ', seeds averaged'}; 95% percentile, {draws} draws"


def _drawn(tasks: list[Floats], draws: int, seed: int) -> Floats:
    """(B,): means over tasks of means over their resampled questions, of (1, Q) values each."""
    rng = np.random.default_rng(seed)
    drawn: Floats = np.mean([means(rng, values.T, draws)[:, 0] for values in tasks], axis=0)
    return drawn
