"""Hashes of the questions that a fine-tuning run trained on: an evaluation counts how many of its own are among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plasticity.tasks.report import question_key
from spectra.atomic import write_whole

if TYPE_CHECKING:
    from plasticity.tasks.base import Example, Question

NAME = "train_questions.npy"
SEEN = "questions_seen"
_BYTES = 16  # of a SHA-256: two of a million questions share them with a chance of 1e-27


def write(examples: Iterable[Example], out: Path) -> None:
    """Write the hashes whole: an array (N, 16) of bytes, each question once, in ascending order.

    Raises:
        SpectraError: the folder cannot be written to.
    """
    digests = sorted({_digest(example) for example in examples})
    table = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _BYTES)

    def save(staged: Path) -> None:
        with staged.open("wb") as file:  # np.save would change the name
            np.save(file, table, allow_pickle=False)

    write_whole(out / NAME, save)


def seen(source: str, questions: Iterable[Question]) -> int | None:
    """How many questions the run around a checkpoint trained on; None where its folder has no such hashes."""
    path = Path(source).expanduser().resolve().parent / NAME
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if table.dtype != np.uint8 or table.ndim != 2 or table.shape[1] != _BYTES:
        return None
    known = {row.tobytes() for row in table}
    return sum(_digest(question) in known for question in questions)


def with_seen(trained: Mapping[str, Any] | None, source: str, questions: Iterable[Question]) -> dict[str, Any] | None:
    """What `plasticity.trained.trained` found, with `questions_seen`; None stays None."""
    return None if trained is None else {**trained, SEEN: seen(source, questions)}


def _digest(item: Example | Question) -> bytes:
    return bytes.fromhex(question_key(item))[:_BYTES]
