"""Checkpoints in several files: an index that says which tensor is where, or a complete set of numbered shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from spectra.checkpoint.folder import Folder, check_shard_name
from spectra.checkpoint.parts import Description, Part, PartsCheckpoint
from spectra.checkpoint.reading import encodable, load_json, some
from spectra.checkpoint.torch_pickle import open_torch
from spectra.errors import CheckpointError

Progress = Callable[[str], None] | None


def open_parts(folder: Folder, names: list[str], kind: str, progress: Progress) -> list[Part]:
    """The named files of a folder, each as a part; `kind` is `safetensors` or `torch`."""
    parts: list[Part] = []
    for number, name in enumerate(names, start=1):
        if progress is not None and len(names) > 1:
            progress(f"reading the header of {name} ({number} of {len(names)})")
        if kind == "safetensors":
            parts.append(folder.safetensors(name))
        else:
            parts.append(open_torch(folder.fetch(name), folder.file_label(name)))
    return parts


def open_index(folder: Folder, index: str, kind: str, description: Description, progress: Progress) -> PartsCheckpoint:
    """A checkpoint by its index file. Tensors that are in a shard but not in the index are included, once.

    Raises:
        CheckpointError: the index is malformed, a shard is missing or outside the folder, or a shard lacks a tensor
            that the index promises.
    """
    label = folder.file_label(index)
    weight_map = _weight_map(load_json(folder.fetch(index), label), label)
    shards = list(dict.fromkeys(weight_map.values()))
    for shard in shards:
        check_shard_name(shard, label)
    missing = [shard for shard in shards if "/" not in shard and shard not in folder.files]
    if missing:
        raise CheckpointError(
            f"{label}: {len(missing)} of {len(shards)} shards are missing ({some(missing)}); download them again."
        )
    parts = open_parts(folder, shards, kind, progress)
    by_shard = dict(zip(shards, parts, strict=True))
    for name, shard in weight_map.items():
        if name not in by_shard[shard].tensors and name not in by_shard[shard].details.get("unreadable_tensors", {}):
            raise CheckpointError(
                f"{by_shard[shard].label}: lacks tensor '{name}', which {index} says is there; download the shard and "
                "the index again."
            )
    owners = {name: by_shard[shard].label for name, shard in weight_map.items()}
    return PartsCheckpoint(description, parts, owners)


def _weight_map(index: Mapping[str, object], label: str) -> dict[str, str]:
    """The `weight_map` of an index: tensor -> shard."""
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{label}: expected a 'weight_map' of tensor names to shard files; download it again.")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not encodable(shard) or not encodable(name):
            raise CheckpointError(f"{label}: tensor '{name!a}' maps to {shard!a}, expected the name of a shard file.")
    return dict(weight_map)
