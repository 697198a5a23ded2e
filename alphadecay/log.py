"""The log of a policy: a header line with its settings, then one JSON line a module and measurement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spectra.atomic import write_text
from spectra.errors import SpectraError


class DecayLog:
    """Append-only file; lines of steps after a resume's are taken back."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """`settings` go into the header. The file is made by the first append, anew where `rewind` was not called."""
        self._path = path
        self._header = json.dumps({"header": dict(settings)}) + "\n"
        self._begun = False

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records and hand them to the operating system.

        Raises:
            SpectraError: the file cannot be written.
        """
        lines = "".join(json.dumps(dict(record), allow_nan=False) + "\n" for record in records)
        try:
            if not self._begun:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.write_text(self._header, encoding="utf-8")
                self._begun = True
            with self._path.open("a", encoding="utf-8") as f:
                f.write(lines)
        except OSError as error:
            raise SpectraError(f"Cannot write the log {self._path}: {error.strerror or error}.") from error

    def rewind(self, step: int) -> None:
        """Keep what was written up to `step`, drop the rest (and a line cut short), and go on from there."""
        self._begun = self._path.exists()
        if not self._begun:
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                record = json.loads(line)
            except ValueError:
                break
            if not line.endswith("\n") or record.get("step", 0) > step:
                break
            kept.append(line)
        write_text(self._path, "".join(kept) or self._header)
