"""Runs the cells of an experiment: here in worker processes, on a Ray cluster, or one by its number (a Slurm array).

`<out>/recipe.yaml` is the experiment; `<out>/manifest.jsonl` says how every cell stands, a line each; `experiment_cell` has
the rest.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphadecay.crew import Crew, Ended, Say, reason_of
from plasticity import experiment as experiments
from plasticity import experiment_cell, experiment_plan
from plasticity.experiment import Experiment
from plasticity.experiment_cell import ARRAY, ELSEWHERE, PACKAGES, Job
from plasticity.experiment_plan import Cell
from plasticity.experiment_state import (
    State,
    dropped,
    folder_held,
    manifest_of_disk,
    not_kept,
    ready,
    sentence,
    standing_of,
    state_of,
    write_manifest,
)
from plasticity.pace import Pace
from spectra import provenance
from spectra.atomic import make_folder, write_text
from spectra.errors import SpectraError

RECIPE = "recipe.yaml"
ENGINES = ("local", "ray")
LOOK_SECONDS = 15.0  # until a cell that another process is at is looked at again
_EVERY_SECONDS = 20.0
_OURS = frozenset({RECIPE, "cells", "bases", "tuned"})
_LOGS = frozenset({".out", ".err", ".log"})  # Slurm writes them where it is called, often before the folder is made


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a call of `run` ended: numbers of cells."""

    finished: int
    failed: int
    blocked: int
    seconds: float


def begin(out: Path, experiment: Experiment, *, cells: Sequence[Cell] | None = None, changed: bool = False) -> None:
    """Make the folder of an experiment, or find it there. Cells that are done stay done where the experiment only grows.

    Args:
        cells: of the experiment; None: made here.
        changed: go on also where done cells drop out of the experiment.

    Raises:
        SpectraError: it holds another experiment (another name, or done cells that this one has not), or something else, or
            cannot be written to.
    """
    cells = experiment_plan.cells(experiment) if cells is None else cells
    _check_place(out)
    make_folder(out / "cells", "Choose another.")
    path, text = out / RECIPE, experiments.to_yaml(experiment)
    with folder_held(out):
        lost = check(out, experiment, cells=cells, changed=changed)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
    if lost:
        manifest_of_disk(out, cells)


def check(out: Path, experiment: Experiment, *, cells: Sequence[Cell], changed: bool = False) -> list[str]:
    """Refuse a folder that `begin` would refuse, and write nothing.

    Returns:
        Labels of done cells that drop out of the experiment; none where `changed` is not said.

    Raises:
        SpectraError: as of `begin`, but whether the folder can be written to.
    """
    _check_place(out)
    if (out / RECIPE).exists() and experiment_of(out).name != experiment.name:
        raise SpectraError(
            f"{out} holds the experiment {experiment_of(out).name!r}, not {experiment.name!r}. Name another --out."
        )
    lost = dropped(out, cells)
    if lost and not changed:
        raise SpectraError(
            f"{out} holds done cells that {experiment.name!r} as it is now does not have: {len(lost)}, the first {lost[0]!r}. A "
            "recipe, data or a setting has changed since. Name another --out, or give --changed to go on here: they stay on disk "
            "and count no more."
        )
    return lost


def _check_place(out: Path) -> None:
    """Refuse a folder of something else."""
    if out.is_dir() and not (out / RECIPE).exists() and any(_is_strange(path) for path in out.iterdir()):
        raise SpectraError(
            f"{out} is not empty and holds no experiment (no {RECIPE}). Name a new folder with --out, or an experiment's."
        )


def _is_strange(path: Path) -> bool:
    """Whether it is none of our files, nor one that a batch system or a file system puts there."""
    return path.name not in _OURS and not path.name.startswith(".") and path.suffix not in _LOGS


def experiment_of(out: Path) -> Experiment:
    """The experiment that a folder holds.

    Raises:
        SpectraError: it holds none, or one of another version.
    """
    path = out / RECIPE
    if not path.is_file():
        raise SpectraError(f"{out} holds no experiment (no {RECIPE}). Name the folder that plasticity run --out made.")
    try:
        return experiments.from_yaml(path.read_text(encoding="utf-8"), str(path), out.name)
    except SpectraError as error:
        raise SpectraError(
            f"{path} is of another version of this program ({error}) What is in cells/ can still be read as JSON; go on with the "
            "version that made it, or name another --out."
        ) from error


def check_asked(
    cells: Sequence[Cell], *, workers: int | None, engine: str, address: str | None, index: int | None = None
) -> None:
    """Refuse what cannot be run so, before anything is written.

    Raises:
        SpectraError: there is no such engine or cell, no worker is asked for, or options do not go together.
    """
    if workers is not None and workers < 1:
        raise SpectraError(f"--workers {workers}: expected at least 1.")
    if engine not in ENGINES:
        raise SpectraError(f"--engine {engine!r}: expected local or ray.")
    if address is not None and engine != "ray":
        raise SpectraError("--address is of a Ray cluster: give --engine ray with it.")
    if index is None:
        return
    if not 0 <= index < len(cells):
        raise SpectraError(f"--index {index}: there are {len(cells)} cells, numbered from 0 (--dry-run lists them).")
    if workers is not None or engine != "local":
        raise SpectraError("--index runs one cell in this process: leave out --workers, --engine and --address.")


def needed(cells: Sequence[Cell], index: int) -> list[Cell]:
    """A cell by its number, after the base that it needs."""
    return [*(one for one in cells if one.key == cells[index].needs), cells[index]]


def run(  # noqa: PLR0913 -- flat: one argument an option of the command
    experiment: Experiment,
    cells: Sequence[Cell],
    out: Path,
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    hours: Mapping[str, float] | None = None,
    say: Say,
) -> Done:
    """Run every cell that is not done. One that another process is at is waited for, while there is nothing else to do.

    Args:
        workers: cells at once; None: one here, all that there is room for on a cluster.
        engine: `local`: processes of `resources.threads` threads; `ray`: tasks of a cluster that shares the folder `out`.
        address: of the cluster.
        hours: of GPU by key, as `experiment_estimate` has them; with them the time left is known sooner.

    Raises:
        SpectraError: workers die as they start, no cluster answers or none has room, or a file cannot be written.
    """
    check_asked(cells, workers=workers, engine=engine, address=address)
    started = time.monotonic()
    state = state_of(out, cells, hours)
    _clear(out, cells)
    if experiment.finetune.keep and (deleted := not_kept(out, cells)):
        say(
            f"finetune.keep asks for checkpoints, and those of {deleted} fine-tuning cells that are done are deleted. For one, "
            "delete the cell's folder in cells/: it is then fine-tuned again"
        )
    if state.done:
        say(f"{len(state.done)} of {len(cells)} cells are done already")
    if any(True for _ in ready(cells, state, ())):
        with _crew(experiment, out, engine, address, workers, say) as crew:
            _direct(experiment, cells, out, crew, state, say)
    write_manifest(out, cells, state)
    return _done(cells, state, started)


def _crew(experiment: Experiment, out: Path, engine: str, address: str | None, workers: int | None, say: Say) -> Any:
    resources = experiment.resources
    if engine == "ray":
        from plasticity.experiment_ray import RayCrew

        return RayCrew(resources, out, address=address, workers=workers, say=say, heard=Heard(say))
    from alphadecay import worker_gpus

    count = workers or 1
    devices = worker_gpus.visible() if count > 1 or resources.gpus else []
    if resources.gpus and not devices:
        say(f"no GPU here: cells run on the CPU, though they ask for {resources.gpus:g} (resources.gpus)")
    shares = worker_gpus.shares(devices, count, resources.gpus)
    return Crew[Job](
        experiment_cell.run,
        workers=count,
        threads=resources.threads,
        packages=PACKAGES,
        say=Heard(say),
        environments=shares,
    )


def _clear(out: Path, cells: Sequence[Cell]) -> None:
    """Delete checkpoints of done cells that a kill left."""
    experiment_cell.clear_deleted(out)
    left = {path.name for path in (out / "tuned").glob("*")}
    for cell in cells:
        record = experiment_cell.record_of(out, cell) if cell.id in left else None
        if record is not None and record["status"] == "done":
            experiment_cell.clear(out, record)


def run_one(experiment: Experiment, cells: Sequence[Cell], index: int, out: Path, *, say: Say) -> dict[str, Any]:
    """Run cell number `index` in this process, and first the base that it needs: a task of a Slurm array.

    Another process that is at one of them is waited for. A base that fails meanwhile, or that another task of the same array has
    tried, is not tried again: else every task would, each for as long.

    Returns:
        The record of the cell; or of its base, where that failed.

    Raises:
        SpectraError: there is no such cell. What a cell itself raises is in its record.
    """
    import torch

    check_asked(cells, workers=None, engine="local", address=None, index=index)
    provenance.note_code(PACKAGES)
    torch.set_num_threads(experiment.resources.threads)
    record: dict[str, Any] = {}
    for cell in needed(cells, index):
        given_up = None if cell.key == cells[index].key else _given_up(experiment_cell.record_of(out, cell))
        try:
            record = experiment_cell.run(
                Job(experiment=experiment, cell=cell, out=out), say, wait=True, given_up=given_up
            )
        except Exception as error:  # noqa: BLE001 -- whatever it is, the reason is kept, as that of a worker's cell
            record = experiment_cell.failed(out, cell, reason_of(error))
        if record["status"] != "done":
            break
    manifest_of_disk(out, cells)
    return record


def _given_up(seen: Mapping[str, Any] | None) -> experiment_cell.GivenUp:
    """Whether a record of a failure is of a try that counts as this task's.

    Args:
        seen: the record that there was when this task began.
    """
    array = os.environ.get(ARRAY)
    return lambda record: record != seen or (array is not None and record.get("array") == array)


def record_end(out: Path, ended: Ended[Job], state: State, lives: int) -> dict[str, Any]:
    """Note how a cell ended; the cell itself has written its record where it is done.

    Args:
        lives: workers that a cell may cost before it counts as failed.
    """
    cell = ended.job.cell
    record = ended.record if ended.record is not None else experiment_cell.failed(out, cell, ended.reason)
    if record["status"] == "done":
        state.take_done(cell, record)
    elif record["status"] == ELSEWHERE:
        state.elsewhere[cell.key] = time.monotonic() + LOOK_SECONDS
    else:
        state.deaths[cell.key] += ended.died
        if not ended.died or state.deaths[cell.key] >= lives:
            state.failed[cell.key] = ended.reason
    return record


def _direct(experiment: Experiment, cells: Sequence[Cell], out: Path, crew: Any, state: State, say: Say) -> None:
    """Hand out cells until none can be begun and all are back."""
    told: set[str] = set()
    while True:
        _look_elsewhere(cells, out, state)
        busy = {job.cell.key for job in crew.busy}
        for cell in list(itertools.islice(ready(cells, state, busy), crew.idle)):
            state.elsewhere.pop(cell.key, None)
            crew.begin(Job(experiment=experiment, cell=cell, out=out))
            if cell.key not in told:
                say(f"begins: {cell.label}")
        write_manifest(out, cells, state)
        if not crew.busy:
            if not state.elsewhere:
                return
            time.sleep(LOOK_SECONDS)
        for ended in crew.wait(LOOK_SECONDS if state.elsewhere else None):
            record = record_end(out, ended, state, crew.lives)
            if record["status"] != ELSEWHERE or record["key"] not in told:
                say(sentence(record, cells, state, len(crew.busy) + 1))
            if record["status"] == ELSEWHERE:
                told.add(record["key"])


def _look_elsewhere(cells: Sequence[Cell], out: Path, state: State) -> None:
    """See whether another process is done with the cells that it was at."""
    now = time.monotonic()
    for cell in [cell for cell in cells if state.elsewhere.get(cell.key, now + 1) <= now]:
        record = experiment_cell.record_of(out, cell)
        if record is not None and record["status"] == "done":
            state.take_done(cell, record)


def _done(cells: Sequence[Cell], state: State, started: float) -> Done:
    standings = [standing_of(cell, state)[0] for cell in cells]
    return Done(
        finished=standings.count("done"), failed=standings.count("failed"), blocked=standings.count("blocked"),
        seconds=time.monotonic() - started,
    )  # fmt: skip


class Heard:
    """What cells say, a line every so often in all: many cells would say too much."""

    def __init__(self, say: Say) -> None:
        self._say, self._pace = say, Pace(_EVERY_SECONDS)

    def __call__(self, text: str) -> None:
        if self._pace.due():
            self._say(text)
