"""The result that lies in a folder already: made again where it is of the same evaluation, never overwritten by another."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plasticity.evaluate_config import EvaluateConfig
from plasticity.task_result import FILE, NAME, TaskResult, make_folder, read_result
from spectra.errors import OtherWorkError, SpectraError

_CHECKPOINT = ("weights_sha256", "config_sha256", "tokenizer_sha256", "revision")


def previous(folder: Path) -> TaskResult | None:
    """The result in a folder; None where there is none, or one of another schema version, which is made anew.

    Raises:
        SpectraError: a file of that name which is no result of ours.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        return read_result(path)
    except SpectraError:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if isinstance(found, dict) and found.get("format") == FILE.format:
            return None
        raise


def check_asked(there: TaskResult, config: EvaluateConfig, folder: Path) -> None:
    """Refuse what is seen to be another evaluation before any work is done; raises as `check_same`."""
    from plasticity.identity import files

    here: dict[str, Any] = {"task": config.task, "profile": config.profile, "seed": config.seed}
    found = {name: getattr(there, name) for name in here}
    mine = {
        name: value for name, value in files(config.model).items() if value is not None and name in there.checkpoint
    }
    _refuse(folder, found | {name: there.checkpoint[name] for name in mine}, here | mine)


def check_same(there: TaskResult, made: TaskResult, folder: Path) -> None:
    """Refuse to put a result in the place of one of another task, checkpoint, data set, seed or number of questions.

    Raises:
        OtherWorkError: it is of another.
    """
    was, is_ = _deciding(there), _deciding(made)
    _refuse(folder, was, {name: value for name, value in is_.items() if name in was})


def fresh(folder: Path, make: Callable[[Path], TaskResult], there: TaskResult | None) -> TaskResult:
    """Make a result whose files are written at its end: beside what is there, which stays as it is where this fails."""
    if there is None:
        return make(folder)
    make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".again-") as beside:
        made = make(Path(beside))
        check_same(there, made, folder)
        for name in made.files:
            (Path(beside) / name).replace(folder / name)
    return made


def _deciding(result: TaskResult) -> dict[str, Any]:
    return {
        "task": result.task, "task_version": result.task_version, "profile": result.profile, "seed": result.seed,
        "questions": result.n_questions, "data": result.data.get("fingerprint"),
        **{name: result.checkpoint[name] for name in _CHECKPOINT if name in result.checkpoint},
    }  # fmt: skip


def _refuse(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    other = [
        f"{name} ({_short(there[name])} there, {_short(value)} here)"
        for name, value in here.items()
        if there[name] != value
    ]
    if other:
        raise OtherWorkError(
            f"--resume: {folder} holds another evaluation: {', '.join(other)}. Name another folder with --out, or leave the "
            "configuration and the files as they were."
        )


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 40 else str(value)
