"""Results as JSON files with a format and a schema version: written whole, read back or refused in one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """A kind of result.

    Attributes:
        name: of its file (`gap.json`).
        format, version: stand in it; a file of another is refused.
        command: what makes it (`plasticity gap`).
        remake: how to get a new one, as a sentence without its full stop.
    """

    name: str
    format: str
    version: int
    command: str
    remake: str

    def write(self, result: Any, path: Path) -> None:
        """Write a result (a dataclass) whole, or not at all; raises `SpectraError` where it cannot be written."""
        from spectra.atomic import write_text

        made = {"format": self.format, "schema_version": self.version, **dataclasses.asdict(result)}
        write_text(path, json.dumps(made, indent=1, allow_nan=False) + "\n")

    def read(self, path: Path) -> dict[str, Any]:
        """The fields in a file, or in the file of that name in a folder.

        Raises:
            SpectraError: not there, not such a result, or of another schema version.
        """
        where = self.where(path)
        try:
            made: dict[str, Any] = json.loads(where.read_text(encoding="utf-8"))
            found = (made.pop("format"), made.pop("schema_version"))
        except OSError as error:
            raise SpectraError(
                f"Cannot read {where}: {error.strerror or error}. Name the {self.name} of {self.command}, or its folder."
            ) from error
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise SpectraError(
                f"{where} is not a result of {self.command}. Name its {self.name}, or its folder."
            ) from error
        if found != (self.format, self.version):
            raise SpectraError(
                f"{where} has format {found[0]} version {found[1]}; this program reads {self.format} version {self.version}. "
                f"{self.remake}."
            )
        return made

    def where(self, path: Path) -> Path:
        """The file itself."""
        return path / self.name if path.is_dir() else path

    @contextlib.contextmanager
    def shaped(self, path: Path) -> Iterator[None]:
        """What is made of the fields inside; raises `SpectraError` where they have not the shape that they should have."""
        try:
            yield
        except (KeyError, TypeError, AttributeError) as error:
            raise SpectraError(f"{self.where(path)} is damaged: {error}. {self.remake}.") from error
