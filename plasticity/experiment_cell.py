"""One cell of an experiment, run in its folder; what an earlier, killed run left there is gone on with.

<out>/bases/<id>/     a base that the experiment trains: a run of `plasticity pretrain`
<out>/tuned/<id>/     a fine-tuning run; deleted once it is scored, unless the experiment keeps it
<out>/cells/<id>/     `cell.json`, the record, written whole and last; and the results that it is of
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plasticity.experiment import Experiment
from plasticity.experiment_plan import Cell
from spectra.errors import SpectraError

SCHEMA_VERSION = 1
RECORD = "cell.json"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell to run, and where."""

    experiment: Experiment
    cell: Cell
    out: Path


def about(cell: Cell) -> dict[str, Any]:
    """What names a cell in its record, whether it ends well or not."""
    return {
        "schema_version": SCHEMA_VERSION, "key": cell.key, "id": cell.id, "kind": cell.kind, "label": cell.label,
        "base": cell.base.label, "base_key": cell.base.key, "task": cell.task, "axes": dict(cell.axes), "seed": cell.seed,
    }  # fmt: skip


def folder(out: Path, cell: Cell) -> Path:
    """Where a cell's results are."""
    return out / "cells" / cell.id


def record_of(out: Path, cell: Cell) -> dict[str, Any] | None:
    """The record of a cell, done or failed; None where there is none of this version."""
    try:
        made: dict[str, Any] = json.loads((folder(out, cell) / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return made if made.get("key") == cell.key and made.get("schema_version") == SCHEMA_VERSION else None


def run(job: Job, say: Say) -> dict[str, Any]:
    """Run a cell, write its record, and return it. A cell that another process finishes meanwhile is not run twice.

    Raises:
        SpectraError: whatever keeps it from being done.
    """
    from spectra.atomic import write_text

    where = folder(job.out, job.cell)
    where.mkdir(parents=True, exist_ok=True)
    with _locked(where / ".lock", job.cell, say):
        known = record_of(job.out, job.cell)
        if known is not None and known["status"] == "done":
            return known
        started = time.perf_counter()
        result = _KINDS[job.cell.kind](job, where, say)
        made = about(job.cell) | {
            "status": "done",
            "seconds": round(time.perf_counter() - started, 3),
            "result": result,
        }
        write_text(where / RECORD, json.dumps(made, indent=1, allow_nan=False) + "\n")
    return made


def failed(out: Path, cell: Cell, reason: str) -> dict[str, Any]:
    """Record that a cell failed, and why; it is tried again by the next call."""
    from spectra.atomic import write_text

    made = about(cell) | {"status": "failed", "reason": reason}
    folder(out, cell).mkdir(parents=True, exist_ok=True)
    write_text(folder(out, cell) / RECORD, json.dumps(made, indent=1) + "\n")
    return made


def checkpoint_of(out: Path, cell: Cell) -> str:
    """The checkpoint that a cell's base is.

    Raises:
        SpectraError: the base is not done.
    """
    if cell.base.path is not None:
        return cell.base.path
    path = out / "cells" / cell.base.key[:16] / RECORD
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        return str(out / made["result"]["checkpoint"])
    except (OSError, ValueError, KeyError) as error:
        raise SpectraError(
            f"The base of {cell.label!r} is not there: {path} has no checkpoint. Run the base first."
        ) from error


@contextlib.contextmanager
def _locked(path: Path, cell: Cell, say: Say) -> Iterator[None]:
    """One process at a time works on a cell (of a Slurm array, say)."""
    try:
        import fcntl
    except ImportError:  # no flock on this system
        yield
        return
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{cell.label}: another process is at it; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _base(job: Job, where: Path, say: Say) -> dict[str, Any]:
    """Train the base; a given one is looked at, so that what is wrong with it shows here and not in every cell."""
    cell = job.cell
    if cell.base.recipe is None:
        from plasticity.base_model import load_base
        from plasticity.identity import identity

        assert cell.base.path is not None
        return {"checkpoint": cell.base.path, "identity": identity(load_base(cell.base.path)), "eval_loss": None}
    from alphadecay import runs
    from alphadecay.budget import budget
    from alphadecay.train import train

    out = job.out / "bases" / cell.id
    recipe = cell.base.recipe
    count = budget(recipe)
    resume = runs.holds_run(out)
    runs.begin(out, recipe, count)
    done = train(recipe, out, resume=resume, message=_telling(cell, say))
    return {
        "checkpoint": str(done.checkpoint.relative_to(job.out)), "steps": done.steps, "parameters": count.parameters,
        "train_loss": done.train_loss, "eval_loss": done.eval_loss, "eval_metrics": done.eval_metrics,
        "provenance": done.provenance,
    }  # fmt: skip


def _before(job: Job, where: Path, say: Say) -> dict[str, Any]:
    return _scored(job, job.cell.config["evaluate"], checkpoint_of(job.out, job.cell), where / "scores", say)


def _tune(job: Job, where: Path, say: Say) -> dict[str, Any]:
    """Fine-tune, score, and score what it may have forgotten."""
    from plasticity.finetune import finetune
    from plasticity.finetune_config import from_values

    cell, out = job.cell, job.out / "tuned" / job.cell.id
    config = from_values({**cell.config["finetune"], "model": checkpoint_of(job.out, cell)})
    done = finetune(config, out, resume=out.exists(), message=_telling(cell, say))
    made: dict[str, Any] = {"train_loss": done.train_loss, "steps": done.steps, "finetune_seconds": done.seconds}
    made |= _scored(job, cell.config["evaluate"], str(done.checkpoint), where / "scores", say)
    made["stability"] = {
        task: _scored(job, evaluation, str(done.checkpoint), where / "stability" / task, say)
        for task, evaluation in cell.config["stability"].items()
    }
    made["kept"] = str(done.checkpoint.relative_to(job.out)) if job.experiment.finetune.keep else None
    if not job.experiment.finetune.keep:
        shutil.rmtree(out)
    return made


def _scored(job: Job, known: Mapping[str, Any], model: str, out: Path, say: Say) -> dict[str, Any]:
    """Scores of a checkpoint, as they are in its `result.json`."""
    from dataclasses import asdict

    from plasticity.evaluate import evaluate
    from plasticity.evaluate_config import EvaluateConfig

    settings = {key: value for key, value in known.items() if key not in {"version", "files"}}
    result = evaluate(
        EvaluateConfig.applying(model=model, **settings), out, resume=True, message=_telling(job.cell, say)
    )
    return {
        "scores": {name: asdict(score) for name, score in result.scores.items()},
        "n_questions": result.n_questions,
        "result": str((out / "result.json").relative_to(job.out)),
    }


def _spectra(job: Job, where: Path, say: Say) -> dict[str, Any]:
    """Analyses of the base's checkpoints, and what they say over training."""
    from spectra.tracking import step_of, track_paths, write_track

    last = checkpoint_of(job.out, job.cell)
    paths = [last]
    if job.cell.base.recipe is not None and job.cell.config["spectra"]["every"]:
        found = [str(path) for path in Path(last).parent.glob("checkpoint-*") if step_of(str(path)) is not None]
        paths = sorted(found, key=lambda path: step_of(path) or 0)
    made: dict[str, Any] = {
        "final": _analysed(last, where / "analysis.json"),
        "steps": [step_of(path) for path in paths],
        "track": None,
    }
    if len(paths) > 1:
        write_track(track_paths(paths, keep=where / "analyses"), where / "track.json")
        made["track"] = str((where / "track.json").relative_to(job.out))
    return made


def _analysed(path: str, out: Path) -> dict[str, Any]:
    """Final spectra in a few numbers; the rest is in the file."""
    import spectra
    from plasticity.spectra_numbers import spectra_numbers

    analysis = spectra.analyze(path)
    spectra.write_json(analysis, out)
    return spectra_numbers(analysis)


def _telling(cell: Cell, say: Say) -> Say:
    return lambda text: say(f"{cell.label}: {text}")


def _probe(job: Job, where: Path, say: Say) -> dict[str, Any]:
    from plasticity.probe import probe
    from plasticity.probe_config import ProbeConfig
    from plasticity.probe_result import NAME

    asked = job.experiment.probe
    assert asked is not None
    made = {}
    for task in asked.tasks:
        path = where / "probe" / task / NAME
        made[task] = str(path.relative_to(job.out))
        if path.exists():  # of an earlier, killed run of this cell
            continue
        data = asked.data.get(task)
        config = ProbeConfig(
            model=checkpoint_of(job.out, job.cell), tasks=(task,), data=None if data is None else str(data),
            seeds=tuple(range(asked.seeds)), limit=asked.limit,
        )  # fmt: skip
        probe(config, path.parent, message=_telling(job.cell, say))
    return {"results": made}


def _gap(job: Job, where: Path, say: Say) -> dict[str, Any]:
    from plasticity.gap import GapConfig, gap

    asked = job.experiment.gap
    assert asked is not None
    config = GapConfig(model=checkpoint_of(job.out, job.cell), windows=asked.windows)
    found = gap(config, where / "gap", replace=True, message=_telling(job.cell, say))
    return {"gap": found.gap, "ci95": found.ci95, "train_loss": found.train_loss, "val_loss": found.val_loss,
            "result": str((where / "gap" / "gap.json").relative_to(job.out))}  # fmt: skip


_KINDS: Mapping[str, Callable[[Job, Path, Say], dict[str, Any]]] = {
    "base": _base, "before": _before, "tune": _tune, "probe": _probe, "gap": _gap, "spectra": _spectra,
}  # fmt: skip
