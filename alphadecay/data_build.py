"""Texts to token files: clean, split, tokenise in batches, shuffle the training documents; memory does not grow with the text.

Files of a split: `<split>.tokens` (ids, documents one after the other, EOS after each), `<split>.starts.npy` (documents + 1,),
`<split>.sources.npy` (documents,), the index of each document in the source.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from spectra.errors import SpectraError

from .data_config import DataConfig
from .data_tokenizer import Encoder
from .data_windows import permutation, token_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_BATCH_DOCUMENTS = 1024
_BATCH_CHARACTERS = 2_000_000
_SHUFFLE_TOKENS = 4_000_000
_MESSAGE_S = 3.0


@dataclass(kw_only=True)
class Tally:
    """What became of the documents read from one split of a source."""

    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    repaired: int = 0  # lone surrogates replaced
    characters: int = 0

    def drop(self, reason: str) -> None:
        """Count a document that is left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document of a source: `index` counts all of them from 0; `dropped`: why it is left out (its text is then "")."""

    index: int
    text: str
    dropped: str | None = None
    repaired: bool = False


def clean(values: Iterable[object], source: str) -> Iterator[Document]:
    """The documents of a source; null and blank ones marked as dropped, lone surrogates replaced.

    Raises:
        SpectraError: a value that is neither text nor null.
    """
    for index, value in enumerate(values):
        if value is None or (isinstance(value, str) and not value.strip()):
            yield Document(index=index, text="", dropped="null" if value is None else "empty")
            continue
        if not isinstance(value, str):
            raise SpectraError(
                f"Row {index + 1} of {source}: the text field holds a {type(value).__name__}, expected text. Set data.text_field."
            )
        try:
            value.encode()
        except UnicodeEncodeError:
            repaired = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            yield Document(index=index, text=repaired, repaired=True)
        else:
            yield Document(index=index, text=value)


def held_out(text: str, config: DataConfig) -> bool:
    """Whether a document belongs to the validation share: by a hash of its text and the seed, so equal texts go together."""
    found = hashlib.blake2b(text.encode(), digest_size=8, salt=config.seed.to_bytes(16, "little")).digest()
    return int.from_bytes(found, "little") < int(config.validation * 2**64)


class SplitWriter:
    """Appends documents to the files of one split."""

    def __init__(self, path: Path, config: DataConfig, dtype: np.dtype[Any], eos: int) -> None:
        """`path`: without suffix."""
        self.path, self._dtype, self._eos = path, dtype, eos
        self._limit = config.window if config.packing == "document" else None
        self._file: IO[bytes] = path.with_suffix(".tokens").open("wb")
        self._starts, self._sources = array("q", [0]), array("q")
        self.cut_tokens = 0

    @property
    def n_tokens(self) -> int:
        """Tokens written."""
        return self._starts[-1]

    def add(self, index: int, ids: list[int]) -> None:
        """Append a document and its EOS; one longer than a window is cut (without EOS: it does not end there) when each
        window is one document."""
        ids = [*ids, self._eos]
        if self._limit is not None and len(ids) > self._limit:
            self.cut_tokens += len(ids) - self._limit
            ids = ids[: self._limit]
        self._file.write(np.array(ids, dtype=self._dtype).tobytes())
        self._starts.append(self._starts[-1] + len(ids))
        self._sources.append(index)

    def discard(self) -> None:
        """Close the file; without `close` before it, the split is of no use."""
        self._file.close()

    def close(self, shuffle: tuple[int, ...] | None) -> None:
        """Write the index files; `shuffle`: the key of the permutation in which the documents are put first."""
        self._file.close()
        starts, sources = np.array(self._starts, dtype="<i8"), np.array(self._sources, dtype="<i8")
        if shuffle is not None and len(sources):
            chosen = permutation(len(sources), *shuffle)
            self._reorder(chosen, starts)
            starts = np.concatenate([[0], np.cumsum(np.diff(starts)[chosen])]).astype("<i8")
            sources = sources[chosen]
        np.save(self.path.with_suffix(".starts.npy"), starts)
        np.save(self.path.with_suffix(".sources.npy"), sources)

    def _reorder(self, chosen: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> None:
        path = self.path.with_suffix(".tokens")
        sorted_path = self.path.with_suffix(".unsorted")
        path.rename(sorted_path)
        tokens = np.memmap(sorted_path, dtype=self._dtype, mode="r")
        with path.open("wb") as out:
            held, size = [], 0
            for i in chosen.tolist():
                held.append(tokens[starts[i] : starts[i + 1]])
                size += int(starts[i + 1] - starts[i])
                if size >= _SHUFFLE_TOKENS:
                    out.write(np.concatenate(held).tobytes())
                    held, size = [], 0
            if held:
                out.write(np.concatenate(held).tobytes())
        del tokens, held
        sorted_path.unlink()


class Builder:
    """Tokenises the splits of one corpus into a folder. A context manager: leaving it closes the files, whatever happened."""

    def __init__(
        self,
        folder: Path,
        config: DataConfig,
        tokenizer: PreTrainedTokenizerFast,
        vocab_size: int,
        say: Callable[[str], None],
    ) -> None:
        """`tokenizer` has an EOS."""
        self.config, self._say = config, say
        self._encode = Encoder(tokenizer)
        dtype, eos = token_dtype(vocab_size), int(tokenizer.eos_token_id)
        self.train = SplitWriter(folder / "train", config, dtype, eos)
        self.validation = SplitWriter(folder / "validation", config, dtype, eos)
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        """Nothing to do: the files are open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self.train.discard()
        self.validation.discard()

    def run(
        self,
        documents: Iterator[Document],
        tally: Tally,
        side: Callable[[str], SplitWriter],
        limit: tuple[SplitWriter, int] | None,
    ) -> None:
        """Tokenise documents into the split that `side` names, until the writer in `limit` has its number of tokens.

        Documents behind the one that reaches the limit do not count as read.
        """
        for batch in _batches(documents):
            for document, ids in zip(batch, self._encode([d.text for d in batch]), strict=True):
                tally.read += 1
                tally.repaired += document.repaired
                if document.dropped or not ids:
                    tally.drop(document.dropped or "no tokens")
                    continue
                side(document.text).add(document.index, ids)
                tally.kept += 1
                tally.characters += len(document.text)
                if limit is not None and limit[0].n_tokens >= limit[1]:
                    return
            self._progress(tally)

    def _progress(self, tally: Tally) -> None:
        if time.monotonic() - self._told >= _MESSAGE_S:
            self._told = time.monotonic()
            self._say(f"tokenised {self.train.n_tokens:,} training tokens; {tally.read:,} documents read")

    def close(self) -> None:
        """Finish both splits; the training documents are shuffled by the seed."""
        self.train.close((2, self.config.seed))
        self.validation.close(None)


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Batches bounded in documents and characters."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if len(batch) >= _BATCH_DOCUMENTS or size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
