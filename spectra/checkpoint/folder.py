"""A folder of files, on disk or on the hub, and which of its files are the model.

`choose` decides from the names alone, so that a hub repository is chosen from exactly as a local folder is.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from spectra.checkpoint.parts import Part
from spectra.checkpoint.reading import file_errors, some
from spectra.checkpoint.safetensors_reader import SafetensorsPart
from spectra.errors import CheckpointError

Kind = Literal["lora", "safetensors_index", "safetensors", "torch_index", "torch", "gguf"]

TORCH_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
# What trainers write beside a model; never its weights.
_NOT_WEIGHTS = re.compile(
    r"^(optimizer.*|scheduler.*|scaler.*|rng_state.*|training_args|random_states.*|trainer_state.*|args)"
    r"\.(pt|pth|bin|ckpt|pkl|safetensors)$"
)
_SHARD = re.compile(r"^(?P<stem>.+)-(?P<part>\d{5})-of-(?P<of>\d{5})(?P<suffix>\.\w+)$")
_TRAINING_STEP = re.compile(r"^(checkpoint|step|global_step)[-_]?(\d+)")


class Folder(ABC):
    """Files by name.

    Attributes:
        label: how messages name the folder.
        files: name -> bytes, of the files directly in it.
        folders: names of the folders in it.
        details: for provenance (revision, commit).
    """

    label: str
    files: Mapping[str, int]
    folders: tuple[str, ...]
    details: Mapping[str, Any]

    @abstractmethod
    def fetch(self, name: str) -> Path:
        """Path of a file on this machine, fetched first if need be.

        Raises:
            CheckpointError: no such file, or it cannot be fetched.
        """

    def file_label(self, name: str) -> str:
        """How messages name a file of the folder."""
        return f"{self.label.rstrip('/')}/{name}"

    def safetensors(self, name: str) -> Part:
        """A safetensors file of the folder; a remote one may be fetched when its first tensor is read."""
        return SafetensorsPart(self.fetch(name), self.file_label(name))


class LocalFolder(Folder):
    """A folder on disk."""

    def __init__(self, path: Path, label: str, details: Mapping[str, Any] | None = None) -> None:
        self.label = label
        self.details = details or {}
        self._path = path
        files: dict[str, int] = {}
        folders: list[str] = []
        with file_errors(label):
            for entry in sorted(path.iterdir()):
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_file():  # follows links: a hub cache is made of links into ../../blobs
                    files[entry.name] = entry.stat().st_size
                elif entry.is_symlink():
                    files[entry.name] = 0  # a broken link: named, and an error once it is opened
        self.files = files
        self.folders = tuple(folders)

    def fetch(self, name: str) -> Path:
        return self._path / name

    def holds(self, folder: str, suffix: str) -> bool:
        """Whether a subfolder has a file with this suffix."""
        try:
            return any(entry.suffix == suffix for entry in (self._path / folder).iterdir())
        except OSError:
            return False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which files are the model; for an index, the index file."""

    kind: Kind
    names: tuple[str, ...]


def check_shard_name(name: str, index: str) -> None:
    """Refuse a path in an index that leads out of the folder. Links are fine: only the text is checked.

    Raises:
        CheckpointError: absolute, with `..`, or not a path at all.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise CheckpointError(
            f"{index}: names the shard {name!r}, which lies outside the folder of the index; expected a file beside it."
        )


def choose(folder: Folder) -> Choice:
    """The files that hold the model.

    Raises:
        CheckpointError: none, several candidates, or shards missing; says what to do.
    """
    names = [name for name in folder.files if not _NOT_WEIGHTS.match(name)]
    adapter = [name for name in ("adapter_model.safetensors", "adapter_model.bin") if name in names]
    if "adapter_config.json" in names and adapter:
        return Choice(kind="lora", names=(adapter[0],))
    names = [name for name in names if name not in adapter]
    found = (
        _index(names, "model", ".safetensors", "safetensors_index", folder.label)
        or _files(names, "model.safetensors", (".safetensors",), "safetensors", folder.label)
        or _index(names, "pytorch_model", ".bin", "torch_index", folder.label)
        or _files(names, "pytorch_model.bin", (), "torch", folder.label)
        or _files(names, "", (".gguf",), "gguf", folder.label)
        or _files(names, "", TORCH_SUFFIXES, "torch", folder.label)
    )
    if found is None and adapter:
        raise CheckpointError(
            f"{folder.file_label(adapter[0])}: has no adapter_config.json beside it, which says how the adapter is scaled."
        )
    if found is None:
        raise _nothing(folder)
    return found


def _index(names: list[str], stem: str, suffix: str, kind: Kind, label: str) -> Choice | None:
    """The index of a sharded checkpoint."""
    ending = f"{suffix}.index.json"
    if stem + ending in names:
        return Choice(kind=kind, names=(stem + ending,))
    found = [name for name in names if name.endswith(ending)]
    if len(found) > 1:
        raise _several(found, label)
    return Choice(kind=kind, names=tuple(found)) if found else None


def _files(names: list[str], usual: str, suffixes: tuple[str, ...], kind: Kind, label: str) -> Choice | None:
    """The file with the usual name, else the only file with one of the suffixes, else one complete set of shards."""
    if usual in names:
        return Choice(kind=kind, names=(usual,))
    found = [name for name in names if name.endswith(suffixes)] if suffixes else []
    sets: dict[tuple[str, str, str], list[str]] = {}
    for name in found:
        match = _SHARD.match(name)
        key = (match["stem"], match["of"], match["suffix"]) if match else (name, "", "")
        sets.setdefault(key, []).append(name)
    if len(sets) > 1:
        raise _several(found, label)
    for (stem, total, suffix), members in sets.items():
        if total:
            expected = [f"{stem}-{part:05d}-of-{total}{suffix}" for part in range(1, min(int(total), 10_000) + 1)]
            missing = [name for name in expected if name not in members]
            if missing:
                raise CheckpointError(
                    f"{label}: {len(missing)} of {int(total)} shards are missing ({some(missing)}); download them again."
                )
        return Choice(kind=kind, names=tuple(sorted(members)))
    return None


def _several(found: list[str], label: str) -> CheckpointError:
    return CheckpointError(
        f"{label}: several files could be the model ({some(sorted(found), 8)}); name one of them instead of the folder."
    )


def _nothing(folder: Folder) -> CheckpointError:
    """Why a folder without weights has none, and what to do."""
    expected = "expected model.safetensors, pytorch_model.bin, *.gguf, or an adapter"
    shards = [name for name in folder.files if name.endswith(".distcp")]
    if isinstance(folder, LocalFolder):
        shards += [sub for sub in folder.folders if folder.holds(sub, ".distcp")]
    if shards:
        return CheckpointError(
            f"{folder.label}: holds a distributed checkpoint of torch ({some(shards, 2)}), which is sharded by rank; convert "
            "it to one file: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt"
        )
    steps = [(int(match[2]), sub) for sub in folder.folders if (match := _TRAINING_STEP.match(sub))]
    if steps:
        newest = folder.file_label(max(steps)[1])
        return CheckpointError(
            f"{folder.label}: holds no weights itself, but {len(steps)} checkpoints of a training run; name one of them, "
            f"such as the newest, {newest}."
        )
    state = [name for name in folder.files if name.startswith("optimizer") and _NOT_WEIGHTS.match(name)]
    if state:
        return CheckpointError(
            f"{folder.label}: holds an optimizer's state ({state[0]}) but no weights; {expected}: name the folder that "
            "the model was saved to."
        )
    if "adapter_config.json" in folder.files:
        return CheckpointError(
            f"{folder.label}: has adapter_config.json, but neither adapter_model.safetensors nor adapter_model.bin; save "
            "or download the adapter again."
        )
    if not folder.files and not folder.folders:
        return CheckpointError(f"{folder.label}: is an empty folder; {expected}.")
    listed = some([*folder.files, *(f"{sub}/" for sub in folder.folders)], 8)
    return CheckpointError(f"{folder.label}: holds no weights (it has {listed}); {expected}.")
