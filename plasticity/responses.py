"""Responses on disk: a header line, then one JSON line a question with all its samples (`jsonl_file` says how it grows)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plasticity import jsonl_file

FORMAT, VERSION = "plasticity.responses", 1


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
    header, answers = jsonl_file.load(path, _FORM)
    return Responses(header=header, answers=tuple(answers))


class ResponseFile(jsonl_file.RecordFile[Answers]):
    """The file while it grows; a context manager. One process at a time holds it."""

    def __init__(self, path: Path, header: Mapping[str, Any], *, resume: bool) -> None:
        """Open for appending; `answers` holds what an earlier run finished.

        Raises:
            SpectraError: without `resume`, the file exists; with it, it is of another model, task or options; not writable.
        """
        super().__init__(path, _FORM, header, resume=resume)

    @property
    def answers(self) -> Mapping[str, Answers]:
        """What is in the file, by question."""
        return self.records


def _record(answers: Answers) -> dict[str, Any]:
    samples = [{"text": r.text, "tokens": r.tokens, "finish": r.finish} for r in answers.responses]
    return {"id": answers.question_id, "responses": samples, "notes": list(answers.notes)}


def _answers(record: Mapping[str, Any]) -> Answers:
    id_ = record["id"]
    responses = tuple(Response(question_id=id_, sample=i, **sample) for i, sample in enumerate(record["responses"]))
    return Answers(question_id=id_, responses=responses, notes=tuple(record["notes"]))


_FORM = jsonl_file.Format(
    name=FORMAT, version=VERSION, noun="responses", found_in="the responses.jsonl of an evaluation",
    remake="Generate the responses again", key=lambda answers: answers.question_id, encode=_record, decode=_answers,
)  # fmt: skip
