"""YAML files that come with the packages, found by name, or a user's own, by path."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError

from . import fields, strict_yaml


def names(folder: Path) -> list[str]:
    """The shipped ones, in alphabetical order."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read(name: str, folder: Path, what: str) -> tuple[str, Path]:
    """Text and path of the file of that name in `folder`, or at that path; `what` it is, for messages (`study`).

    Raises:
        SpectraError: there is none (names the nearest), or it is not text.
    """
    path = Path(name).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        known = names(folder)
        if name not in known:
            raise SpectraError(
                f"No {what} {name!r}. {fields.nearest(name, known)} A file of yours: name it by its path."
            )
        path = folder / f"{name}.yaml"
    return text(path, what), path


def text(path: Path, what: str) -> str:
    """What stands in a file; raises `SpectraError` where it is not there, or not text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpectraError(
            f"No {what} file {path}: there is nothing at that path. Expected a YAML file, or a shipped name without .yaml."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpectraError(f"Cannot read {what} {path}: {error}. Expected a YAML file in UTF-8.") from None


def extending(path: Path, known: Iterable[str], seen: tuple[Path, ...]) -> dict[str, Any]:
    """The mapping in a recipe's file, which may extend another; `seen`: the files that extend this one, resolved as `path` is.

    Raises:
        SpectraError: the file extends itself, is not YAML or no mapping, or has a key that is not known.
    """
    if path in seen:
        raise SpectraError(
            f"{path.name} extends itself, by way of {', '.join(p.name for p in seen)}. Break the circle."
        )
    made = fields.mapping(strict_yaml.read(text(path, "recipe"), path.name), path.name)
    fields.check_keys(made, known, path.name)
    return made
