"""Which checkpoint a result is of: hashes of its weights, configuration and tokenizer, its commit on the hub, its fine-tuning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity.adapters import base_of
from plasticity.trained import PROMPT_CHECK, check_prompts, prompt_check, trained

if TYPE_CHECKING:
    from plasticity.base_model import BaseModel

__all__ = [
    "PROMPT_CHECK", "check_prompts", "config_files", "files", "header", "identity", "origin", "prompt_check", "tokenizer_hash",
    "trained", "weight_files",
]  # fmt: skip

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_NOT_WEIGHTS = ("optimizer", "scheduler", "rng_state", "scaler", "training_args")
_CONFIGS = ("config.json", "generation_config.json", "adapter_config.json")


def identity(base: BaseModel) -> dict[str, Any]:
    """What names a checkpoint in a result.

    `weights_sha256`, `config_sha256`: as `files`; None for a hub id, which `revision` names. `tokenizer_sha256`: over vocabulary,
    merges and normalisation. `base`: the same of the checkpoint beneath an adapter. `served`: a server has the model;
    then the files here are only said to be the same (`verified` is false).
    """
    here = base.model is not None
    return {
        **origin(base),
        "parameters": sum(p.numel() for p in base.model.parameters()) if here else None,
        "served": not here,
        "verified": here,
        "trained": trained(base.source),
    }


def origin(base: BaseModel, *, weights: bool = True) -> dict[str, Any]:
    """The part of `identity` that says which files a checkpoint is of; `weights` False: it has none of theirs."""
    found = {
        "source": base.source,
        **files(base.source),
        "tokenizer_sha256": tokenizer_hash(base.tokenizer),
        "revision": base.revision,
        "base": None
        if base.base is None
        else {"source": base.base, **files(base.base), "revision": base.base_revision},
    }
    return found if weights else found | {"weights_sha256": None}


def header(known: Mapping[str, Any]) -> dict[str, Any]:
    """What of an `identity` must be equal for responses to go into one file: not its names and places.

    Resume compares it, and refuses where any of it differs.
    """
    base = known["base"]
    return {
        "weights": known["weights_sha256"],
        "config": known["config_sha256"],
        "tokenizer": known["tokenizer_sha256"],
        "revision": known["revision"],
        "base": None if base is None else [base["weights_sha256"], base["config_sha256"], base["revision"]],
    }


def files(source: str) -> dict[str, str | None]:
    """SHA-256 over names and contents of a checkpoint's files, an adapter's with its base's; None where there are none.

    `weights_sha256`: its weight files; `config_sha256`: what says how they are used (config.json, generation_config.json,
    adapter_config.json, indices of shards). A GGUF file is both, and is hashed once.
    """
    path = Path(source).expanduser()
    if not path.exists():
        return {"weights_sha256": None, "config_sha256": None}
    return {"weights_sha256": _hash(weight_files(path)), "config_sha256": _hash(config_files(path))}


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of what decides the ids: the fast tokenizer whole, else its vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    text = backend.to_str() if backend is not None else json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def weight_files(path: Path) -> list[Path]:
    """The weight files of a checkpoint folder or file, and of an adapter's base where that is local too."""
    if path.is_file():
        return [path]
    found = [
        file
        for file in sorted(path.iterdir())
        if file.suffix in WEIGHTS and not file.name.startswith(_NOT_WEIGHTS) and file.is_file()
    ]
    base = base_of(path)
    return found + (weight_files(Path(base)) if base is not None and Path(base).exists() else [])


def config_files(path: Path) -> list[Path]:
    """The files that say how the weights are used, in a checkpoint folder and in a local base of an adapter."""
    if path.is_file():
        return []
    found = [
        file
        for file in sorted(path.iterdir())
        if (file.name in _CONFIGS or file.name.endswith(".index.json")) and file.is_file()
    ]
    base = base_of(path)
    return found + (config_files(Path(base)) if base is not None and Path(base).exists() else [])


def _hash(found: Iterable[Path]) -> str | None:
    digest, any_ = hashlib.sha256(), False
    for file in found:
        any_ = True
        with file.open("rb") as f:
            digest.update(f"{file.name} {hashlib.file_digest(f, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest() if any_ else None
