"""Checkpoints that are whole or not there: how they are written, which is the newest whole one.

A checkpoint is written under `.saving/`, gets a `complete.json` with the size of each of its files, and is renamed to
`checkpoint-<step>` last. A folder without that marker, or with other sizes, is never resumed from.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from spectra.atomic import write_text
from spectra.errors import SpectraError, first_line

STAGING = ".saving"
MARKER = "complete.json"
_NAME = re.compile(r"checkpoint-(\d+)")
# beginnings of names; the Trainer silently makes anew what is missing
_NEEDED = ("trainer_state.json", "optimizer", "scheduler", "rng_state")


def staged(out: Path, step: int) -> Path:
    """Where the checkpoint of a step is written."""
    return out / STAGING / f"checkpoint-{step}"


def publish(out: Path, step: int, keep: int, processes: int) -> Path:
    """Mark the staged checkpoint as complete, put it in its place, and delete all but the newest `keep`.

    Raises:
        OSError: the disk is full, or the folder not writable; what was there before is whole.
    """
    source, target = staged(out, step), out / f"checkpoint-{step}"
    sizes = {str(p.relative_to(source)): p.stat().st_size for p in sorted(source.rglob("*")) if p.is_file()}
    for name in sizes:
        _flush(source / name)
    write_text(source / MARKER, json.dumps({"step": step, "processes": processes, "files": sizes}, indent=1) + "\n")
    _flush(source / MARKER)
    if target.exists():  # an incomplete one of the same step
        _discard(target)
    source.rename(target)
    _flush(out)
    shutil.rmtree(out / STAGING, ignore_errors=True)
    for old in checkpoints(out)[:-keep]:
        _discard(old)
    return target


def _discard(path: Path) -> None:
    """Delete a checkpoint: first out of sight, so that a kill in between leaves no half one under its name."""
    hidden = path.with_name(f".deleting-{path.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def clean(out: Path) -> None:
    """Remove what a killed run left half written or half deleted."""
    for path in [out / STAGING, *out.glob(".deleting-*")]:
        shutil.rmtree(path, ignore_errors=True)


def _flush(path: Path) -> None:
    """Hand a file (or a folder's entries) to the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # a folder, where they cannot be opened
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def problem(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be resumed from; None where it can."""
    try:
        sizes = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return f"it has no {MARKER}: it was not written whole"
    except (OSError, ValueError, KeyError, TypeError):
        return f"its {MARKER} cannot be read"
    for name, size in sizes.items():
        path = checkpoint / name
        if not path.is_file() or path.stat().st_size != size:
            return f"{name} is missing or has another size than when it was written"
    missing = [start for start in _NEEDED if not any(name.startswith(start) for name in sizes)]
    return f"{missing[0]} is missing" if missing else None


def rewrite(checkpoint: Path, name: str, text: str) -> None:
    """Write a text file of a whole checkpoint anew; killed in between, the checkpoint is not whole.

    Raises:
        SpectraError: it cannot be written.
    """
    marked = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
    write_text(checkpoint / name, text)
    marked["files"][name] = (checkpoint / name).stat().st_size
    write_text(checkpoint / MARKER, json.dumps(marked, indent=1) + "\n")


def checkpoints(out: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return [path for _, path in _all(out) if problem(path) is None]


def _all(out: Path) -> list[tuple[int, Path]]:
    found = [(_NAME.fullmatch(path.name), path) for path in (out.iterdir() if out.is_dir() else ())]
    return sorted((int(match[1]), path) for match, path in found if match is not None and path.is_dir())


def newest(out: Path, message: Callable[[str], None]) -> Path | None:
    """The newest whole checkpoint; None where there is none. Says which ones were passed over."""
    for _, path in reversed(_all(out)):
        why = problem(path)
        if why is None:
            return path
        message(f"{path.name} is passed over: {why}")
    return None


def processes(checkpoint: Path) -> int:
    """How many processes wrote a whole checkpoint."""
    return int(json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["processes"])


def cannot_save(out: Path, step: int, error: BaseException) -> SpectraError:
    """What to say when a save failed."""
    left = checkpoints(out)
    kept = (
        f"{left[-1].name} is whole: make room and run again with --resume"
        if left
        else "No checkpoint was written before"
    )
    reason = first_line(error)
    return SpectraError(f"Cannot save the checkpoint of step {step} in {out} ({reason}). {kept}.")
