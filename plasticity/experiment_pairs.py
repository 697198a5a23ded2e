"""Which base is better: bases by their names, two at a time, on every task's main score; no axis is needed for it.

Legend: S seeds, Q questions, B draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from plasticity import stats
from plasticity.experiment_data import Found
from plasticity.experiment_families import Family, Measures, Scores, family_of
from plasticity.experiment_places import GIVEN, Place
from plasticity.experiment_points import over_seeds
from plasticity.experiment_statistics import reference
from plasticity.stats_resample import DRAWS, means, percentile
from plasticity.stats_result import Floats, Interval, counted

ALL = "all bases"
_EACH = 4  # of so few bases every pair is compared, of more each with one of them


def everyone(found: Found, measures: Measures) -> Family:
    """All bases of an experiment as one family, each place by a name that no other has."""
    known = {base.place.key: base.place for base in found.bases}
    labels: dict[str, list[str]] = {key: [] for key in known}
    for base in found.bases:
        labels[base.place.key].append(base.label)
    named = tuple(replace(place, name=_name(place, labels[key], found.axis)) for key, place in known.items())
    return family_of(found, ALL, named, measures)


def pairs(family: Family, found: Sequence[Scores], *, draws: int = DRAWS) -> list[dict[str, Any]]:
    """Second minus first of every two bases (of more than four: each with the one of the smallest loss, else the first).

    Over the first setting of fine-tuning, which is all of them pooled where there are several. An interval is of one pair on one
    task: not of all at once.
    """
    return [
        _compared(one, first, second, draws)
        for one in found
        if one.setting == found[0].setting
        for first, second in _asked(family, list(one.values))
    ]


def _asked(family: Family, names: Sequence[str]) -> list[tuple[str, str]]:
    if len(names) <= _EACH:
        return list(combinations(names, 2))
    control, _ = reference(family, names)
    return [(control, name) for name in names if name != control]


def _compared(one: Scores, first: str, second: str, draws: int) -> dict[str, Any]:
    a, b = one.values[first], one.values[second]
    tables = [(a[task], b[task]) for task in a]
    seeds = [seed for seed in tables[0][0] if all(seed in of for pair in tables for of in pair)]
    shown = one.means()
    value = shown[second] - shown[first]
    if seeds:
        value = float(np.mean([np.mean([y[seed].mean() - x[seed].mean() for seed in seeds]) for x, y in tables]))
    ci95, method = _interval(tables, seeds, draws)
    decided = ci95 is not None and (ci95[0] > 0 or ci95[1] < 0)
    return {
        "task": one.task, "score": one.score, "setting": dict(one.setting), "name_a": first, "name_b": second,
        "value_a": shown[first], "value_b": shown[second], "value": value, "ci95": ci95, "n_seeds": len(seeds),
        "n_questions": sum(len(next(iter(x.values()))) for x, _ in tables), "better": "higher" if one.sign > 0 else "lower",
        "ahead": (second if one.sign * value > 0 else first) if decided else None,
        "status": "settled" if decided and len(seeds) > 1 else "one seed" if decided else "not settled", "method": method,
    }  # fmt: skip


def _interval(
    tables: Sequence[tuple[Mapping[int, Floats], Mapping[int, Floats]]], seeds: Sequence[int], draws: int
) -> tuple[Interval | None, str]:
    """Of the mean over tasks: questions drawn within each, and seeds, the same for both bases."""
    of = f", within each of {len(tables)} tasks" if len(tables) > 1 else ""
    if seeds:
        differences = [np.stack([y[seed] - x[seed] for seed in seeds], axis=1) for x, y in tables]  # (Q, S) a task
        drawn = [means(np.random.default_rng([0, number]), d, draws) for number, d in enumerate(differences)]
        total = over_seeds(drawn) if len(seeds) > 1 else np.mean(drawn, axis=0)[:, 0]
        if np.ptp(total) > 1e-12:
            what = (
                f"{counted(len(seeds), 'seed')}, then over questions"
                if len(seeds) > 1
                else "questions alone (one seed)"
            )
            return percentile(total), f"paired bootstrap over {what}{of}; 95% percentile, {draws} draws"
    stacked = [tuple(np.stack(list(table.values())) for table in pair) for pair in tables]
    if len(tables) == 1:
        found = stats.paired_bootstrap(stacked[0][1], stacked[0][0], draws=draws)
        return found.ci95, found.method
    return None, "no interval: the bases share no seed, or every draw is the same"


def _name(place: Place, labels: Sequence[str], axis: str) -> str:
    """A base's own name; of seeds together what they share."""
    if place.group == GIVEN and len(labels) == 1:
        return labels[0]
    told = dict(place.axes) if place.x is None else {axis: place.x, **place.axes}
    return " ".join([place.group, *(f"{key}={value}" for key, value in told.items())])
