"""Finished rows on disk while an analysis runs, one JSON line each, so that an interrupted run can go on.

The file stands beside the output (`analysis.json.partial.jsonl`) and is deleted when the output is written. Its first line names
the checkpoint and the options; a journal of another checkpoint or other options is refused. A last line cut short
by a kill is dropped.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from spectra.errors import SpectraError


def journal_path(out: Path) -> Path:
    """Where the journal of an output stands."""
    return out.with_name(out.name + ".partial.jsonl")


class Journal:
    """Append-only record of finished work. Use as a context manager."""

    def __init__(self, path: Path, header: Mapping[str, Any], *, resume: bool) -> None:
        """Open for appending; with `resume`, `records` holds what an earlier run finished.

        Raises:
            SpectraError: resuming from a journal of another checkpoint or other options, or the path is not writable.
        """
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        keep = 0
        if resume and path.exists():
            keep = self._read(header)
        try:
            if keep:
                with path.open("r+b") as f:
                    f.truncate(keep)
            else:
                path.write_text(json.dumps({"header": dict(header)}) + "\n", encoding="utf-8")
            self._file: IO[str] = path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._refuse(error) from error

    def _refuse(self, error: OSError) -> SpectraError:
        return SpectraError(
            f"Cannot write {self.path}: {error.strerror or error}. What was finished is kept; choose an --out in a folder "
            "with room that you can write to."
        )

    def _read(self, header: Mapping[str, Any]) -> int:
        """Fill `records`; the length of the intact part in bytes (0: nothing usable)."""
        length = 0
        with self.path.open("rb") as f:
            for number, line in enumerate(f):
                try:
                    record = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                if number == 0:
                    found = record.get("header") if isinstance(record, dict) else None
                    if not isinstance(found, dict):
                        raise SpectraError(
                            f"--resume: {self.path} is no journal of spectra analyze. Delete it and start over."
                        )
                    self._check(found, header)
                else:
                    self.records.append(record)
                length += len(line)
        return length

    def _check(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(dict(wanted)))
        different = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        if different:
            raise SpectraError(
                f"--resume: {self.path} was begun with another {', '.join(different)}. "
                "Use the same checkpoint and options, or run without --resume to start over."
            )

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record and hand it to the operating system (it survives a kill of this process)."""
        line = json.dumps(record, allow_nan=False) + "\n"
        try:
            with self._lock:
                self._file.write(line)
                self._file.flush()
        except OSError as error:
            raise self._refuse(error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk was reported by append
            self._file.close()
