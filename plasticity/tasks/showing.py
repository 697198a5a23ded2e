"""One example of a task, formatted and tokenised, for looking at: what `plasticity tasks NAME` prints."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spectra.errors import SpectraError

from .base import Task
from .encoding import Encoded, encode
from .loading import first_example, load
from .report import LoadReport
from .rows import local_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_DOCUMENTS = 400  # of the embedded corpus, for the tokenizer that stands in for a model's


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One example, and what came of loading the data that it is from.

    Attributes:
        reports: of the splits in `--data`.
        encoded: token ids; None where there is test data alone.
        pieces: the text of every token, of the prompt and of the response.
        source, tokenizer: what they are, in words.
    """

    reports: tuple[LoadReport, ...]
    encoded: Encoded | None
    pieces: tuple[str, ...]
    source: str
    tokenizer: str


def show(task: Task, data: Path | None, tokenizer: str | None) -> Shown:
    """The first training example of `data`, or the task's made-up one; without either, the first of the hub data set.

    Raises:
        SpectraError: as `load` and `encode`; no such tokenizer.
    """
    reports: list[LoadReport] = []
    example, source = None, "made up, in the upstream layout; --data shows yours"
    if data is None and task.sample is not None:
        example = task.example(task.sample, 0)
    elif data is None:
        example, source = first_example(task), "the first of the training data"
    else:
        path = data.expanduser()
        if path.is_file() or local_files(path, task.header, "train"):
            loaded = load(task, "train", path)
            reports.append(loaded.report)
            example, source = loaded.items[0], "the first training row that is kept"
        if path.is_dir() and local_files(path, task.header, "test"):
            reports.append(load(task, "test", path).report)
        if not reports:
            raise SpectraError(
                f"--data {data} has no files of {task.header.name}. Name a file, or files train and test."
            )
    made = _tokenizer(tokenizer)
    named = (
        f"the tokenizer of {tokenizer}" if tokenizer else "a tokenizer of 512 tokens made here; --tokenizer names yours"
    )
    encoded = encode(task, example, made) if example is not None else None
    ids = (*encoded.prompt_ids, *encoded.response_ids) if encoded is not None else ()
    pieces = tuple(_piece(made, token) for token in ids)
    return Shown(reports=tuple(reports), encoded=encoded, pieces=pieces, source=source, tokenizer=named)


def _piece(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """The text of a token; SentencePiece's decoder takes the space off a token by itself, so it is put back."""
    text = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
    spaced = str(tokenizer.convert_ids_to_tokens(token)).startswith("\u2581")
    return f" {text}" if spaced and not text.startswith(" ") else text


def _tokenizer(name: str | None) -> PreTrainedTokenizerBase:
    from alphadecay import corpus, data_tokenizer

    if name is None:
        return data_tokenizer.train_tokenizer(itertools.islice(corpus.documents(0), _DOCUMENTS), 512)
    return data_tokenizer.load_tokenizer(name)
