"""YAML files that come with the packages, found by name, or a user's own, by path."""

from __future__ import annotations

from pathlib import Path

from spectra.errors import SpectraError

from . import fields


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
    try:
        return path.read_text(encoding="utf-8"), path
    except (OSError, UnicodeDecodeError) as error:
        raise SpectraError(f"Cannot read {what} {path}: {error}. Expected a YAML file in UTF-8.") from None
