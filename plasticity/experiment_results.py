"""An experiment's folder -> `summary.json`: everything that its report and its table show, from what is on disk alone.

A grid that is not finished is summarised as far as it is. The names in it are part of the interface.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from plasticity import experiment_bases, experiment_pairs, experiment_statistics
from plasticity.experiment_data import STANDINGS, Found, Run, read
from plasticity.experiment_families import Family, Scores, across, families, scores
from plasticity.experiment_findings import findings
from plasticity.experiment_places import BASE
from plasticity.experiment_points import points
from plasticity.stats_resample import DRAWS
from plasticity.stats_result import listed
from spectra.atomic import write_text
from spectra.errors import SpectraError

FORMAT, SCHEMA_VERSION = "plasticity.experiment", 1
NAME = "summary.json"
_NOT_COMPARABLE = (
    "the bases have different tokenizers: losses, gaps and what is chosen by them are not comparable (nats a token of "
    "different tokens)."
)
_TOGETHER = "Bases of all lines together: what else differs between the lines moves it too."
_BY_LOSS = frozenset({"eval_loss", "gap"})


def summarise(out: Path, *, draws: int = DRAWS) -> dict[str, Any]:
    """Everything, as plain JSON values.

    Keys that say what a number is over: `tasks` (of a mean), `seeds_of` (pretraining or fine-tuning), `seeds` and `said_of_seeds`
    (those that all that is compared has, and a sentence on what is left out; in comparisons it is the status of `paired`),
    `reference_by` (`loss`, `smallest`, or None where nothing was chosen), `remark` of a pair (what its seeds cannot tell), and
    `of_paper` of a finding (whether it is the paper's claim, on the paper's axis).

    Args:
        draws: of every bootstrap.

    Raises:
        SpectraError: the folder holds no experiment of this version.
    """
    found = read(out)
    bases = experiment_bases.entries(found)
    numbers = experiment_bases.measures(bases)
    known = experiment_bases.tokenizers(found, bases)
    mixed = {label for label, tokenizers in known.items() if len(tokenizers) > 1}
    several = len(set().union(*known.values())) > 1
    tokenizers = {base["label"]: base["tokenizer_sha256"] for base in bases}
    lines = families(found, numbers, tokenizers)
    statistics: dict[str, list[dict[str, Any]]] = {
        "comparisons": [], "correlations": [], "optimum": [], "best_settings": [], "tradeoffs": [], "pairs": [],
    }  # fmt: skip
    said: list[dict[str, Any]] = []
    axis = found.experiment.axis if found.axis == BASE else found.axis  # a finding says what it would take
    for family in lines:
        table = _tried(found, family.label, partial(scores, family)) or []
        for name, entries in _statistics(found, family, table, draws).items():
            statistics[name] += [_warned(entry, name, family.label in mixed) for entry in entries]
        warning = _NOT_COMPARABLE if family.label in mixed else None
        told = _tried(found, family.label, partial(findings, family, table, axis, warning))
        said += [dataclasses.asdict(one) for one in told or []]
    for group in across(found, numbers, tokenizers):
        table = _tried(found, group.label, partial(scores, group)) or []
        compared = (
            _tried(found, group.label, partial(experiment_statistics.comparisons, group, table, draws=draws)) or []
        )
        doubted = any(mixed.intersection(place.families) for place in group.places)
        statistics["comparisons"] += [_warned(entry, "comparisons", doubted) for entry in compared]
    together = experiment_pairs.everyone(found, numbers, tokenizers)
    table = _tried(found, together.label, partial(scores, together)) or []
    statistics["pairs"] = (
        _tried(found, together.label, partial(experiment_pairs.pairs, together, table, draws=draws)) or []
    )
    if len(lines) > 1:
        for name, entries in _over_lines(found, together, table, draws).items():
            statistics[name] += [_warned(one, name, several) for one in entries]
    for base in bases:
        if mixed.intersection(base["families"]):
            base["warning"] = _NOT_COMPARABLE
    made = {
        "format": FORMAT, "schema_version": SCHEMA_VERSION, "experiment": _about(found),
        "counts": _counts(found), "failed": _failed(found), "pending": _labels(found, "pending", "blocked"),
        "bases": bases, "runs": [_run(found, run) for run in found.runs],
        "points": points(found.runs, found.by_base, draws=draws), "loss": _losses(lines, mixed),
        "statistics": statistics, "findings": said, "provenance": _provenance(found),
    }  # fmt: skip
    made["warnings"] = [*found.warnings, *experiment_bases.probes_left_out(bases), *_warnings(found, known, several)]
    return dict(plain(made))


def write_summary(out: Path) -> Path:
    """Write it whole; returns its path. Raises `SpectraError` where it cannot be written, or as `summarise`."""
    path = out / NAME
    write_text(path, json.dumps(summarise(out), indent=1, allow_nan=False) + "\n")
    return path


def read_summary(path: Path) -> dict[str, Any]:
    """What `write_summary` wrote, from the file or the experiment's folder.

    Raises:
        SpectraError: not there, not a summary, or of another version.
    """
    where = path / NAME if path.is_dir() else path
    try:
        made: dict[str, Any] = json.loads(where.read_text(encoding="utf-8"))
        version = (made["format"], made["schema_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpectraError(
            f"Cannot read {where} as the summary of an experiment ({error}). Name the folder of plasticity run."
        ) from None
    if version != (FORMAT, SCHEMA_VERSION):
        raise SpectraError(
            f"{where} is {version[0]} version {version[1]}; this program reads {FORMAT} version {SCHEMA_VERSION}."
        )
    return made


def plain(value: Any) -> Any:
    """Dataclasses, arrays and numbers as JSON has them; not a number is None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _tried(found: Found, label: str, work: Callable[[], Any]) -> Any:
    """What `work` gives; None, and a warning, where the data do not allow it."""
    try:
        return work()
    except SpectraError as error:
        found.warnings.append(f"{label}: {error}")
        return None


def _statistics(found: Found, family: Family, table: Sequence[Scores], draws: int) -> dict[str, list[dict[str, Any]]]:
    kinds: dict[str, Callable[[], Any]] = {
        "comparisons": lambda: experiment_statistics.comparisons(family, table, draws=draws),
        "correlations": lambda: experiment_statistics.correlations(family, table),
        "optimum": lambda: experiment_statistics.optima(family, table, draws=draws),
        "best_settings": lambda: experiment_statistics.best_settings(family, table, draws=draws),
        "tradeoffs": lambda: experiment_statistics.tradeoffs(family, table, draws=draws),
    }
    return {name: _tried(found, family.label, work) or [] for name, work in kinds.items()}


def _over_lines(found: Found, family: Family, table: Sequence[Scores], draws: int) -> dict[str, list[dict[str, Any]]]:
    """What the paper has over all bases: correlations (figures 10, 25) and the best of a grid of more than one axis (figure 20)."""
    related = _tried(found, family.label, partial(experiment_statistics.correlations, family, table)) or []
    best = _tried(found, family.label, partial(experiment_statistics.optima, family, table, draws=draws)) or []
    return {
        "correlations": [one | {"remark": _TOGETHER} for one in related],
        "optimum": [
            one | {by: [None] * len(one[by]) for by in ("by_loss", "by_score")} for one in best
        ],  # by their names
    }


def _warned(entry: dict[str, Any], kind: str, mixed: bool) -> dict[str, Any]:
    """With a warning where it rests on losses or gaps that cannot be compared."""
    rests = (
        kind == "optimum"
        or (kind == "correlations" and entry["of"] in _BY_LOSS)
        or (kind in ("comparisons", "best_settings") and entry["reference_by"] == "loss")
    )
    return entry | {"warning": _NOT_COMPARABLE} if mixed and rests else entry


def _about(found: Found) -> dict[str, Any]:
    asked = found.experiment
    return {
        "name": asked.name, "description": asked.description, "source": asked.source, "axis": found.axis,
        "tasks": list(asked.tasks), "samples": _samples(found), "limit": asked.evaluate.limit,
    }  # fmt: skip


def _samples(found: Found) -> int | None:
    """Samples a question, as asked for, else as drawn; None where no score is over any."""
    if found.experiment.evaluate.samples is not None:
        return found.experiment.evaluate.samples
    drawn = (name.removeprefix("pass@") for run in found.runs for name in run.tested.scores if name.startswith("pass@"))
    return next((int(k) for k in drawn), None)


def _counts(found: Found) -> dict[str, int]:
    counted = Counter(cell["state"] for cell in found.cells)
    return {"cells": len(found.cells)} | {standing: counted[standing] for standing in STANDINGS}


def _failed(found: Found) -> list[dict[str, Any]]:
    keys = ("id", "kind", "label", "reason")
    return [{key: cell.get(key, "") for key in keys} for cell in found.cells if cell["state"] == "failed"]


def _labels(found: Found, *standings: str) -> list[str]:
    return [cell["label"] for cell in found.cells if cell["state"] in standings]


def _run(found: Found, run: Run) -> dict[str, Any]:
    return {
        "id": run.id, "base": run.base.label, "group": run.place.group, "axes": dict(run.place.axes), "x": run.place.x,
        "task": run.task, "setting": dict(run.setting), "seed": run.seed, "base_seed": run.base.seed, "start": run.start,
        "scores": run.tested.scores, "stability": {task: tested.scores for task, tested in run.stability.items()},
        "train_loss": run.result.get("train_loss"), "answers": str(run.tested.answers.relative_to(found.out)),
    }  # fmt: skip


def _losses(lines: Sequence[Family], mixed: set[str]) -> list[dict[str, Any]]:
    """One a place: mean over seeds with a t-interval."""
    from alphadecay.study_stats import summary

    made: dict[str, dict[str, Any]] = {}
    for family in lines:
        known = family.of("eval_loss")
        for place in family.places:
            if place.name in known and place.key not in made:
                found = summary(list(known[place.name].values()))
                ci95 = None if found.low is None else [found.low, found.high]
                method = "t-interval over seeds" if ci95 else "one seed: no interval"
                made[place.key] = {
                    "group": place.group, "families": list(place.families), "name": place.name, "x": place.x,
                    "bases": [base.label for base in family.bases[place.name]], "axes": dict(place.axes), "value": found.mean,
                    "ci95": ci95, "n_seeds": found.n, "method": method,
                } | ({"warning": _NOT_COMPARABLE} if mixed.intersection(place.families) else {})  # fmt: skip
    return list(made.values())


def _provenance(found: Found) -> dict[str, Any]:
    import hashlib

    from plasticity.experiment_run import RECIPE
    from spectra import provenance

    commits = {run.tested.commit for run in found.runs}
    commits |= {(base.result.get("provenance") or {}).get("commit") for base in found.bases}
    return {
        **provenance.software(), "finished_at": provenance.now(), "cells_commits": sorted(c for c in commits if c),
        "recipe_sha256": hashlib.sha256((found.out / RECIPE).read_bytes()).hexdigest(),
        "cell_seconds": sum(float(cell.get("seconds", 0.0)) for cell in found.cells),
    }  # fmt: skip


def _warnings(found: Found, known: Mapping[str, set[str]], several: bool) -> list[str]:
    made = [f"{label}: {_NOT_COMPARABLE}" for label, tokenizers in known.items() if len(tokenizers) > 1]
    if several and not made:
        made.append(f"Between groups, not within them, {_NOT_COMPARABLE}")
    seeds = Counter(base.place.key for base in found.bases)
    tuned = Counter((run.place.key, run.task, str(run.setting)) for run in found.runs)
    if found.runs and max(tuned.values()) == 1 and max(seeds.values(), default=0) <= 1:
        made.append(
            "One seed throughout: intervals are over questions alone, nothing is tested over seeds, and no finding is settled."
        )
    single = {run.place.group for run in found.runs if "recipe" in run.base.axes} - found.by_base
    if single and len({run.seed for run in found.runs if run.place.group in single}) > 1:
        made.append(
            f"One seed of pretraining ({listed(sorted(single))}): intervals over seeds of fine-tuning say nothing of what another "
            "seed of pretraining would change, and no finding on pretraining is settled."
        )
    missing = _labels(found, "pending", "blocked", "failed")
    if missing:
        made.append(
            f"{len(missing)} of {len(found.cells)} cells are missing: points rest on the seeds and tasks that are done."
        )
    commits = {run.tested.commit for run in found.runs} - {None}
    if len(commits) > 1:
        made.append(f"The runs were scored by {len(commits)} different versions of this program.")
    return made
