"""What tasks and scores are called, and in which unit and direction their numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plasticity.experiment_families import LOWER_IS_BETTER
from plasticity.report.frame import value_label
from spectra.report.text import counted

MEAN, MEAN_CLOZE = "mean", "mean_cloze"
_MEANS = {MEAN: ("greedy", "generated"), MEAN_CLOZE: ("acc", "cloze")}  # a score that its tasks have, and what they are
_NOT_SHARES = ("orm_score", "harmfulness")
Summary = Mapping[str, Any]


def means(found: Sequence[str]) -> list[str]:
    """Those of these tasks that are means over others; none where there is nothing to average."""
    single = [task for task in dict.fromkeys(found) if task not in _MEANS]
    return [task for task in _MEANS if task in found and len(single) != 1]


def averaged(summary: Summary, mean: str) -> list[str]:
    """The tasks that a mean is over: as its points say, else those with the score that is averaged."""
    points = summary["points"]
    named = next((one["tasks"] for one in points if one["task"] == mean and one.get("tasks")), None)
    if named is not None:
        return [str(task) for task in named]
    score = _MEANS[mean][0]
    generated = {str(one["task"]) for one in points if one["score"] == _MEANS[MEAN][0]}
    found = dict.fromkeys(str(one["task"]) for one in points if one["score"] == score and one["task"] not in _MEANS)
    return [task for task in found if mean == MEAN or task not in generated]


def task_name(summary: Summary, task: str) -> str:
    """`mean of 6 generated tasks`; of a single task its name."""
    if task not in _MEANS:
        return task
    over, kind = averaged(summary, task), _MEANS[task][1]
    return f"mean of {counted(len(over), f'{kind} task')}" if over else f"mean of {kind} tasks"


def means_told(summary: Summary, tasks: Sequence[str]) -> list[str]:
    """`Mean of 2 generated tasks: a and b.`, of each mean among these."""
    made = []
    for mean in (task for task in tasks if task in _MEANS):
        over, name = averaged(summary, mean), task_name(summary, mean)
        made.append(f"{name[0].upper()}{name[1:]}: {', '.join(over)}." if over else "")
    return [one for one in made if one]


def with_name(summary: Summary, one: str) -> str:
    """What a correlation is with: `mean greedy` as `mean of 6 generated tasks, greedy`."""
    task, _, score = one.partition(" ")
    return f"{task_name(summary, task)}, {score}" if task in _MEANS and score else one


def is_lower(score: str) -> bool:
    """Whether less of it is better."""
    return score in LOWER_IS_BETTER


def is_share(summary: Summary, score: str) -> bool:
    """Whether a score is a share, shown in per cent."""
    values = [point["value"] for point in summary["points"] if point["score"] == score and point["value"] is not None]
    return score not in _NOT_SHARES and all(0 <= value <= 1 for value in values)


def amount(summary: Summary, score: str, value: float | None) -> str:
    """A score as it is written: 46.0%, 1.234."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}%" if is_share(summary, score) else f"{value:.3f}"


def change(summary: Summary, score: str, value: float | None, *, unit: bool = True) -> str:
    """A difference of scores, signed: +3.1 points, +0.310."""
    if value is None:
        return "–"
    return f"{100 * value:+.1f}{' points' if unit else ''}" if is_share(summary, score) else f"{value:+.3f}"


def place_label(name: str) -> str:
    """A place's name as the axis writes it: `1.0` is 1."""
    try:
        return value_label(float(name))
    except ValueError:
        return name
