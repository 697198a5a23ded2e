"""Runs the cells of an experiment: here in worker processes, on a Ray cluster, or one by its number (a Slurm array).

`<out>/recipe.yaml` is the experiment; `<out>/manifest.jsonl` says how every cell stands, a line each; `experiment_cell` has
the rest.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphadecay.crew import Crew, Ended
from plasticity import experiment as experiments
from plasticity import experiment_cell
from plasticity.experiment import Experiment
from plasticity.experiment_cell import Job
from plasticity.experiment_plan import Cell
from plasticity.pace import Pace
from spectra.atomic import make_folder, write_text
from spectra.errors import SpectraError

RECIPE = "recipe.yaml"
MANIFEST = "manifest.jsonl"
PACKAGES = ("spectra", "alphadecay", "plasticity")
_EVERY_SECONDS = 20.0
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a call of `run` ended: numbers of cells."""

    finished: int
    failed: int
    blocked: int
    seconds: float


@dataclass(kw_only=True)
class State:
    """How every cell stands: done or failed by key; seconds of the cells of this call, by kind."""

    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)


def begin(out: Path, experiment: Experiment) -> None:
    """Make the folder of an experiment, or find it there. Cells that are done stay done where the experiment only grows.

    Raises:
        SpectraError: it holds another experiment (another name), or something else, or cannot be written to.
    """
    if not (out / RECIPE).exists() and out.is_dir() and any(one.name != "cells" for one in out.iterdir()):
        raise SpectraError(
            f"{out} is not empty and holds no experiment (no {RECIPE}). Name a new folder with --out, or an experiment's."
        )
    make_folder(out / "cells", "Choose another.")
    path = out / RECIPE
    if path.exists() and experiment_of(out).name != experiment.name:
        raise SpectraError(
            f"{out} holds the experiment {experiment_of(out).name!r}, not {experiment.name!r}. Name another --out."
        )
    text = experiments.to_yaml(experiment)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


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


def state_of(out: Path, cells: Sequence[Cell]) -> State:
    """How the cells stand on disk; those that failed count as not begun."""
    records = ((cell, experiment_cell.record_of(out, cell)) for cell in cells)
    return State(done={cell.key for cell, record in records if record is not None and record["status"] == "done"})


def ready(cells: Sequence[Cell], state: State, busy: Collection[str]) -> Iterator[Cell]:
    """Cells that can be begun now, in order."""
    for cell in cells:
        if cell.key in state.done or cell.key in state.failed or cell.key in busy:
            continue
        if not cell.needs or cell.needs in state.done:
            yield cell


def run(
    experiment: Experiment,
    cells: Sequence[Cell],
    out: Path,
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    say: Say,
) -> Done:
    """Run every cell that is not done.

    Args:
        workers: cells at once; None: one here, all that there is room for on a cluster.
        engine: `local`: processes of `resources.threads` threads; `ray`: tasks of a cluster that shares the folder `out`.
        address: of the cluster.

    Raises:
        SpectraError: every worker died, no cluster answers, or a file cannot be written.
    """
    if workers is not None and workers < 1:
        raise SpectraError(f"--workers {workers}: expected at least 1.")
    if engine not in {"local", "ray"}:
        raise SpectraError(f"--engine {engine!r}: expected local or ray.")
    started = time.monotonic()
    state = state_of(out, cells)
    if state.done:
        say(f"{len(state.done)} of {len(cells)} cells are done already")
    if any(True for _ in ready(cells, state, ())):
        with _crew(experiment, engine, address, workers, say) as crew:
            _direct(experiment, cells, out, crew, state, say)
    write_manifest(out, cells, state)
    return _done(cells, state, started)


def _crew(experiment: Experiment, engine: str, address: str | None, workers: int | None, say: Say) -> Any:
    if engine == "ray":
        from plasticity.experiment_ray import RayCrew

        return RayCrew(experiment.resources, address=address, workers=workers, say=say)
    if address is not None:
        raise SpectraError("--address is of a Ray cluster: give --engine ray with it.")
    return Crew[Job](
        experiment_cell.run,
        workers=workers or 1,
        threads=experiment.resources.threads,
        packages=PACKAGES,
        say=_Heard(say),
    )


def run_one(experiment: Experiment, cells: Sequence[Cell], index: int, out: Path, *, say: Say) -> Done:
    """Run cell number `index` in this process, and first the base that it needs: a task of a Slurm array.

    Raises:
        SpectraError: there is no such cell; or what the cell itself raises, which is recorded too.
    """
    if not 0 <= index < len(cells):
        raise SpectraError(f"--index {index}: there are {len(cells)} cells, numbered from 0 (--dry-run lists them).")
    started = time.monotonic()
    cell = cells[index]
    needed = [one for one in cells if one.key == cell.needs]
    for one in [*needed, cell]:
        try:
            experiment_cell.run(Job(experiment=experiment, cell=one, out=out), say)
        except SpectraError as error:
            experiment_cell.failed(out, one, str(error))
            raise
    state = state_of(out, cells)
    return Done(finished=len(state.done), failed=0, blocked=0, seconds=time.monotonic() - started)


def record_end(out: Path, ended: Ended[Job], state: State) -> dict[str, Any]:
    """Note how a cell ended; the cell itself has written its record where it is done."""
    cell = ended.job.cell
    record = ended.record
    if record is None:
        record = experiment_cell.failed(out, cell, ended.reason)
        state.failed[cell.key] = ended.reason
    else:
        state.done.add(cell.key)
        state.seconds.setdefault(cell.kind, []).append(float(record["seconds"]))
    return record


def write_manifest(out: Path, cells: Sequence[Cell], state: State) -> None:
    """One line a cell: id, key, what it is, how it stands, why."""
    lines = []
    for number, cell in enumerate(cells):
        standing, reason = standing_of(cell, state)
        line = {
            "index": number,
            "id": cell.id,
            "key": cell.key,
            "kind": cell.kind,
            "label": cell.label,
            "state": standing,
        }
        lines.append(json.dumps(line | ({"reason": reason} if reason else {})))
    write_text(out / MANIFEST, "".join(f"{line}\n" for line in lines))


def standing_of(cell: Cell, state: State) -> tuple[str, str]:
    """`done`, `failed`, `blocked` (its base failed) or `pending`, and why."""
    if cell.key in state.done:
        return "done", ""
    if cell.key in state.failed:
        return "failed", state.failed[cell.key]
    if cell.needs in state.failed:
        return "blocked", f"its base failed: {state.failed[cell.needs]}"
    return "pending", ""


def _direct(experiment: Experiment, cells: Sequence[Cell], out: Path, crew: Any, state: State, say: Say) -> None:
    """Hand out cells until none can be begun and all are back."""
    while True:
        busy = {job.cell.key for job in crew.busy}
        for cell in itertools.islice(ready(cells, state, busy), crew.idle):
            crew.begin(Job(experiment=experiment, cell=cell, out=out))
            say(f"begins: {cell.label}")
        write_manifest(out, cells, state)
        if not crew.busy:
            return
        for ended in crew.wait():
            record = record_end(out, ended, state)
            say(sentence(record, cells, state, len(crew.busy) + 1))


def sentence(record: Mapping[str, Any], cells: Sequence[Cell], state: State, workers: int) -> str:
    """How a cell ended, how many are done, and how long the rest takes."""
    if record["status"] != "done":
        return f"failed: {record['label']}: {record['reason']}"
    count = f"{len(state.done)} of {len(cells)} cells"
    return f"done: {record['label']}, {record['seconds']:.0f} s; {count}{_left(cells, state, workers)}"


def _left(cells: Sequence[Cell], state: State, workers: int) -> str:
    """From the mean time of each kind; kinds of which none has ended yet take as long as the mean of the others."""
    known = {kind: sum(found) / len(found) for kind, found in state.seconds.items()}
    if not known:
        return ""
    usual = sum(known.values()) / len(known)
    left = sum(known.get(cell.kind, usual) for cell in cells if standing_of(cell, state)[0] == "pending")
    seconds = left / max(1, workers)
    return f", about {seconds / 60:.0f} min left" if seconds >= 60 else f", about {seconds:.0f} s left"


def _done(cells: Sequence[Cell], state: State, started: float) -> Done:
    standings = [standing_of(cell, state)[0] for cell in cells]
    return Done(
        finished=standings.count("done"), failed=standings.count("failed"), blocked=standings.count("blocked"),
        seconds=time.monotonic() - started,
    )  # fmt: skip


class _Heard:
    """What cells say, a line every so often in all: many cells would say too much."""

    def __init__(self, say: Say) -> None:
        self._say, self._pace = say, Pace(_EVERY_SECONDS)

    def __call__(self, text: str) -> None:
        if self._pace.due():
            self._say(text)
