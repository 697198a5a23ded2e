"""Means over tasks, and stability against plasticity (paper, appendix D). Every task weighs the same, whatever its size.

Legend: Q questions of a task, S seeds. Questions are resampled within each task, independently of the other tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plasticity.stats_paired import is_constant_difference
from plasticity.stats_resample import DRAWS, means, percentile
from plasticity.stats_result import Estimate, Floats, Remarks, by_seed, counted, listed
from spectra.errors import SpectraError

Table = Mapping[str, ArrayLike]  # task -> (Q,) or (S, Q)


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
    zeros = {task: np.zeros((1, by_seed(v, task).shape[1])) for task, v in values.items()}
    return _over_tasks(values, zeros, "mean over tasks", draws, seed)


def difference_over_tasks(first: Table, second: Table, *, draws: int = DRAWS, seed: int = 0) -> TaskMean:
    """Mean over the tasks that both have of the paired difference `first` minus `second`; else as `mean_over_tasks`.

    Raises:
        SpectraError: a task has different numbers of questions on both sides.
    """
    return _over_tasks(first, second, "paired difference, mean over tasks", draws, seed)


def tradeoff(
    before: Table, after: Mapping[str, Table], downstream: Table, *, draws: int = DRAWS, seed: int = 0
) -> TradeOff:
    """Stability and plasticity of one base, each with its interval.

    Args:
        before: cloze benchmark -> (Q,) flags of the base.
        after: fine-tuned model (the task it was tuned on) -> benchmark -> (Q,) or (S, Q) flags. A benchmark that one of them
            lacks is left out.
        downstream: chain-of-thought task -> (Q,) or (S, Q) values of the model fine-tuned on it.

    Raises:
        SpectraError: numbers of questions of a benchmark differ.
    """
    shared = {name: [by_seed(one[name], name).mean(axis=0) for one in after.values()] for name in _shared(after)}
    tuned = {name: by_seed(rows, f"{name} after fine-tuning") for name, rows in shared.items()}
    lacking = [name for one in after.values() for name in one if name not in tuned]
    stability = difference_over_tasks({**dict.fromkeys(lacking, ()), **tuned}, before, draws=draws, seed=seed)
    upstream = mean_over_tasks({t: v for t, v in tuned.items() if t in stability.by_task}, draws=draws, seed=seed)
    plasticity = mean_over_tasks(downstream, draws=draws, seed=seed + 1)
    parts = {"Stability": stability, "Upstream accuracy": upstream, "Plasticity": plasticity}
    said = Remarks()
    for name, part in parts.items():
        if part.status != "ok":
            said.add(part.status, f"{name}: {part.why}")
    method = f"bootstrap over questions within tasks, mean over {counted(len(after), 'fine-tuned model')}"
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


def _over_tasks(first: Table, second: Table, what: str, draws: int, seed: int) -> TaskMean:
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
        kept[task] = a.mean(axis=0) - b.mean(axis=0)  # (Q,)
        if is_constant_difference(a, b, kept[task]):
            flat.append(task)
    left_out = tuple(task for task in dict.fromkeys([*first, *second]) if task not in kept)
    by_task = {task: float(d.mean()) for task, d in kept.items()}
    ci95 = None
    if not kept:
        said.add("no_values", "No task has values to average.")
    elif len(flat) == len(kept):
        said.add(
            "constant", "In every task all questions have the same value: the bootstrap interval would have no width."
        )
    else:
        ci95 = percentile(_drawn(list(kept.values()), draws, seed))
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
        n=sum(len(d) for d in kept.values()),
        method=f"{what} ({len(kept)}); bootstrap over questions within tasks, seeds averaged; 95% percentile, {draws} draws",
        by_task=by_task,
        left_out=left_out,
        status=said.status,
        why=said.why,
    )


def _drawn(tasks: list[Floats], draws: int, seed: int) -> Floats:
    """(B,): means over tasks of means over their resampled questions."""
    rng = np.random.default_rng(seed)
    drawn: Floats = np.mean([means(rng, values[:, None], draws)[:, 0] for values in tasks], axis=0)
    return drawn
