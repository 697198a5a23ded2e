"""`open_checkpoint`: what the user named, and the reader for it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.checkpoint.base import Checkpoint
from spectra.checkpoint.float8 import wrap_float8
from spectra.checkpoint.folder import TORCH_SUFFIXES, Folder, LocalFolder, choose
from spectra.checkpoint.gguf_reader import open_gguf
from spectra.checkpoint.memory import module_part, state_dict_part
from spectra.checkpoint.mxfp4 import wrap_mxfp4
from spectra.checkpoint.parts import Description, PartsCheckpoint
from spectra.checkpoint.reading import file_errors, file_size, load_json, read_bytes
from spectra.checkpoint.safetensors_reader import SafetensorsPart
from spectra.checkpoint.sharded import open_index, open_parts
from spectra.checkpoint.torch_pickle import open_torch
from spectra.errors import CheckpointError

if TYPE_CHECKING:
    import torch

_HUB_ID = re.compile(r"^(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?:@(?P<revision>[\w./-]+))?$", re.ASCII)
_BARE_NAME = re.compile(r"^[\w][\w.-]*(@[\w./-]+)?$", re.ASCII)
_SUPPORTED = "safetensors, torch.save files (.bin, .pt, .pth, .ckpt), GGUF, PEFT LoRA adapters"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `open_checkpoint` was asked for; see there."""

    source: str
    base: str | None = None
    config: Mapping[str, Any] | None = None
    progress: Callable[[str], None] | None = None


def open_checkpoint(
    source: str | os.PathLike[str] | torch.nn.Module | Mapping[str, Any],
    *,
    base: str | None = None,
    config: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Open a checkpoint for reading; only its headers are read.

    `source`: a file or folder in any of the supported formats, a hub id `org/name[@revision]`, a live module, or a
    state dict. `base`: the checkpoint a LoRA adapter belongs to; the tensors are then those of the base with the
    adapter merged in. `config`: used in place of the checkpoint's config.json. `progress`: called with a sentence
    when something slow begins. torch is imported only for torch files, modules and tensors.

    Raises:
        CheckpointError: the source cannot be used; the message says what was got, what was expected and what to do.
    """
    if isinstance(source, str | os.PathLike):
        text = os.fsdecode(source)
        if not text:
            raise CheckpointError("the name of the checkpoint is empty; expected a path or a hub id.")
        request = Request(source=text, base=base, config=config, progress=progress)
        opened = _open_named(request)
        if base is not None and opened.format != "lora":
            raise CheckpointError(
                f"{text}: is no LoRA adapter but a whole checkpoint in {opened.format} format; leave out the base '{base}'."
            )
        return opened
    if base is not None:
        raise CheckpointError(f"a base ('{base}') goes with a LoRA adapter on disk only; leave it out.")
    return _wrapped(_open_object(source, config))


def _open_object(source: object, config: Mapping[str, Any] | None) -> Checkpoint:
    """A live module or a state dict."""
    torch_module = sys.modules.get("torch")
    if torch_module is not None and isinstance(source, torch_module.nn.Module):
        part, own = module_part(source)
        name = type(source).__name__
        return PartsCheckpoint(
            Description(source=name, format="module", config=own if config is None else config), [part]
        )
    if isinstance(source, Mapping):
        description = Description(source="state dict", format="state_dict", config=config or {})
        return PartsCheckpoint(description, [state_dict_part(source)])
    raise CheckpointError(
        f"cannot open an object of type {type(source).__name__}; expected a path, a hub id, a torch.nn.Module or a "
        "state dict."
    )


def _open_named(request: Request) -> Checkpoint:
    """A path if there is one of that name, else a hub id."""
    source = request.source
    with file_errors(source):
        path = Path(source).expanduser() if source.startswith("~") else Path(source)
        is_folder = path.is_dir()
        exists = is_folder or path.exists()
    if is_folder:
        return open_folder(LocalFolder(path, source), request)
    if exists:
        return _open_file(path, request)
    match = _HUB_ID.match(source)
    if match and not source.endswith((*TORCH_SUFFIXES, ".safetensors", ".gguf", ".json")):
        from spectra.checkpoint.hub import open_hub_folder

        folder = open_hub_folder(match["repo"], match["revision"], request.progress)
        return open_folder(folder, request)
    hint = "; a hub id looks like org/name" if _BARE_NAME.match(source) else "; check the path"
    raise CheckpointError(f"{source}: no such file or directory{hint}.")


def open_folder(folder: Folder, request: Request) -> Checkpoint:
    """The model of a folder, local or remote; `folder.choose` says which files that is."""
    choice = choose(folder)
    if choice.kind == "lora":
        from spectra.checkpoint.lora import open_lora

        base = open_checkpoint(request.base, progress=request.progress) if request.base is not None else None
        return open_lora(folder, choice.names[0], base, request.config)
    config = request.config if request.config is not None else folder_config(folder)
    if choice.kind == "gguf":
        for name in choice.names[1:]:
            folder.fetch(name)
        opened = open_gguf(folder.fetch(choice.names[0]), folder.file_label(choice.names[0]), request.config)
        opened.details = {**opened.details, **folder.details}
        return opened
    kind = "torch" if choice.kind in ("torch", "torch_index") else "safetensors"
    description = Description(source=request.source, format=kind, config=config, details=folder.details)
    if choice.kind in ("safetensors_index", "torch_index"):
        return _wrapped(open_index(folder, choice.names[0], kind, description, request.progress))
    return _wrapped(PartsCheckpoint(description, open_parts(folder, list(choice.names), kind, request.progress)))


def folder_config(folder: Folder) -> Mapping[str, Any]:
    """config.json of a folder, or {}."""
    if "config.json" not in folder.files:
        return {}
    return load_json(folder.fetch("config.json"), folder.file_label("config.json"))


def _open_file(path: Path, request: Request) -> Checkpoint:
    """One file, by its extension, else by its first bytes; config.json is looked for beside it."""
    label = request.source
    kind = _kind_of(path, label)
    if kind == "gguf":
        return open_gguf(path, label, request.config)
    with file_errors(label):
        folder = LocalFolder(path.parent, label[: len(label) - len(path.name)].rstrip("/") or ".")
    if path.name in ("adapter_model.safetensors", "adapter_model.bin") and "adapter_config.json" in folder.files:
        return open_folder(folder, request)
    config = request.config if request.config is not None else folder_config(folder)
    details: dict[str, Any] = {}
    if re.search(r"-\d{5}-of-\d{5}\.", path.name):
        details["note"] = f"{path.name} is one shard of several; name its folder for the whole model"
    if kind.endswith("_index"):
        kind = kind.removesuffix("_index")
        description = Description(source=label, format=kind, config=config)
        return _wrapped(open_index(folder, path.name, kind, description, request.progress))
    description = Description(source=label, format=kind, config=config, details=details)
    part = SafetensorsPart(path, label) if kind == "safetensors" else open_torch(path, label)
    return _wrapped(PartsCheckpoint(description, [part]))


def _kind_of(path: Path, label: str) -> str:
    """`safetensors`, `torch`, `gguf`, `safetensors_index` or `torch_index`."""
    name = path.name.lower()
    if name.endswith(".index.json"):
        return "safetensors_index" if name.endswith(".safetensors.index.json") else "torch_index"
    if name.endswith(".safetensors"):
        return "safetensors"
    if name.endswith(".gguf"):
        return "gguf"
    size = file_size(path, label)
    start = read_bytes(path, 0, min(size, 9), label)
    if start[:4] == b"GGUF":
        return "gguf"
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8:
        return "safetensors"
    if name.endswith(TORCH_SUFFIXES) or start[:4] == b"PK\x03\x04":
        return "torch"
    if name.endswith(".distcp"):
        raise CheckpointError(
            f"{label}: is one rank's shard of a distributed checkpoint; convert its folder to one file: "
            "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt"
        )
    raise CheckpointError(f"{label}: unknown kind of file (it starts with {start!r}); supported: {_SUPPORTED}.")


def _wrapped(checkpoint: Checkpoint) -> Checkpoint:
    """Tensors stored as low-precision values plus scales, presented as what they stand for."""
    return wrap_mxfp4(wrap_float8(checkpoint))
