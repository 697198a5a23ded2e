"""A checkpoint made of files: each file is a Part, and the parts of one model are joined here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spectra.checkpoint.base import Checkpoint
from spectra.errors import CheckpointError
from spectra.stored import Stored
from spectra.types import TensorInfo


class Part(ABC):
    """One file (or one object in memory) that holds tensors.

    Attributes:
        label: how messages and `TensorInfo.file` name it.
        size: bytes; 0 for what is not a file.
        tensors, aliases, details: as in Checkpoint.
    """

    label: str
    size: int
    tensors: Mapping[str, TensorInfo]
    aliases: Mapping[str, str]
    details: Mapping[str, Any]

    @abstractmethod
    def read(self, name: str, index: int | None = None) -> Stored:
        """As Checkpoint.read."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a checkpoint says about itself besides its tensors; the fields are those of Checkpoint."""

    source: str
    format: str
    config: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class PartsCheckpoint(Checkpoint):
    """Tensors of several parts under one roof.

    `owners` says which part (by label) a tensor is read from where an index decides; without it, a tensor
    that appears in two parts is an error.

    Raises:
        CheckpointError: no tensors at all, or one in two parts.
    """

    def __init__(
        self, description: Description, parts: Sequence[Part], owners: Mapping[str, str] | None = None
    ) -> None:
        self.source = description.source
        self.format = description.format
        self.config = description.config
        self.absorbed: Mapping[str, str] = {}
        self.files = {part.label: part.size for part in parts if part.size}
        details: dict[str, Any] = {}
        for part in parts:
            details.update(part.details)
        self.details = {**details, **description.details}
        self._owner: dict[str, Part] = {}
        tensors: dict[str, TensorInfo] = {}
        aliases: dict[str, str] = {}
        for part in parts:
            for name, info in part.tensors.items():
                if not self._takes(name, part, owners):
                    continue
                tensors[name] = info
                self._owner[name] = part
            aliases.update(part.aliases)
        self.tensors = tensors
        # An index may give a tensor and the one it aliases to different shards; such an alias is dropped.
        self.aliases = {
            name: other
            for name, other in aliases.items()
            if name in tensors and other in tensors and self._owner[name] is self._owner[other]
        }
        if not tensors:
            raise CheckpointError(
                f"{self.source}: holds no tensors; expected the weights of a model in {self.format} format."
            )

    def _takes(self, name: str, part: Part, owners: Mapping[str, str] | None) -> bool:
        if owners is not None and name in owners:
            return owners[name] == part.label
        if name not in self._owner:
            return True
        if owners is not None:  # in no index and in two shards: once is enough
            return False
        raise CheckpointError(
            f"{part.label}: tensor '{name}' is also in {self._owner[name].label}; expected every tensor once."
        )

    def read(self, name: str, index: int | None = None) -> Stored:
        if name not in self._owner:
            raise CheckpointError(f"{self.source}: has no tensor '{name}'.")
        return self._owner[name].read(name, index)
