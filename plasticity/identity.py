"""Which checkpoint a result is of: hashes of its weights and tokenizer, its commit on the hub, the run it was fine-tuned in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.base_model import BaseModel
    from plasticity.tasks.base import Task

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_NOT_WEIGHTS = ("optimizer", "scheduler", "rng_state", "scaler", "training_args")
PROMPT_CHECK = "prompt_check"


def identity(base: BaseModel) -> dict[str, Any]:
    """What names a checkpoint in a result.

    `weights_sha256`: over the names and contents of its weight files (an adapter's and its base's); None for a hub id, which
    `revision` names. `tokenizer_sha256`: over vocabulary, merges and normalisation.
    """
    path = Path(base.source).expanduser()
    config = getattr(base.model, "config", None)
    return {
        "source": base.source,
        "weights_sha256": _hash(weight_files(path)) if path.exists() else None,
        "tokenizer_sha256": tokenizer_hash(base.tokenizer),
        "revision": getattr(config, "_commit_hash", None),
        "parameters": sum(p.numel() for p in base.model.parameters()) if base.model is not None else None,
        "trained": trained(path),
    }


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
    adapter = path / "adapter_config.json"
    if adapter.is_file():
        base = Path(str(json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")))
        found += weight_files(base) if base.exists() else []
    return found


def trained(path: Path) -> dict[str, Any] | None:
    """What the run folder around a checkpoint of `plasticity finetune` says it was trained on; None where there is none."""
    run = path.parent if path.is_dir() else path
    try:
        config = json.loads((run / "finetune.json").read_text(encoding="utf-8"))
        data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    report = data.get("task") or {}
    return {
        "task": config.get("task"),
        "task_version": report.get("version"),
        "base": config.get("model"),
        "from_scratch": config.get("from_scratch"),
        "lora_rank": (config.get("lora") or {}).get("rank"),
        "seed": (config.get("train") or {}).get("seed"),
        "examples": data.get("examples"),
        "overlap_with_test": report.get("overlap"),
        "fingerprint": data.get("fingerprint"),
        PROMPT_CHECK: data.get(PROMPT_CHECK),
    }


def prompt_check(task: Task, question: str, tokenizer: Any) -> dict[str, Any]:
    """What a fine-tuning run notes of its prompts: one question, and the ids it became."""
    from plasticity.tasks.encoding import prompt_ids

    return {"question": question, "ids": list(prompt_ids(task, question, tokenizer))}


def check_prompts(task: Task, tokenizer: Any, known: Mapping[str, Any] | None) -> None:
    """Assert that a question of the fine-tuning run becomes the same prompt ids now as it did then.

    Raises:
        SpectraError: it does not: template or tokenizer have changed since, and scores would be of another model's prompts.
    """
    check = (known or {}).get(PROMPT_CHECK)
    if not check or (known or {}).get("task") != task.header.name:
        return
    now = prompt_check(task, check["question"], tokenizer)["ids"]
    if now != check["ids"]:
        raise SpectraError(
            f"The checkpoint was fine-tuned on {task.header.name} with other prompts than it would be evaluated with: its first "
            f"training question was {len(check['ids'])} tokens ({_head(check['ids'])}) and is {len(now)} now ({_head(now)}). "
            "Evaluate it with the tokenizer and the task version that it was trained with."
        )


def _head(ids: Iterable[int]) -> str:
    shown = list(ids)
    return " ".join(map(str, shown[:6])) + (" ..." if len(shown) > 6 else "")


def _hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as f:
            digest.update(f"{file.name} {hashlib.file_digest(f, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
