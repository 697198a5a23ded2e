"""Bases that differ on the experiment's axis alone (a family), with what statistics need of them: losses, measures, scores.

Scores are by question, over the questions that all runs of a family have. A seed is one of pretraining where some base is asked
for with several, fine-tuning runs averaged; else one of fine-tuning. Means that stand beside each other are over the same seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from plasticity.experiment_answers import shared
from plasticity.experiment_data import PRETRAINED, Base, Found, Run, main_score, tasks_of_reasoning
from plasticity.experiment_places import GIVEN, Place, is_number, order, told
from plasticity.experiment_points import MEAN, kind_of_seed, units
from plasticity.stats_result import Floats, listed

Measures = Mapping[str, Mapping[str, float | None]]  # label of a base -> quantity -> number
ByTask = Mapping[str, Mapping[int, Floats]]  # task -> seed -> (Q,)
RunsByTask = Mapping[str, Mapping[int, Sequence[Run]]]
Tokenizers = Mapping[str, str | None]  # label of a base -> its tokenizer, where it is known
POOLED = "mean over settings"
LOWER_IS_BETTER = frozenset({"harmfulness"})


@dataclass(frozen=True, kw_only=True)
class Family:
    """One line: `places` in order of x, with their bases and fine-tuning runs from pretrained weights.

    Attributes:
        by_base: whether a seed is one of pretraining (else of fine-tuning).
        absent: places that the experiment asks for and of which no base is done.
        comparable: whether losses of its bases can be compared: not known to be of different tokenizers.
    """

    label: str
    places: tuple[Place, ...]
    bases: Mapping[str, Sequence[Base]]
    runs: Mapping[str, Sequence[Run]]
    measures: Measures
    by_base: bool
    comparable: bool
    absent: tuple[Place, ...] = ()

    @property
    def numbers(self) -> list[float]:
        """Values of the axis that are numbers, ascending, also of places of which no base is done."""
        return sorted({float(place.x) for place in (*self.places, *self.absent) if is_number(place.x)})

    @property
    def seeds_of(self) -> str:
        """What its seeds are seeds of, in words."""
        return kind_of_seed(self.by_base)

    def is_given(self, *names: str) -> bool:
        """Whether these are all checkpoints of others, whose seeds of pretraining are not known."""
        return not self.by_base and all(place.group == GIVEN for place in self.places if place.name in names)

    def shared_seeds(self, quantity: str, names: Iterable[str]) -> list[int]:
        """Seeds of pretraining that all of these have, of those on which it was measured."""
        return _shared([known for name, known in self.of(quantity).items() if name in set(names)])

    def means(self, quantity: str, names: Iterable[str], seeds: Sequence[int] = ()) -> dict[str, float]:
        """Name -> mean over `seeds`, or those that all have; where none is shared over all of each. Of places with it alone."""
        found = {name: known for name, known in self.of(quantity).items() if name in set(names)}
        kept = seeds or _shared(list(found.values()))
        return {
            name: float(np.mean([value for seed, value in known.items() if seed in kept or not kept]))
            for name, known in found.items()
        }

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
        return next(place.x for place in (*self.places, *self.absent) if place.name == name)

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

    Attributes:
        values: name of a place -> task -> seed -> (Q,), as measured (harmfulness: lower is better).
        runs: the runs that each is over.
        remarks: sentences on runs that are left out.
    """

    task: str
    score: str
    setting: Mapping[str, Any]
    values: Mapping[str, ByTask]
    runs: Mapping[str, RunsByTask] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def tasks(self) -> list[str]:
        """That it is over."""
        return list(next(iter(self.values.values()), {}))

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

    def seeds(self, names: Iterable[str] | None = None) -> list[int]:
        """Those that all of these places (all places) have on every task."""
        chosen = self.values if names is None else names
        return _shared([seeds for name in chosen for seeds in self.values[name].values()])

    def means(self, names: Iterable[str] | None = None, seeds: Sequence[int] = ()) -> dict[str, float]:
        """Name -> mean over tasks, seeds and questions; over `seeds`, or those that all of these have on every task.

        Where they share no seed, over all seeds of each: `said_of_seeds` says so.
        """
        chosen = list(self.values if names is None else names)
        kept = seeds or self.seeds(chosen)
        return {name: float(np.mean([_mean_over(of, kept) for of in self.values[name].values()])) for name in chosen}

    def said_of_seeds(self, names: Iterable[str] | None = None) -> str:
        """A sentence on seeds that `means` leaves out, and on runs; empty where it is over all."""
        chosen = list(self.values if names is None else names)
        kept = self.seeds(chosen)
        gone = sorted({s for name in chosen for of in self.values[name].values() for s in of} - set(kept))
        said = []
        if gone and kept:
            said.append(f"Left out, seeds that not all have: {listed([str(s) for s in gone])}.")
        elif gone:
            said.append("They share no seed: each mean is over seeds of its own.")
        return " ".join([*said, *self.remarks])


def _shared(found: Sequence[Mapping[int, Any]]) -> list[int]:
    """Seeds that all have."""
    return [seed for seed in found[0] if all(seed in known for known in found)] if found else []


def _mean_over(found: Mapping[int, Floats], seeds: Sequence[int]) -> float:
    return float(np.mean([row.mean() for seed, row in found.items() if seed in seeds or not seeds]))


def families(found: Found, measures: Measures, tokenizers: Tokenizers) -> list[Family]:
    """Every line of the experiment."""
    by_label: dict[str, dict[str, Place]] = {}
    for base in found.bases:
        for label in base.place.families:
            by_label.setdefault(label, {})[base.place.key] = base.place
    made = []
    for label, known in by_label.items():
        there = _distinct(sorted(known.values(), key=order))
        names = {place.name for place in there}
        gone = [place for place in found.planned if label in place.families and place.name not in names]
        family = family_of(found, label, there, measures, tokenizers)
        made.append(replace(family, absent=_distinct(sorted(gone, key=order))))
    return made


def across(found: Found, measures: Measures, tokenizers: Tokenizers) -> list[Family]:
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
            made.append(family_of(found, label, tuple(named.values()), measures, tokenizers))
    return made


def family_of(
    found: Found, label: str, places: tuple[Place, ...], measures: Measures, tokenizers: Tokenizers
) -> Family:
    """These places as one; their names must differ."""
    tuned = [run for run in found.runs if run.start == PRETRAINED]
    bases = {p.name: [b for b in found.bases if b.place.key == p.key] for p in places}
    known = {tokenizers.get(base.label) for of in bases.values() for base in of} - {None}
    return Family(
        label=label, places=places, bases=bases, measures=measures, comparable=len(known) < 2,
        runs={p.name: [run for run in tuned if run.place.key == p.key] for p in places},
        by_base=any(place.group in found.by_base for place in places),
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
        for task, table in tables.items():
            made.append(_scores(task, table.score, setting, {task: table}, list(table.rows)))
        if len(reasoning) > 1:
            over = {task: tables[task] for task in reasoning}
            whole = [name for name in family.runs if all(name in table.rows for table in over.values())]
            made.append(_scores(MEAN, "greedy", setting, over, whole))
    return [one for one in made if one.values]


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Name -> seed -> (Q,) main scores of one task, and the runs that they are means over."""

    score: str
    rows: dict[str, dict[int, Floats]]
    runs: dict[str, dict[int, list[Run]]]
    remark: str


def _scores(
    task: str, score: str, setting: Mapping[str, Any], tables: Mapping[str, _Table], names: Sequence[str]
) -> Scores:
    return Scores(
        task=task, score=score, setting=setting,
        values={name: {of: table.rows[name] for of, table in tables.items()} for name in names},
        runs={name: {of: table.runs[name] for of, table in tables.items()} for name in names},
        remarks=tuple(table.remark for table in tables.values() if table.remark),
    )  # fmt: skip


def _table(family: Family, task: str, settings: Sequence[Mapping[str, Any]]) -> _Table:
    """A place that lacks one of the settings, or a seed that does, is left out; so are runs that others have no like of."""
    every = [run for found in family.runs.values() for run in found if run.task == task]
    score = main_score(every[0]) if every else ""
    common = shared([run.tested.tables[score] for run in every if score in run.tested.tables])
    wanted = [dict(setting) for setting in settings]
    cells: dict[tuple[str, int], list[Run]] = {}
    for name, of_name in family.runs.items():
        found = [
            run for run in of_name if run.task == task and score in run.tested.tables and dict(run.setting) in wanted
        ]
        for seed, of_seed in units(found, family.by_base).items():
            if common and (whole := _whole(of_seed, len(settings))):
                cells[name, seed] = whole
    remark = ""
    if family.by_base:
        cells, remark = _alike(task, cells)
    made = _Table(score=score, rows={}, runs={}, remark=remark)
    for (name, seed), runs in cells.items():
        rows = [run.tested.tables[score].of(common) for run in runs]
        made.rows.setdefault(name, {})[seed] = np.mean(rows, axis=0)
        made.runs.setdefault(name, {})[seed] = runs
    return made


def _whole(runs: Sequence[Run], settings: int) -> list[Run]:
    """Those of fine-tuning seeds that have all settings."""
    has: dict[int, set[str]] = {}
    for run in runs:
        has.setdefault(run.seed, set()).add(json.dumps(dict(run.setting), sort_keys=True))
    return [run for run in runs if len(has[run.seed]) == settings]


def _alike(task: str, cells: Mapping[tuple[str, int], list[Run]]) -> tuple[dict[tuple[str, int], list[Run]], str]:
    """With the fine-tuning seeds alone that every base has, where there are such; and a sentence on what is left out."""
    seeds = [{run.seed for run in runs} for runs in cells.values()]
    kept = set.intersection(*seeds) if seeds else set()
    gone = sorted(set().union(*seeds) - kept)
    if not gone:
        return dict(cells), ""
    if not kept:
        return dict(cells), f"{task}: bases share no seed of fine-tuning; each is averaged over its own."
    said = f"{task}: left out, seeds of fine-tuning that not all bases have: {listed([str(s) for s in gone])}."
    return {cell: [run for run in runs if run.seed in kept] for cell, runs in cells.items()}, said


def _distinct(places: Sequence[Place]) -> tuple[Place, ...]:
    """One place a name: of a line's own zero and one without a policy the former."""
    made: dict[str, Place] = {}
    for place in places:
        if place.name not in made or len(place.families) < len(made[place.name].families):
            made[place.name] = place
    return tuple(made.values())
