"""Runs the cells of a study in worker processes of one thread; a finished cell is one JSON file, and is never run again.

`<out>/study.yaml` is the study; `<out>/cells/<key>.json` a cell's record, written whole, also of a cell that failed (with the
reason; it is tried again by the next call). A kill costs the running cells only.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spectra.atomic import make_folder, write_text
from spectra.errors import SpectraError

from . import study_cell, study_plan
from .crew import Crew, Ended
from .study import Study, from_yaml, same_runs, to_yaml
from .study_plan import Cell

STUDY = "study.yaml"
CELLS = "cells"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a call of `run` ended: numbers of cells, over the parts that were asked for."""

    finished: int
    failed: int
    seconds: float


@dataclass(kw_only=True)
class _State:
    """What the parent knows: losses by key, failures by key, times of the cells of this call."""

    losses: dict[str, float]
    failed: dict[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


def begin(out: Path, study: Study) -> None:
    """Make the folder of a study, or find it there.

    Raises:
        SpectraError: it holds another study, or cannot be written to.
    """
    make_folder(out / CELLS, "Choose another.")
    path = out / STUDY
    if path.exists() and not same_runs(study_of(out), study):
        raise SpectraError(
            f"{out} holds another study, or another state of this one (its {STUDY} differs). Name another --out, or go on with "
            f"it: plasticity study {path} --out {out}."
        )
    if not path.exists() or study_of(out) != study:
        write_text(path, to_yaml(study))


def study_of(out: Path) -> Study:
    """The study that a folder holds.

    Raises:
        SpectraError: it holds none.
    """
    path = out / STUDY
    if not path.is_file():
        raise SpectraError(f"{out} holds no study (no {STUDY}). Name the folder that plasticity study --out made.")
    return from_yaml(path.read_text(encoding="utf-8"), str(path), out.name)


def report(out: Path) -> tuple[list[Path], str]:
    """Write `results.json` and `results.md` from the cells alone; their paths, and the Markdown.

    Raises:
        SpectraError: see `study_of`, `records` and `study_results.results`.
    """
    from .study_report import markdown
    from .study_results import results

    found = results(study_of(out), records(out))
    text = markdown(found)
    paths = [out / "results.json", out / "results.md"]
    write_text(paths[0], json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_text(paths[1], text)
    return paths, text


def records(out: Path) -> list[dict[str, Any]]:
    """Every record in the folder of a study, those of failed cells too.

    Raises:
        SpectraError: one cannot be read; says which.
    """
    found = []
    for path in sorted((out / CELLS).glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            found.append({**record, "status": record["status"], "key": record["key"]})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpectraError(f"Cannot read the cell {path} ({error}). Delete it: it will be run again.") from None
    return found


def losses(study: Study, found: list[dict[str, Any]]) -> dict[str, float]:
    """Key -> validation loss of the cells that ended well.

    Raises:
        SpectraError: a cell was run with other defaults than today's.
    """
    done = {record["key"]: record for record in found if record["status"] == "done"}
    for record in done.values():
        if record["part"] in study.parts and record["arm"] in study.arms:
            _same_defaults(study, record)
    return {key: float(record["eval"]["loss"]) for key, record in done.items()}


def _same_defaults(study: Study, record: Mapping[str, Any]) -> None:
    cell = study_plan.cell(study, record["part"], record["arm"], record["base"], record["seed"])
    if cell.key != record["key"]:
        return
    now = study_cell.about(cell)["recipe"]
    for section, values in record["recipe"].items():
        for key, value in (values or {}).items():
            if key in (now[section] or {}) and now[section][key] != value:
                raise SpectraError(
                    f"Cell {cell.label} was run with {section}.{key} = {value}, and the default is {now[section][key]} today. "
                    f"Write {section}.{key} into the study's recipe, or begin anew in another folder."
                )


def run(study: Study, out: Path, *, workers: int, say: Say) -> Done:
    """Run every cell of the study that is not done.

    Args:
        workers: processes of one thread each.

    Raises:
        SpectraError: see `begin` and `losses`; no worker can be started.
    """
    if workers < 1:
        raise SpectraError(f"--workers {workers}: expected at least 1.")
    started = time.monotonic()
    state = _State(losses=losses(study, records(out)))
    total = sum(study_plan.count(study))
    if state.losses:
        say(f"{len(_ours(study, state))} of {total} cells are done already")
    with Crew[Cell](study_cell.run, workers=workers, packages=("alphadecay", "spectra")) as crew:
        _direct(study, out, crew, state, say)
    finished = len(_ours(study, state))
    return Done(finished=finished, failed=len(state.failed), seconds=time.monotonic() - started)


def _ours(study: Study, state: _State) -> set[str]:
    """Keys of finished cells of these parts."""
    keys = set()
    for part in study.parts:
        for arm in study.arms:
            keys |= {c.key for c in study_plan.tuning(study, part, arm)}
            base = study_plan.chosen(study, part, arm, state.losses)
            if base is not None:
                keys |= {study_plan.cell(study, part, arm, base, seed).key for seed in study.seeds}
    return keys & set(state.losses)


def _direct(study: Study, out: Path, crew: Crew[Cell], state: _State, say: Say) -> None:
    """Hand out cells until none is left and all are back."""
    while True:
        busy = {cell.key for cell in crew.busy}
        following = (c for c in study_plan.pending(study, state.losses, state.failed) if c.key not in busy)
        for cell in itertools.islice(following, crew.idle):
            crew.begin(cell)
            say(f"begins: {cell.label}")
        if not crew.busy:
            return
        for ended in crew.wait():
            _take(study, out, ended, state, say)


def _take(study: Study, out: Path, ended: Ended[Cell], state: _State, say: Say) -> None:
    """Write down how a cell ended."""
    cell = ended.job
    record = ended.record or study_cell.about(cell) | {"status": "failed", "reason": ended.reason}
    write_text(out / CELLS / f"{cell.key}.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
    if record["status"] != "done":
        state.failed[cell.key] = record["reason"]
        say(f"failed: {cell.label}: {record['reason']}")
        return
    state.losses[cell.key] = float(record["eval"]["loss"])
    state.seconds.append(float(record["seconds"]))
    say(
        f"done: {cell.label}: perplexity {record['eval']['perplexity']:.4f}, {record['seconds']:.0f} s; {_left(study, state)}"
    )


def _left(study: Study, state: _State) -> str:
    total, done = sum(study_plan.count(study)), len(_ours(study, state))
    mean = sum(state.seconds) / len(state.seconds)
    workers = max(1, len(multiprocessing.active_children()))
    minutes = (total - done - len(state.failed)) * mean / workers / 60
    return f"{done} of {total}, about {minutes:.0f} min left"
