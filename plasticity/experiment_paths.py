"""What in an experiment is a place on this machine and what a hub id; places are made absolute when the experiment is read.

So the experiment that a folder holds means the same from every working directory. Whether a place is there is asked when cells
are planned: results of an experiment can be read where its inputs are gone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError

_OURS = {
    "runs",
    "bases",
    "checkpoints",
}  # folders that our documents and runs name, and no owner on the hub that we know
_SAVED = re.compile(r"checkpoint-\d+")
_IN_RECIPES = ("data.source", "data.tokenizer", "images.source", "model.init_from")
_SHORT = {"tokenizer", "init_from"}  # those of them that `key=value` takes without their section


def absolute(written: str) -> str:
    """The whole path of what is there, links in it kept; anything else as it was written."""
    path = Path(written).expanduser()
    return str(path.absolute()) if written and path.exists() else written


def looks_local(written: str) -> bool:
    """Whether it can be no hub id (`name`, `owner/name`): by its form, by its name, or since its first folder is here."""
    parts = written.split("/")
    if written.startswith((".", "/", "~")) or len(parts) != 2:
        return len(parts) > 1 or written.startswith((".", "~")) or Path(written).suffix == ".gguf"
    first, last = parts
    here = first in _OURS or Path(first).is_dir()
    return not last or here or _SAVED.fullmatch(last) is not None or Path(last).suffix == ".gguf"


def check(written: str, where: str, kind: str = "checkpoint") -> Path | None:
    """The path of what is there; None: it is taken for a hub id.

    Args:
        where: the key that names it, for messages.

    Raises:
        SpectraError: it looks like a path, and there is nothing.
    """
    path = Path(written).expanduser()
    if path.exists():
        return path
    if looks_local(written) or not written:
        raise SpectraError(f"{where}: there is nothing at {written}. Name a {kind}, or a hub id (owner/name).")
    return None


def in_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of a recipe, as plain values, with the places of its inputs made absolute."""
    made = dict(values)
    for key in _IN_RECIPES:
        section, _, name = key.partition(".")
        known = made.get(section)
        if isinstance(known, Mapping) and isinstance(known.get(name), str):
            made[section] = {**known, name: absolute(known[name])}
    return made


def in_changes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value, or list of values, with the places of a recipe's inputs made absolute."""
    return {key: _change(value) if key in _IN_RECIPES or key in _SHORT else value for key, value in values.items()}


def _change(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_change(one) for one in value]
    return absolute(value) if isinstance(value, str) else value
