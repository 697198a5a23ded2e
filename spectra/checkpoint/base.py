"""What every reader offers: the headers at once, the values one tensor at a time."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spectra.errors import CheckpointError
from spectra.stored import Stored
from spectra.types import TensorInfo


class Checkpoint(ABC):
    """A checkpoint opened for reading; only its headers are in memory.

    Attributes:
        source: what the user named.
        format: `safetensors`, `torch`, `gguf`, `lora`, `module` or `state_dict` (a hub id has the format of its files).
        config: the model's config.json (or what GGUF metadata says in the same names); empty where there is none.
        tensors: every tensor, by name, in file order.
        aliases: tensor -> the tensor whose storage it shares (known without reading values).
        absorbed: tensor -> sentence, for tensors that are folded into the value of others (float8 scales, LoRA
            factors); they are in `tensors` and read() is not called for them.
        details: what provenance should record: revision, quantisation, scaling, DoRA, ...
        files: path -> size in bytes, of the files the tensors come from.
    """

    source: str
    format: str
    config: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]
    aliases: Mapping[str, str]
    absorbed: Mapping[str, str]
    details: Mapping[str, Any]
    files: Mapping[str, int]

    @abstractmethod
    def read(self, name: str, index: int | None = None) -> Stored:
        """The values of one tensor, or of `tensor[index]` without reading the rest.

        The result owns its memory (no memory map: pages of a map count as resident until it is closed).
        Safe to call from several threads.

        Raises:
            CheckpointError: the file is truncated or damaged; names the file and the tensor.
        """

    def header_hash(self) -> str:
        """sha256 over names, shapes, dtypes and file sizes: cheap, and enough to notice another checkpoint."""
        digest = hashlib.sha256()
        for info in self.tensors.values():
            digest.update(f"{info.name}\0{info.shape}\0{info.dtype}\n".encode())
        for name, size in self.files.items():
            digest.update(f"{Path(name).name}\0{size}\n".encode())
        return f"sha256:{digest.hexdigest()}"

    def identity(self) -> str:
        """Tells checkpoints of the same shapes apart: the headers, and the first rows of eight tensors (a hub's commit instead).

        A training run that overwrites its last checkpoint changes it; a copy in another folder does not.
        """
        digest = hashlib.sha256(self.header_hash().encode())
        if "hub_id" in self.details:
            digest.update(str(self.details.get("hub_commit")).encode())
            return digest.hexdigest()
        names = [
            t.name for t in self.tensors.values() if len(t.shape) > 1 and t.shape[0] and t.name not in self.absorbed
        ]
        for name in names[:: max(1, len(names) // 8)]:
            try:
                digest.update(self.read(name, 0).sha256().encode())
            except CheckpointError as error:  # a type that cannot be decoded is skipped by the analysis, too
                digest.update(str(error).encode())
        return digest.hexdigest()

    def close(self) -> None:  # noqa: B027 (most readers hold nothing open)
        """Release files. Reading afterwards is an error of the caller."""
