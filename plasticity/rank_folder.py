"""The folder of a ranking: whether it may begin or go on there, and what was measured of each candidate.

`asked.json` is what was asked; `candidate-N/checkpoint.json` which weights the candidate is of, `candidate-N/measured.json` its
signals once all are there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plasticity.finetune_folder import differences
from plasticity.rank_result import NAME
from plasticity.task_result import make_folder
from spectra.atomic import write_text
from spectra.errors import SpectraError

ASKED, CHECKPOINT, MEASURED = "asked.json", "checkpoint.json", "measured.json"


def default_out(task: str, asked: Mapping[str, Any]) -> Path:
    """`evaluations/rank-TASK-HASH`, by candidates and settings: the same command goes on there, another has a folder of its own."""
    address = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return Path("evaluations") / f"rank-{task}-{address[:8]}"


def begin(asked: Mapping[str, Any], out: Path, say: Callable[[str], None]) -> None:
    """Make the folder, or see that the ranking in it is this one and not finished.

    Raises:
        SpectraError: the folder holds a finished ranking, another one, or something else; or it cannot be made.
    """
    asked = json.loads(json.dumps(asked))
    if (out / NAME).exists():
        raise SpectraError(f"{out} already holds a {NAME}. Name another folder with --out, or delete it.")
    if (out / ASKED).exists():
        changed = differences(_read(out / ASKED), asked)
        if changed:
            raise SpectraError(
                f"{out} holds a ranking that was begun with other settings: {'; '.join(changed)}. Leave them as they were, name "
                "another folder with --out, or delete this one where it is not needed."
            )
        say(f"going on with the ranking in {out}")
        return
    if out.exists() and any(out.iterdir()):
        raise SpectraError(f"{out} is not empty, and holds no ranking. Name a new folder with --out.")
    make_folder(out)
    _write(out / ASKED, asked)


def claim(out: Path, model: str) -> Path:
    """The folder `out` of a candidate, made where it is not there.

    Raises:
        SpectraError: its files have changed since it was begun.
    """
    from plasticity.identity import files

    here = {"model": model, **files(model)}
    make_folder(out)
    path = out / CHECKPOINT
    if path.exists():
        changed = differences(_read(path), here)
        if changed:
            raise SpectraError(
                f"{model} has changed since its ranking in {out.parent} was begun. Rank into another folder with --out."
            )
    else:
        _write(path, here)
    return out


def measured(out: Path) -> dict[str, Any] | None:
    """What was measured of a finished candidate, as `finish` wrote it."""
    path = out / MEASURED
    return _read(path) if path.exists() else None


def finish(out: Path, found: Mapping[str, Any]) -> None:
    """Record that all of a candidate is measured."""
    _write(out / MEASURED, found)


def _write(path: Path, value: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError) as error:
        raise SpectraError(f"{path} cannot be read ({error}). Rank into another folder with --out.") from error
    return found
