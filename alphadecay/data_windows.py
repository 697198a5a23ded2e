"""Windows over a file of tokens, the order in which an epoch shows them, and which of them a run has seen.

Shapes: n windows of T tokens; the file holds all tokens of one split, document after document, each ended by EOS.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.errors import SpectraError

if TYPE_CHECKING:
    from torch import Tensor

Int64s = npt.NDArray[np.int64]
IGNORED = -100  # the label that torch's cross entropy leaves out


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """How token ids are stored, little-endian: 16 bits where they fit, else 32.

    Raises:
        SpectraError: more ids than 32 bits can tell apart.
    """
    if vocab_size <= 2**16:
        return np.dtype("<u2")
    if vocab_size <= 2**32:
        return np.dtype("<u4")
    raise SpectraError(
        f"The tokenizer has {vocab_size:,} tokens; token files hold at most 2**32. Use a smaller vocabulary."
    )


class Windows:
    """One split as a map-style torch data set: `len`, and item i as a dict of int64 tensors of shape (T,).

    `input_ids`; `labels`, the same ids with -100 on padding (models shift them themselves); `attention_mask`, 1 on tokens
    and 0 on padding. Padding is known by length, never by id, so the label of the EOS that ends a document is kept even
    where pad and EOS are one token. Packed windows are not masked at document borders: attention sees across them.
    The tail of a packed split that fills no window is left out (`tail_tokens`).
    The token file is memory-mapped; only its path travels to data-loader workers.
    """

    def __init__(self, folder: Path, split: str, layout: dict[str, Any]) -> None:
        """`layout`: window, packing, pad_id, dtype, as the manifest of the cache has them."""
        self.window: int = layout["window"]
        self.packing: str = layout["packing"]
        self.pad_id: int = layout["pad_id"]
        self._dtype: str = layout["dtype"]
        self._folder, self._split = folder, split
        self._open()

    def _open(self) -> None:
        path = self._folder / f"{self._split}.tokens"
        self._tokens: npt.NDArray[Any] = (
            np.memmap(path, dtype=np.dtype(self._dtype), mode="r") if path.stat().st_size else np.empty(0, self._dtype)
        )
        self._starts: Int64s = np.load(self._folder / f"{self._split}.starts.npy", mmap_mode="r")  # (documents + 1,)
        self._sources: Int64s = np.load(self._folder / f"{self._split}.sources.npy", mmap_mode="r")  # (documents,)

    def __getstate__(self) -> dict[str, Any]:
        """All but the maps, which would be pickled as copies."""
        return {k: v for k, v in self.__dict__.items() if k not in {"_tokens", "_starts", "_sources"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the files again."""
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._sources) if self.packing == "document" else len(self._tokens) // self.window

    @property
    def n_tokens(self) -> int:
        """Tokens in the split, EOS included, padding and the tail excluded."""
        return len(self._tokens) - self.tail_tokens

    @property
    def tail_tokens(self) -> int:
        """Tokens after the last whole window of a packed split."""
        return 0 if self.packing == "document" else len(self._tokens) % self.window

    @property
    def source_documents(self) -> Int64s:
        """Index in the source (counted from 0, dropped ones included) of every document of the split, as packed."""
        return np.array(self._sources)

    def _span(self, i: int) -> tuple[int, int]:
        n = len(self)
        if not -n <= i < n:
            raise IndexError(f"window {i} of {n}")
        i %= n
        if self.packing == "document":
            return int(self._starts[i]), int(self._starts[i + 1])
        return i * self.window, (i + 1) * self.window

    def tokens(self, i: int) -> Int64s:
        """Window i without padding: at most T ids.

        Raises:
            IndexError: no such window.
        """
        start, end = self._span(i)
        return np.asarray(self._tokens[start:end]).astype(np.int64)

    def documents(self, i: int) -> Int64s:
        """Which source documents stand in window i, in order, whole or in part."""
        start, end = self._span(i)
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, end, side="left"))
        return np.array(self._sources[first:last])

    def pieces(self, i: int) -> tuple[Int64s, Int64s]:
        """Whose tokens window i holds: the source documents in order, (k,), and how many tokens of each, (k,)."""
        start, end = self._span(i)
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, end, side="left"))
        borders = np.clip(self._starts[first : last + 1], start, end)
        return np.array(self._sources[first:last]), np.diff(borders).astype(np.int64)

    def document_hashes(self) -> npt.NDArray[np.uint64]:
        """64 bits of BLAKE2b of each document's tokens, (documents,): equal for documents stored as the same tokens."""
        starts = np.array(self._starts)
        found = (
            hashlib.blake2b(self._tokens[a:b].tobytes(), digest_size=8).digest()
            for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        )
        return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        """Item i, see the class."""
        import torch

        found = self.tokens(int(i))
        ids = np.full(self.window, self.pad_id, dtype=np.int64)
        labels = np.full(self.window, IGNORED, dtype=np.int64)
        mask = np.zeros(self.window, dtype=np.int64)
        ids[: len(found)] = labels[: len(found)] = found
        mask[: len(found)] = 1
        return {
            "input_ids": torch.from_numpy(ids),
            "labels": torch.from_numpy(labels),
            "attention_mask": torch.from_numpy(mask),
        }


def permutation(n: int, *key: int) -> Int64s:
    """A permutation of n that depends on the key alone: the ranks of n raw 64-bit numbers of a Philox stream.

    numpy guarantees bit generators' raw streams over its versions, but not `Generator.permutation`.
    """
    stream = np.random.Philox(np.random.SeedSequence(list(key)))
    return np.argsort(stream.random_raw(n), kind="stable").astype(np.int64)


def order(windows: Windows | int, seed: int, epoch: int) -> Int64s:
    """The order of an epoch: a permutation of the window indices, the same on every machine.

    `windows`: the training windows or their number. Seed and epoch: 0 or more.
    """
    n = windows if isinstance(windows, int) else len(windows)
    return permutation(n, 1, seed, epoch)


def seen(windows: Windows | int, seed: int, batch_size: int, steps: int) -> Int64s:
    """Indices of the windows that the first `steps` optimizer steps of `batch_size` windows each consume, in order.

    Batches follow `order`, epoch by epoch; the windows of an epoch that fill no batch are dropped, so epoch e ends after
    floor(n / batch_size) steps. Beyond the first epoch indices repeat: `numpy.unique` gives the set. Shape (steps x batch_size,).

    Raises:
        SpectraError: a batch is larger than the split.
    """
    n = windows if isinstance(windows, int) else len(windows)
    per_epoch = n // batch_size if batch_size > 0 else 0
    if per_epoch == 0:
        raise SpectraError(
            f"A batch of {batch_size:,} windows cannot be drawn from {n:,} training windows. Use a batch of 1 to {n:,}."
        )
    epochs = [order(n, seed, epoch)[: per_epoch * batch_size] for epoch in range(-(-steps // per_epoch))]
    return np.concatenate([*epochs, np.empty(0, dtype=np.int64)])[: steps * batch_size].astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The distinct windows that a run has consumed, oldest first by the last time each was seen.

    `windows` (m,): indices; `last` (m,): the place in the run of that last time, counted in windows from 0, ascending;
    `times` (m,): how often.
    """

    windows: Int64s
    last: Int64s
    times: Int64s


def last_seen(windows: Windows | int, seed: int, batch_size: int, steps: int) -> Seen:
    """When each window was last seen, and how often, after the first `steps` steps; arguments and errors as `seen`."""
    consumed = seen(windows, seed, batch_size, steps)
    found, from_end, times = np.unique(consumed[::-1], return_index=True, return_counts=True)
    last = len(consumed) - 1 - from_end
    oldest_first = np.argsort(last)
    return Seen(windows=found[oldest_first], last=last[oldest_first], times=times[oldest_first])
