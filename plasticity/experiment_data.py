"""An experiment's folder, read: how its cells stand, its bases with what was measured on them, its fine-tuning runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity import experiment_answers
from plasticity.experiment_places import Place, axis_of, places
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.experiment import Experiment
    from plasticity.experiment_answers import Table

Values = Mapping[str, Any]
PRETRAINED, SCRATCH = "pretrained", "scratch"
STANDINGS = ("done", "failed", "pending", "blocked")


@dataclass(frozen=True, kw_only=True)
class Tested:
    """Scores of one evaluation: as it wrote them, and by question where `answers.jsonl` bears them out."""

    scores: Mapping[str, Values]
    tables: Mapping[str, Table]
    answers: Path
    tokenizer: str | None
    commit: str | None


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base that is there. `before`: task -> its scores untuned."""

    label: str
    axes: Values
    place: Place
    seed: int
    result: Values
    before: Mapping[str, Tested]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A fine-tuning run that is done; `stability`: task -> its scores on what it may have forgotten."""

    id: str
    base: Base
    place: Place
    task: str
    setting: Values
    seed: int
    start: str
    result: Values
    tested: Tested
    stability: Mapping[str, Tested]


@dataclass(kw_only=True)
class Found:
    """What a folder holds.

    Attributes:
        axis: what its bases are drawn against.
        planned: where bases stand that it asks for, whether they are done or not.
        measured: cells' records by kind and base label.
        by_base: groups in which some base is asked for with several seeds of pretraining, whether they are done or not: there a
            seed is one of pretraining, elsewhere one of fine-tuning.
    """

    experiment: Experiment
    out: Path
    cells: list[dict[str, Any]]
    axis: str = ""
    planned: tuple[Place, ...] = ()
    bases: list[Base] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    measured: dict[str, dict[str, Values]] = field(default_factory=dict)
    by_base: frozenset[str] = frozenset()
    warnings: list[str] = field(default_factory=list)


def read(out: Path) -> Found:
    """Read it; what is damaged or not of the experiment is left out, and said in `warnings`.

    Raises:
        SpectraError: it holds no experiment of this version.
    """
    from plasticity.experiment_run import experiment_of

    experiment = experiment_of(out)
    found = Found(experiment=experiment, out=out, cells=[])
    told = _stand(found)
    done = [cell for cell in found.cells if cell["state"] == "done"]
    axes = {cell["base"]: _base_axes(cell) for cell in found.cells if cell["kind"] == "base"}
    variants = {name: changes for grid in experiment.pretrain for name, changes in grid.variants.items()}
    found.axis = axis_of(axes, experiment.axis, told)
    where = places(axes, found.axis, variants, told)
    found.planned = tuple({place.key: place for place in where.values()}.values())
    found.by_base = _several(axes, where)
    before: dict[str, dict[str, Tested]] = {}
    for cell in done:
        if cell["kind"] in {"probe", "gap", "spectra"}:
            found.measured.setdefault(cell["kind"], {})[cell["base"]] = cell["result"]
        if cell["kind"] == "before":
            before.setdefault(cell["base"], {})[cell["task"]] = _tested(found, cell, cell["result"], "scores")
    for cell in done:
        if cell["kind"] == "base":
            label = cell["base"]
            found.bases.append(
                Base(
                    label=label, axes=axes[label], place=where[label], seed=_seed(axes[label]),
                    result=cell["result"], before=before.get(label, {}),
                )
            )  # fmt: skip
    known = {base.label: base for base in found.bases}
    found.runs = [
        _run(found, cell, known[cell["base"]]) for cell in done if cell["kind"] == "tune" and cell["base"] in known
    ]
    return found


def _several(axes: Mapping[str, Values], where: Mapping[str, Place]) -> frozenset[str]:
    """Groups in which some place has bases of several seeds."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for label, place in where.items():
        seeds.setdefault((place.group, place.key), set()).add(_seed(axes[label]))
    return frozenset(group for (group, _), found in seeds.items() if len(found) > 1)


def _seed(axes: Values) -> int:
    return int(axes.get("seed") or 0)


def _base_axes(cell: Values) -> Values:
    return {key: value for key, value in cell["axes"].items() if not key.startswith("finetune.") and key != "start"}


def _stand(found: Found) -> dict[str, Any]:
    """Fill in how every cell stands; returns label of a base -> x where only its recipe tells it."""
    from alphadecay import fields
    from plasticity import experiment_cell, experiment_plan

    try:
        plan = experiment_plan.cells(found.experiment)
    except SpectraError as error:
        found.warnings.append(
            f"What the recipe asks for cannot be listed here ({error}) Only what is in cells/ is counted."
        )
        found.cells = [_standing(record, record) for record in _on_disk(found.out).values()]
        return {}
    records = {cell.key: experiment_cell.record_of(found.out, cell) for cell in plan}
    failed = {key for key, record in records.items() if record is not None and record["status"] == "failed"}
    for cell in plan:
        made = _standing(experiment_cell.about(cell), records[cell.key])
        if made["state"] == "pending" and cell.needs in failed:
            made |= {"state": "blocked", "reason": "its base failed"}
        found.cells.append(made)
    others = [record for key, record in _on_disk(found.out).items() if key not in records]
    if others:
        found.warnings.append(
            f"{len(others)} cells in the folder are not of its recipe as it stands now (it was changed, or a task's version or "
            "data were): they are left out."
        )
    told = {}
    for cell in plan:
        if cell.kind == "base" and cell.base.recipe is not None:
            told[cell.base.label] = _dotted(fields.plain(cell.base.recipe), found.experiment.axis)
    return told


def _standing(about: Values, record: Values | None) -> dict[str, Any]:
    made = {**about, "state": "pending" if record is None else record["status"]}
    if record is not None:
        made |= {key: record[key] for key in ("result", "reason", "seconds") if key in record}
    return made


def _on_disk(out: Path) -> dict[str, dict[str, Any]]:
    """Key -> record, of this version."""
    from plasticity import experiment_cell

    made = {}
    for path in sorted((out / "cells").glob(f"*/{experiment_cell.RECORD}")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and record.get("schema_version") == experiment_cell.SCHEMA_VERSION:
            made[str(record["key"])] = record
    return made


def _dotted(values: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return None
        values = values[part]
    return values


def _run(found: Found, cell: Values, base: Base) -> Run:
    scratch = "start" in cell["axes"]
    setting = {
        key.removeprefix("finetune."): value
        for key, value in cell["axes"].items()
        if key.startswith("finetune.") and key != "finetune.seed"
    }
    place = _nowhere(base, _controls(found, base)) if scratch else base.place
    return Run(
        id=cell["id"], base=base, place=place, task=cell["task"], setting=setting,
        seed=int(cell["seed"] or 0), start=SCRATCH if scratch else PRETRAINED, result=cell["result"],
        tested=_tested(found, cell, cell["result"], "scores"),
        stability={
            task: _tested(found, cell, result, f"stability/{task}")
            for task, result in cell["result"].get("stability", {}).items()
        },
    )  # fmt: skip


def _controls(found: Found, base: Base) -> int:
    """Architectures of a group that were fine-tuned from random weights: the base that a control hangs on stands for one."""
    group = {one.label for one in found.bases if one.place.group == base.place.group}
    return len({cell["base"] for cell in found.cells if "start" in cell["axes"] and cell["base"] in group})


def _nowhere(base: Base, controls: int) -> Place:
    """Random weights have no pretraining: the group alone tells trained ones apart, unless it has several architectures."""
    alone = "recipe" in base.axes and controls == 1
    return Place(
        group=base.place.group, x=None, axes={} if alone else {"checkpoint": base.label}, families=(base.place.group,),
        name="from scratch" if alone else f"from scratch, as {base.label}",
    )  # fmt: skip


def _tested(found: Found, cell: Values, result: Values, folder: str) -> Tested:
    where = found.out / "cells" / cell["id"] / folder
    scores = result["scores"]
    tables: dict[str, Table] = {}
    try:
        made = experiment_answers.tables(experiment_answers.read(where / "answers.jsonl"), scores)
        tables = experiment_answers.checked(made, scores)
    except (SpectraError, KeyError, TypeError) as error:
        found.warnings.append(
            f"{cell['label']}: no answers by question ({error}); its scores have no part in comparisons."
        )
    wrong = [name for name, score in scores.items() if score["value"] is not None and name not in tables]
    if tables and wrong:
        found.warnings.append(f"{cell['label']}: {', '.join(wrong)} cannot be told by question from its answers.")
    about = _about(where / "result.json")
    return Tested(scores=scores, tables=tables, answers=where / "answers.jsonl", tokenizer=about[0], commit=about[1])


def _about(path: Path) -> tuple[str | None, str | None]:
    """Tokenizer and commit that an evaluation notes."""
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        return made["checkpoint"].get("tokenizer_sha256"), made["provenance"].get("commit")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, None


def tasks_of_reasoning(runs: Sequence[Run]) -> list[str]:
    """Tasks whose responses are generated and judged right or wrong, in order: those that are averaged over."""
    return list(dict.fromkeys(run.task for run in runs if "greedy" in run.tested.scores))


def main_score(run: Run) -> str:
    """The score that comparisons are made of."""
    known = list(run.tested.scores)
    return next((name for name in ("greedy", "harmfulness", "acc") if name in known), known[0] if known else "")
