"""Embeddings on disk: a folder a checkpoint, tokenizer and convention; shards of texts, each there whole or not at all.

A text is known by a hash of its token ids, so another seed, limit, grid or task only computes what is not there yet, and a
killed extraction loses at most the shard that it was at. A shard is `NAME.npy`, float32 (L + 1, texts, D), and `NAME.json` with the
keys, written last. Under `$ALPHADECAY_CACHE_DIR/probes`, unless told otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.atomic import write_text, write_whole
from spectra.errors import SpectraError

ABOUT = "about.json"
Floats = NDArray[np.float32]


def default_directory() -> Path:
    """Beside the prepared corpora."""
    from alphadecay import data_cache

    return data_cache.default_directory() / "probes"


class Store:
    """The shards of one folder."""

    def __init__(self, root: Path, address: Mapping[str, Any]) -> None:
        """Open the folder of an address (what embeddings depend on); nothing is written."""
        from alphadecay.data_cache import digest

        self.address = dict(address)
        self.folder = root.expanduser() / digest(self.address)[:32]
        self._where: dict[str, tuple[Floats, int]] = {}
        self.reload()

    def reload(self) -> None:
        """Look again at what is there: another process may have written. A damaged shard is as one that is not there."""
        self._where = {}
        for index in sorted(self.folder.glob("*.json")):
            if index.name != ABOUT:
                self._open(index)

    def _open(self, index: Path) -> None:
        try:
            entry = json.loads(index.read_text(encoding="utf-8"))
            keys = entry["keys"]
            array = np.load(index.with_suffix(".npy"), mmap_mode="r")
        except (OSError, ValueError, KeyError, TypeError):
            return
        if array.ndim == 3 and list(array.shape) == entry.get("shape") and array.shape[1] == len(keys):
            self._where |= {key: (array, column) for column, key in enumerate(keys)}

    def about(self) -> dict[str, Any] | None:
        """What was noted with `put`'s first shard: facts of the model that are only known once it is loaded."""
        try:
            found: dict[str, Any] = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def missing(self, keys: Sequence[str]) -> list[str]:
        """The keys that have no embedding here, each once, in their order."""
        return [key for key in dict.fromkeys(keys) if key not in self._where]

    def note(self, about: Mapping[str, Any]) -> None:
        """Make the folder, and note facts of the model.

        Raises:
            SpectraError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpectraError(
                f"Cannot write the cache of embeddings {self.folder}: {error.strerror or error}. Name another with --cache."
            ) from error
        write_text(self.folder / ABOUT, json.dumps({"address": self.address, **about}, indent=1) + "\n")

    def put(self, keys: Sequence[str], embeddings: Floats) -> None:
        """Add a shard: (L + 1, texts, D), in the order of the keys; whole on disk when this returns."""
        name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]

        def write(staged: Path) -> None:
            with staged.open("wb") as f:
                np.save(f, embeddings, allow_pickle=False)

        write_whole(self.folder / f"{name}.npy", write)
        index = self.folder / f"{name}.json"
        write_text(index, json.dumps({"shape": list(embeddings.shape), "keys": list(keys)}) + "\n")
        self._open(index)

    @property
    def layers(self) -> int:
        """How many layers an embedding has, the embedding layer included."""
        return int(next(iter(self._where.values()))[0].shape[0])

    def layer(self, layer: int, keys: Sequence[str]) -> Floats:
        """Embeddings of the texts at a layer, (texts, D); read from the mapped files."""
        width = next(iter(self._where.values()))[0].shape[2]
        made = np.empty((len(keys), width), dtype=np.float32)
        shards: dict[int, tuple[Floats, list[int], list[int]]] = {}
        for row, key in enumerate(keys):
            array, column = self._where[key]
            _, rows, columns = shards.setdefault(id(array), (array, [], []))
            rows.append(row)
            columns.append(column)
        for array, rows, columns in shards.values():
            made[rows] = array[layer, columns]
        return made
