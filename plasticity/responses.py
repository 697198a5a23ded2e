"""Responses on disk: a header line, then one JSON line a question with all its samples.

While an evaluation runs, questions are appended in the order in which they are done; a last line cut short by a kill is dropped
on resume. When all are there the file is written once more, whole, in the order of the questions. It holds no wall time:
an evaluation that was killed ends with the same bytes as one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from spectra.errors import SpectraError

FORMAT, VERSION = "plasticity.responses", 1
_START = b'{"header": '


@dataclass(frozen=True, kw_only=True)
class Response:
    """One sample.

    Attributes:
        question_id, sample: which question, and which of its samples (0, 1, ...).
        text: without the prompt, the EOS token, special tokens and whatever follows a stop string.
        tokens: tokens generated, EOS included; None where a server does not say.
        finish: `stop` (EOS or a stop string), `length` (token limit), `window` (context full), `too_long` (the prompt did not
            fit: no response), or a server's own word.
    """

    question_id: str
    sample: int
    text: str
    tokens: int | None
    finish: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All samples of one question, in order, and what was odd about them (`identical`, `prompt_tokens ...`)."""

    question_id: str
    responses: tuple[Response, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Responses:
    """A file of responses. `complete`: as many questions as its header says."""

    header: Mapping[str, Any]
    answers: tuple[Answers, ...]

    @property
    def complete(self) -> bool:
        """Whether every question is answered."""
        return len(self.answers) == int(self.header["questions"])


def load_responses(path: Path) -> Responses:
    """Read a file of responses, finished or not.

    Raises:
        SpectraError: missing, another format, or a broken line that is not the last.
    """
    try:
        with path.open("rb") as f:
            header, answers, _ = _parse(f, path)
    except OSError as error:
        raise SpectraError(
            f"Cannot read responses {path}: {error.strerror or error}. Give the responses.jsonl of an evaluation."
        ) from error
    if header is None:
        raise SpectraError(f"{path} holds no responses: even its header is cut short. Run the evaluation again.")
    return Responses(header=header, answers=tuple(answers))


class ResponseFile:
    """The file while it grows; a context manager. One process at a time holds it."""

    def __init__(self, path: Path, header: Mapping[str, Any], *, resume: bool) -> None:
        """Open for appending; `answers` holds what an earlier run finished.

        Raises:
            SpectraError: without `resume`, the file exists; with it, it is of another model, task or options; not writable.
        """
        self.path = path
        self.answers: dict[str, Answers] = {}
        self._header = json.loads(json.dumps({"format": FORMAT, "version": VERSION, **header}))
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
                self._write({"header": self._header})
        except OSError as error:
            self._file.close()
            raise self._refuse(error) from error
        except SpectraError:
            self._file.close()
            raise

    def append(self, answers: Answers) -> None:
        """Add a question and hand it to the operating system (it survives a kill of this process)."""
        try:
            self._write(_record(answers))
        except OSError as error:
            raise self._refuse(error) from error
        self.answers[answers.question_id] = answers

    def finish(self, order: Sequence[str]) -> None:
        """Write the file once more, in the order of the questions: whole or not at all."""
        from spectra.atomic import write_text

        records = [{"header": self._header}, *(_record(self.answers[id_]) for id_ in order)]
        text = "".join(json.dumps(record) + "\n" for record in records)
        if self.path.read_bytes() != text.encode():
            write_text(self.path, text)

    def _write(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
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
        """Fill `answers`; the length of the intact part in bytes."""
        with self.path.open("rb") as f:
            header, answers, length = _parse(f, self.path)
        if header is not None:
            different = _differences(header, self._header)
            if different:
                raise SpectraError(
                    f"{self.path} was begun with another {'; '.join(different)}. Resume with what it was begun with, or "
                    "choose another file."
                )
        self.answers = {a.question_id: a for a in answers}
        return length

    def __enter__(self) -> ResponseFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _record(answers: Answers) -> dict[str, Any]:
    samples = [{"text": r.text, "tokens": r.tokens, "finish": r.finish} for r in answers.responses]
    return {"id": answers.question_id, "responses": samples, "notes": list(answers.notes)}


def _answers(record: Mapping[str, Any]) -> Answers:
    id_ = record["id"]
    responses = tuple(Response(question_id=id_, sample=i, **sample) for i, sample in enumerate(record["responses"]))
    return Answers(question_id=id_, responses=responses, notes=tuple(record["notes"]))


def _parse(file: IO[bytes], path: Path) -> tuple[dict[str, Any] | None, list[Answers], int]:
    """Header (None: cut short), questions, and the length of the intact part in bytes."""
    header: dict[str, Any] | None = None
    answers: list[Answers] = []
    length = 0
    lines = file.readlines()
    if lines and not (lines[0].startswith(_START) or _START.startswith(lines[0])):
        raise SpectraError(f"{path} is no file of responses of plasticity. Choose another file.")
    for number, line in enumerate(lines):
        try:
            record = json.loads(line)
            if not line.endswith(b"\n"):
                break
            if number == 0:
                header = record["header"]
            else:
                answers.append(_answers(record))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) - 1:  # cut short by a kill
                break
            raise SpectraError(
                f"Line {number + 1} of {path} cannot be read. Restore the file, or delete it and start over."
            ) from error
        length += len(line)
    if header is not None and (header.get("format"), header.get("version")) != (FORMAT, VERSION):
        raise SpectraError(
            f"{path} has format {header.get('format')} version {header.get('version')}; this program reads {FORMAT} version "
            f"{VERSION}. Generate the responses again."
        )
    return header, answers, length


def _differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """`options.seed (0 there, 1 here)`, for every entry that differs."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted({*found, *wanted})
        return [d for k in keys for d in _differences(found.get(k), wanted.get(k), f"{name}.{k}".lstrip("."))]
    return [] if found == wanted else [f"{name} ({json.dumps(found)} there, {json.dumps(wanted)} here)"]
