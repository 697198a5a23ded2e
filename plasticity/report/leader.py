"""The page's first words: which base is ahead once fine-tuned, how sure that is, and what the other scores say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plasticity.experiment_pairs import ALL
from plasticity.experiment_places import whole_name
from plasticity.report.frame import is_control
from plasticity.report.names import MEAN, amount, is_lower, place_label, task_name
from plasticity.report.values import setting_label
from spectra.report.text import counted

Entry = Mapping[str, Any]
Summary = Mapping[str, Any]
SURE = 0.95  # share of draws from which on the best one is not in question
_TASKS = 3  # in words; figures have all


def leader(summary: Summary, axis: str) -> list[str]:
    """A few sentences a task (on their mean, where there are several): over all bases, in the first setting or all pooled."""
    found = [one for one in summary["statistics"].get("optimum", ()) if len(one["means"]) > 1]
    lines = {str(one["group"]) for one in found}
    whole = [one for one in found if one["group"] == ALL or len(lines) == 1]
    first = [one for one in whole if one["setting"] == whole[0]["setting"]]
    chosen = [one for one in first if one["task"] == MEAN] or first[:_TASKS]
    return [_said(summary, one, axis) for one in chosen]


def _said(summary: Summary, one: Entry, title: str) -> str:
    score, task = str(one["score"]), str(one["task"])
    order = sorted(one["means"], key=lambda name: one["means"][name], reverse=not is_lower(score))
    best = [name for name in order if name in one["name_by_score"]]
    share = sum(one["shares"]["by_score"].get(name, 0.0) for name in best)
    after = next((name for name in order if name not in best), None)
    axis = title if one["group"] != ALL else ""
    drawn = "questions" if one["n_seeds"] == 1 else f"{counted(int(one['n_seeds']), 'seed')} and questions"
    text = (
        f"Ahead once fine-tuned, {task_name(summary, task)}, {score}{' (lower is better)' if is_lower(score) else ''}: "
        f"{_called(best, axis)} with {amount(summary, score, one['means'][best[0]])}, best in {_share(share)} of draws of {drawn}"
    )
    if after is not None:
        text += f"; next {_called([after], axis)} with {amount(summary, score, one['means'][after])}"
    return " ".join(filter(None, (f"{text}.", _certainty(one, share), _others(summary, one, best, axis))))


def _called(names: Sequence[str], axis: str) -> str:
    """Places of one line by their value, of several by their names."""
    return " and ".join(f"{axis} {place_label(name)}".strip() for name in names)


def _share(value: float) -> str:
    """A share of draws; never all of them, of which there are only so many."""
    return f"{value:.0%}" if value <= 0.99 else "over 99%"


def _certainty(one: Entry, share: float) -> str:
    sure = "" if share >= SURE else "Which is best is not settled."
    alone = "One seed: what another would change is not known." if one["n_seeds"] == 1 else ""
    return " ".join(filter(None, (sure, alone)))


def _others(summary: Summary, one: Entry, best: Sequence[str], axis: str) -> str:
    """Other scores of the task by which another base is ahead; empty where all agree."""
    names, setting = _names(summary, one), _setting(summary, one)
    found: dict[str, dict[str, float]] = {}
    for point in summary["points"]:
        if (
            point["task"] != one["task"]
            or is_control(point)
            or point["score"] == one["score"]
            or point["value"] is None
        ):
            continue
        if setting_label(point.get("setting")) == setting:
            found.setdefault(str(point["score"]), {})[names(point)] = float(point["value"])
    said = []
    for score, values in found.items():
        first = (min if is_lower(score) else max)(values, key=values.__getitem__)
        if first not in best and any(values[first] != values.get(name) for name in best):
            said.append(f"by {score} it is {_called([first], axis)} ({amount(summary, score, values[first])})")
    return f"Other scores disagree: {'; '.join(said)}." if said else ""


def _setting(summary: Summary, one: Entry) -> str:
    """The setting whose points are looked at: of one that is pooled over several, the first of them."""
    known = [setting_label(point.get("setting")) for point in summary["points"]]
    asked = setting_label(one.get("setting"))
    return asked if asked in known or not known else known[0]


def _names(summary: Summary, one: Entry) -> Any:
    """A point's name among those of the statistic: within a line its own, over all lines with what tells it from the others."""
    axis = str(summary["experiment"]["axis"])

    def whole(point: Entry) -> str:
        if one["group"] != ALL:
            return str(point["name"])
        return whole_name(str(point["group"]), point["x"], point["axes"], axis)

    return lambda point: next(
        (name for name in (whole(point), *map(str, point.get("bases", ()))) if name in one["means"]), whole(point)
    )
