"""Bases that differ on the experiment's axis alone (a family), with what statistics need of them: losses, measures, scores.

Scores are by question, over the questions that all runs of a family have. A seed is one of pretraining where some base has
several, fine-tuning runs averaged; else one of fine-tuning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from plasticity.experiment_answers import shared
from plasticity.experiment_data import PRETRAINED, Base, Found, Run, main_score, tasks_of_reasoning
from plasticity.experiment_places import Place, order, told
from plasticity.experiment_points import MEAN, several_bases, units
from plasticity.stats_result import Floats

Measures = Mapping[str, Mapping[str, float | None]]  # label of a base -> quantity -> number
ByTask = Mapping[str, Mapping[int, Floats]]  # task -> seed -> (Q,)
POOLED = "mean over settings"
LOWER_IS_BETTER = frozenset({"harmfulness"})


@dataclass(frozen=True, kw_only=True)
class Family:
    """One line: `places` in order of x, with their bases and fine-tuning runs from pretrained weights."""

    label: str
    places: tuple[Place, ...]
    bases: Mapping[str, Sequence[Base]]
    runs: Mapping[str, Sequence[Run]]
    measures: Measures
    by_base: bool

    def of(self, quantity: str) -> dict[str, dict[int, float]]:
        """Name of a place -> seed of pretraining -> a measured number; places without it are left out."""
        made = {}
        for name, bases in self.bases.items():
            found = {base.seed: self.measures[base.label].get(quantity) for base in bases}
            known = {seed: value for seed, value in found.items() if value is not None}
            if known:
                made[name] = known
        return made

    def x(self, name: str) -> Any:
        """Of a place."""
        return next(place.x for place in self.places if place.name == name)

    def told(self, name: str) -> str:
        """A place in words: its x, or its name where it has none."""
        return name if self.x(name) is None else str(self.x(name))

    @property
    def quantities(self) -> list[str]:
        """What is measured on any base."""
        bases = [base.label for found in self.bases.values() for base in found]
        return list(dict.fromkeys(q for label in bases for q, v in self.measures[label].items() if v is not None))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Main scores of one task, or of several (`mean`), in one fine-tuning setting (or pooled over settings).

    `values`: name of a place -> task -> seed -> (Q,), as measured (harmfulness: lower is better).
    """

    task: str
    score: str
    setting: Mapping[str, Any]
    values: Mapping[str, ByTask]

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return -1 if self.score in LOWER_IS_BETTER else 1

    @property
    def as_gain(self) -> dict[str, dict[str, dict[int, Floats]]]:
        """The same, greater is better."""
        return {
            name: {task: {s: self.sign * v for s, v in seeds.items()} for task, seeds in tasks.items()}
            for name, tasks in self.values.items()
        }

    def means(self) -> dict[str, float]:
        """Name -> mean over tasks of the mean over seeds and questions; of places that have all tasks."""
        return {
            name: float(np.mean([np.mean([v.mean() for v in seeds.values()]) for seeds in tasks.values()]))
            for name, tasks in self.values.items()
        }


def families(found: Found, measures: Measures) -> list[Family]:
    """Every line of the experiment."""
    by_label: dict[str, dict[str, Place]] = {}
    for base in found.bases:
        for label in base.place.families:
            by_label.setdefault(label, {})[base.place.key] = base.place
    return [
        family_of(found, label, _distinct(sorted(known.values(), key=order)), measures)
        for label, known in by_label.items()
    ]


def across(found: Found, measures: Measures) -> list[Family]:
    """Bases of one group that share x and differ otherwise, such as in the policy of decay: for comparisons, not for trends."""
    groups: dict[tuple[str, str], dict[str, Place]] = {}
    for base in found.bases:
        if base.place.x is not None:
            groups.setdefault((base.place.group, str(base.place.x)), {})[base.place.key] = base.place
    made = []
    for (group, x), known in groups.items():
        if len(known) > 1:
            named = {
                key: replace(place, name=told(place.axes, [p.axes for p in known.values()]))
                for key, place in known.items()
            }
            label = f"{group}, {found.axis} {x}"
            made.append(family_of(found, label, tuple(named.values()), measures))
    return made


def family_of(found: Found, label: str, places: tuple[Place, ...], measures: Measures) -> Family:
    """These places as one; their names must differ."""
    tuned = [run for run in found.runs if run.start == PRETRAINED]
    return Family(
        label=label, places=places, bases={p.name: [b for b in found.bases if b.place.key == p.key] for p in places},
        runs={p.name: [run for run in tuned if run.place.key == p.key] for p in places}, measures=measures,
        by_base=several_bases(run for run in tuned if run.place.group in {place.group for place in places}),
    )  # fmt: skip


def scores(family: Family) -> list[Scores]:
    """Main scores by task and over the tasks of reasoning, in every setting and, where there are several, pooled over them."""
    every = [run for runs in family.runs.values() for run in runs]
    settings = list({json.dumps(dict(run.setting), sort_keys=True): run.setting for run in every}.values())
    asked: list[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = [(setting, [setting]) for setting in settings]
    if len(settings) > 1:
        asked.insert(0, ({POOLED: len(settings)}, settings))
    tasks, reasoning = list(dict.fromkeys(run.task for run in every)), tasks_of_reasoning(every)
    made = []
    for setting, members in asked:
        tables = {task: _table(family, task, members) for task in tasks}
        for task, (score, table) in tables.items():
            values = {name: {task: seeds} for name, seeds in table.items()}
            made.append(Scores(task=task, score=score, setting=setting, values=values))
        if len(reasoning) > 1:
            whole = [name for name in family.runs if all(name in tables[task][1] for task in reasoning)]
            values = {name: {task: tables[task][1][name] for task in reasoning} for name in whole}
            made.append(Scores(task=MEAN, score="greedy", setting=setting, values=values))
    return [one for one in made if one.values]


def _table(
    family: Family, task: str, settings: Sequence[Mapping[str, Any]]
) -> tuple[str, dict[str, dict[int, Floats]]]:
    """Main score and name -> seed -> (Q,); a place that lacks one of the settings, or a seed that does, is left out."""
    every = [run for found in family.runs.values() for run in found if run.task == task]
    score = main_score(every[0]) if every else ""
    common = shared([run.tested.tables[score] for run in every if score in run.tested.tables])
    wanted = [dict(setting) for setting in settings]
    made: dict[str, dict[int, Floats]] = {}
    for name, of_name in family.runs.items():
        found = [
            run for run in of_name if run.task == task and score in run.tested.tables and dict(run.setting) in wanted
        ]
        for seed, of_seed in units(found, family.by_base).items():
            has = {json.dumps(dict(run.setting), sort_keys=True) for run in of_seed}
            if common and len(has) == len(settings):
                rows = [run.tested.tables[score].of(common) for run in of_seed]
                made.setdefault(name, {})[seed] = np.mean(rows, axis=0)
    return score, made


def _distinct(places: Sequence[Place]) -> tuple[Place, ...]:
    """One place a name: of a line's own zero and one without a policy the former."""
    made: dict[str, Place] = {}
    for place in places:
        if place.name not in made or len(place.families) < len(made[place.name].families):
            made[place.name] = place
    return tuple(made.values())
