"""One cell of an experiment, run in its folder; what an earlier, killed run left there is gone on with.

<out>/bases/<id>/     a base that the experiment trains: a run of `plasticity pretrain`
<out>/tuned/<id>/     a fine-tuning run; deleted once its record is written, unless the experiment keeps it
<out>/cells/<id>/     `cell.json`, the record, written whole and last; and the results that it is of. `.lock` and `.lock.owner`:
                      one process at a time is at it, and which
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphadecay import locks
from plasticity.experiment import Experiment
from plasticity.experiment_plan import Cell
from spectra.errors import OtherWorkError, SpectraError, first_line

SCHEMA_VERSION = 1
RECORD = "cell.json"
LOCK = ".lock"
ARRAY = "SLURM_ARRAY_JOB_ID"  # the same for all tasks of an array
ELSEWHERE = "elsewhere"
PACKAGES = ("spectra", "alphadecay", "plasticity")  # whose code decides results
_DOOMED = ".deleting-"
Say = Callable[[str], None]
GivenUp = Callable[[Mapping[str, Any]], bool]


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


def run(job: Job, say: Say, *, wait: bool = False, given_up: GivenUp | None = None) -> dict[str, Any]:
    """Run a cell, write its record, and return it. A cell that another process finishes meanwhile is not run twice.

    Args:
        wait: for another process that is at it; else the record that comes back, and is not written, has the status `elsewhere`
            and says who that is.
        given_up: told the record of a cell that failed; if it says so, that record comes back, and the cell is not tried again.

    Raises:
        SpectraError: whatever keeps it from being done.
    """
    where = folder(job.out, job.cell)
    where.mkdir(parents=True, exist_ok=True)
    try:
        with locks.held(
            where / LOCK, (lambda who: say(f"{job.cell.label}: {who} is at it; waiting")) if wait else None
        ):
            return _run(job, where, say, given_up)
    except locks.BusyError as error:
        return about(job.cell) | {"status": ELSEWHERE, "reason": str(error)}


def _run(job: Job, where: Path, say: Say, given_up: GivenUp | None) -> dict[str, Any]:
    from spectra.atomic import write_text
    from spectra.provenance import code, now, software

    known = record_of(job.out, job.cell)
    if known is not None and known["status"] == "failed" and given_up is not None and given_up(known):
        return known
    if known is None or known["status"] != "done":
        started, run_by = time.perf_counter(), code()  # as noted when imported; else as it is now, not after hours
        result = _KINDS[job.cell.kind](job, where, say)
        known = about(job.cell) | {
            "status": "done",
            "seconds": round(time.perf_counter() - started, 3),
            "result": result,
            "provenance": software() | run_by | {"host": socket.gethostname(), "finished_at": now()},
        }
        write_text(where / RECORD, json.dumps(known, indent=1, allow_nan=False) + "\n")
    clear(job.out, known)
    return known


def failed(out: Path, cell: Cell, reason: str) -> dict[str, Any]:
    """Record that a cell failed, and why; it is tried again by the next call. Returns how the cell stands.

    A record that is done stays, and so does whatever there is while another process is at the cell.
    """
    from spectra.atomic import write_text
    from spectra.provenance import now

    made = about(cell) | {
        "status": "failed", "reason": reason, "failed_at": now(), "host": socket.gethostname(), "pid": os.getpid(),
        "array": os.environ.get(ARRAY),
    }  # fmt: skip
    folder(out, cell).mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(locks.BusyError), locks.held(folder(out, cell) / LOCK, None):
        known = record_of(out, cell)
        if known is not None and known["status"] == "done":
            return known
        write_text(folder(out, cell) / RECORD, json.dumps(made, indent=1) + "\n")
    return made


def clear(out: Path, record: Mapping[str, Any]) -> None:
    """Delete what a cell that is done no longer needs: its fine-tuned checkpoint, unless its record keeps it.

    It is renamed first, so that a kill leaves a whole run or none.
    """
    tuned = out / "tuned"
    if record["kind"] != "tune" or record["result"].get("kept") is not None or not (tuned / record["id"]).exists():
        return
    doomed = tuned / f"{_DOOMED}{record['id']}"
    shutil.rmtree(doomed, ignore_errors=True)
    with contextlib.suppress(OSError):  # another process was first
        (tuned / record["id"]).rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def clear_deleted(out: Path) -> None:
    """Delete what a kill left of deletions."""
    for doomed in (out / "tuned").glob(f"{_DOOMED}*"):
        shutil.rmtree(doomed, ignore_errors=True)


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


def _base(job: Job, where: Path, say: Say) -> dict[str, Any]:
    """Train the base; a given one is looked at, so that what is wrong with it shows here and not in every cell."""
    cell = job.cell
    if cell.base.recipe is None:
        from plasticity.base_model import load_base
        from plasticity.identity import identity

        assert cell.base.path is not None
        known = {"checkpoint": cell.base.path, "identity": identity(load_base(cell.base.path))}
        return known | (_of_run(Path(cell.base.path)) if cell.base.windows is not None else {"eval_loss": None})
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


def _of_run(checkpoint: Path) -> dict[str, Any]:
    """The validation loss that a run of `plasticity pretrain` ended with, where `checkpoint` is its last."""
    from alphadecay.train import RESULT

    try:
        ended = json.loads((checkpoint.parent / RESULT).read_text(encoding="utf-8"))
        if ended["checkpoint"] == checkpoint.name:
            return {"eval_loss": ended["eval_loss"], "eval_metrics": ended["eval_metrics"]}
    except (OSError, ValueError, KeyError, TypeError):  # a run that is not over, or of another version
        pass
    return {"eval_loss": None}


def _before(job: Job, where: Path, say: Say) -> dict[str, Any]:
    return _scored(job, job.cell.config["evaluate"], checkpoint_of(job.out, job.cell), where / "scores", say)


def _tune(job: Job, where: Path, say: Say) -> dict[str, Any]:
    """Fine-tune, score, and score what it may have forgotten.

    A run that was begun goes on where its base and data have moved: the cell's address says that they are the same. One that was
    begun otherwise begins anew.
    """
    from plasticity import finetune_folder
    from plasticity.finetune import finetune
    from plasticity.finetune_config import from_values

    cell, out = job.cell, job.out / "tuned" / job.cell.id
    config = from_values({**cell.config["finetune"], "model": checkpoint_of(job.out, cell)})
    newest = _newest(out, say)
    if newest is None:
        _forget_scores(where)
    else:
        finetune_folder.moved(config, out)
    try:
        done = finetune(config, out, resume=newest is not None, message=_telling(cell, say))
    except OtherWorkError as error:
        say(f"{cell.label}: fine-tuned anew, for what was begun cannot be gone on with: {first_line(error)}")
        shutil.rmtree(out)
        newest = None
        _forget_scores(where)
        done = finetune(config, out, message=_telling(cell, say))
    if newest is not None and done.checkpoint.name != newest.name:
        _forget_scores(where)
    made: dict[str, Any] = {"train_loss": done.train_loss, "steps": done.steps, "finetune_seconds": done.seconds}
    made |= _scored(job, cell.config["evaluate"], str(done.checkpoint), where / "scores", say)
    made["stability"] = {
        task: _scored(job, evaluation, str(done.checkpoint), where / "stability" / task, say)
        for task, evaluation in cell.config["stability"].items()
    }
    made["kept"] = str(done.checkpoint.relative_to(job.out)) if job.experiment.finetune.keep else None
    return made


def _newest(out: Path, say: Say) -> Path | None:
    """The checkpoint that a fine-tuning run can go on from; what is left of a run that cannot go on is deleted."""
    from alphadecay import saves
    from plasticity.finetune_folder import CONFIG

    found = saves.newest(out, say) if (out / CONFIG).is_file() else None
    if found is None and out.exists():
        shutil.rmtree(out)
    return found


def _forget_scores(where: Path) -> None:
    """Delete scores of a model that was trained before: what is trained anew may be another, bit for bit."""
    for stale in (where / "scores", where / "stability"):
        shutil.rmtree(stale, ignore_errors=True)


def _scored(job: Job, known: Mapping[str, Any], model: str, out: Path, say: Say) -> dict[str, Any]:
    """Scores of a checkpoint, as they are in its `result.json`; what was begun otherwise is scored anew."""
    from dataclasses import asdict

    from plasticity.evaluate import evaluate
    from plasticity.evaluate_config import EvaluateConfig

    settings = {key: value for key, value in known.items() if key not in {"version", "files"}}
    config, tell = EvaluateConfig.applying(model=model, **settings), _telling(job.cell, say)
    try:
        result = evaluate(config, out, resume=True, message=tell)
    except OtherWorkError as error:
        tell(f"scored anew, for what was begun cannot be gone on with: {first_line(error)}")
        shutil.rmtree(out)
        result = evaluate(config, out, message=tell)
    return {
        "scores": {name: asdict(score) for name, score in result.scores.items()},
        "n_questions": result.n_questions,
        "result": str((out / "result.json").relative_to(job.out)),
    }


def _spectra(job: Job, where: Path, say: Say) -> dict[str, Any]:
    from plasticity.experiment_spectra import spectra_of

    cell = job.cell
    every = cell.base.recipe is not None and cell.config["spectra"]["every"]
    train = cell.base.recipe.train if every and cell.base.recipe is not None else None
    made = spectra_of(checkpoint_of(job.out, cell), train, where, _telling(cell, say))
    return made | {"track": None if made["track"] is None else str(made["track"].relative_to(job.out))}


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
