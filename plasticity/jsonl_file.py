"""Records on disk as they come: a header line, then one JSON line a question.

While a run goes on, records are appended in the order in which they are done; a last line cut short by a kill is dropped on
resume. When all are there the file is written once more, whole, in the order of the questions. It holds no wall time: a run
that was killed ends with the same bytes as one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar

from spectra.errors import OtherWorkError, SpectraError

T = TypeVar("T")
File = TypeVar("File", bound="RecordFile[Any]")
_START = b'{"header": '


@dataclass(frozen=True, kw_only=True)
class Format(Generic[T]):
    """A kind of file.

    Attributes:
        name, version: stand in its header; a file of another is refused.
        noun: what it holds, for messages (`responses`).
        found_in: what to give where none can be read.
        remake: how to get a new one.
        key: the question of a record.
        encode, decode: record -> JSON and back; `decode` raises KeyError, TypeError or ValueError on what is none.
    """

    name: str
    version: int
    noun: str
    found_in: str
    remake: str
    key: Callable[[T], str]
    encode: Callable[[T], Mapping[str, Any]]
    decode: Callable[[Mapping[str, Any]], T]


def load(path: Path, form: Format[T]) -> tuple[dict[str, Any], list[T]]:
    """Header and records of a file, finished or not.

    Raises:
        SpectraError: missing, another format, or a broken line that is not the last.
    """
    try:
        with path.open("rb") as f:
            header, records, _ = _parse(f, path, form)
    except OSError as error:
        raise SpectraError(
            f"Cannot read {form.noun} {path}: {error.strerror or error}. Give {form.found_in}."
        ) from error
    if header is None:
        raise SpectraError(f"{path} holds no {form.noun}: even its header is cut short. {form.remake}.")
    return header, records


def check_header(path: Path, wanted: Mapping[str, Any]) -> None:
    """Refuse a file that was begun with something else than `wanted` (some entries of a header); reads its first line alone.

    Nothing there, or a header that was cut short, is fine: it will be begun anew.

    Raises:
        OtherWorkError: an entry of `wanted` differs; says which.
    """
    try:
        with path.open("rb") as f:
            found = json.loads(f.readline())["header"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # opening it says what is wrong
    known: Any = json.loads(json.dumps(wanted))
    _refuse_others(path, {key: _like(found.get(key), value) for key, value in known.items()}, known)


def _like(found: Any, wanted: Any) -> Any:
    """An entry of a header with the keys of `wanted` alone, where both are objects."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return {key: _like(found.get(key), value) for key, value in wanted.items()}
    return found


def _refuse_others(path: Path, found: Any, wanted: Any) -> None:
    different = _differences(found, wanted)
    if different:
        raise OtherWorkError(
            f"{path} was begun with another {'; '.join(different)}. Resume with what it was begun with, or delete {path.name} to "
            "make it anew, or choose another folder."
        )


class RecordFile(Generic[T]):
    """The file while it grows; a context manager. One process at a time holds it."""

    def __init__(self, path: Path, form: Format[T], header: Mapping[str, Any], *, resume: bool) -> None:
        """Open for appending; `header` is the one in the file, `records` what an earlier run finished, by question.

        Raises:
            SpectraError: without `resume`, the file exists; not writable.
            OtherWorkError: with `resume`, its header differs.
        """
        self.path = path
        self.records: dict[str, T] = {}
        self._form = form
        self.header: Mapping[str, Any] = json.loads(
            json.dumps({"format": form.name, "version": form.version, **header})
        )
        try:
            if not resume and path.exists() and path.stat().st_size:
                raise SpectraError(f"{path} exists. Resume to go on with it, or delete it, or choose another file.")
            self._file: IO[bytes] = path.open("ab")
        except OSError as error:
            raise self._refuse(error) from error
        try:
            self._lock()
            keep = self._read() if resume else 0
            self._file.truncate(keep)
            if not keep:
                self._write({"header": self.header})
        except OSError as error:
            self._file.close()
            raise self._refuse(error) from error
        except SpectraError:
            self._file.close()
            raise

    def append(self, record: T) -> None:
        """Add a question and hand it to the operating system (it survives a kill of this process)."""
        try:
            self._write(self._form.encode(record))
        except OSError as error:
            raise self._refuse(error) from error
        self.records[self._form.key(record)] = record

    def finish(self, order: Sequence[str]) -> None:
        """Write the file once more, in the order of the questions: whole or not at all."""
        from spectra.atomic import write_text

        lines = [{"header": self.header}, *(self._form.encode(self.records[id_]) for id_ in order)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        if self.path.read_bytes() != text.encode():
            write_text(self.path, text)

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def _refuse(self, error: OSError) -> SpectraError:
        return SpectraError(
            f"Cannot write {self.path}: {error.strerror or error}. What was finished is kept; choose a file in an existing "
            "folder with room that you can write to."
        )

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # no flock on this system: two processes at once are not noticed
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SpectraError(
                f"Another process is writing {self.path}. Wait until it ends, or choose another file."
            ) from error

    def _read(self) -> int:
        """Fill `records`; the length of the intact part in bytes."""
        with self.path.open("rb") as f:
            header, records, length = _parse(f, self.path, self._form)
        if header is not None:
            _refuse_others(self.path, header, self.header)
        self.records = {self._form.key(record): record for record in records}
        return length

    def __enter__(self: File) -> File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _parse(file: IO[bytes], path: Path, form: Format[T]) -> tuple[dict[str, Any] | None, list[T], int]:
    """Header (None: cut short), records, and the length of the intact part in bytes."""
    header: dict[str, Any] | None = None
    records: list[T] = []
    length = 0
    lines = file.readlines()
    if lines and not (lines[0].startswith(_START) or _START.startswith(lines[0])):
        raise SpectraError(f"{path} is no file of {form.noun} of plasticity. Choose another file.")
    for number, line in enumerate(lines):
        try:
            found = json.loads(line)
            if not line.endswith(b"\n"):
                break
            if number == 0:
                header = _header(found["header"], path, form)
            else:
                records.append(form.decode(found))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) - 1:  # cut short by a kill
                break
            raise SpectraError(
                f"Line {number + 1} of {path} cannot be read. Restore the file, or delete it and start over."
            ) from error
        length += len(line)
    return header, records, length


def _header(found: Any, path: Path, form: Format[T]) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise SpectraError(f"{path} is no file of {form.noun} of plasticity. Choose another file.")
    if (found.get("format"), found.get("version")) != (form.name, form.version):
        raise OtherWorkError(
            f"{path} has format {found.get('format')} version {found.get('version')}; this program reads {form.name} version "
            f"{form.version}. {form.remake}."
        )
    return found


def _differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """`options.seed (0 there, 1 here)`, for every entry that differs."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted({*found, *wanted})
        return [d for k in keys for d in _differences(found.get(k), wanted.get(k), f"{name}.{k}".lstrip("."))]
    return [] if found == wanted else [f"{name} ({json.dumps(found)} there, {json.dumps(wanted)} here)"]
