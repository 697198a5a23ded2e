"""What a checkpoint of `plasticity finetune` was trained on, and whether an evaluation gives it the prompts of its training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.tasks.base import Task

PROMPT_CHECK = "prompt_check"
_TEXT = "Human: What is 12.5% of $1,040?\n\n  \u201cna\u00efve\u201d \u2264 \\frac{1}{3}</s><|endoftext|> \u6570\tAssistant:"
_QUESTION = "QUESTION"


def trained(source: str) -> dict[str, Any] | None:
    """What the run folder around a checkpoint says; None where there is none of `plasticity finetune`."""
    path = Path(source).expanduser().resolve()
    config, data = _object(path.parent / "finetune.json"), _object(path.parent / "data.json")
    if not isinstance(config.get("task"), str) or not isinstance(data.get("examples"), int):
        return None
    report = _inner(data, "task")
    return {
        "task": config["task"],
        "task_version": report.get("version"),
        "base": config.get("model"),
        "base_identity": _inner(data, "base") or None,
        "from_scratch": config.get("from_scratch"),
        "lora_rank": _inner(config, "lora").get("rank"),
        "seed": _inner(config, "train").get("seed"),
        "examples": data["examples"],
        "overlap_with_test": report.get("overlap"),
        "fingerprint": data.get("fingerprint"),
        PROMPT_CHECK: _inner(data, PROMPT_CHECK) or None,
    }


def prompt_check(task: Task, question: str, ids: Sequence[int], tokenizer: Any) -> dict[str, Any]:
    """What a fine-tuning run notes of its prompts.

    Args:
        question: of an example that is trained on.
        ids: its prompt as the model is fed it in training, not made anew.
        tokenizer: the run's.
    """
    return {"question": question, "ids": list(ids), "template": task.prompt(_QUESTION), "text_ids": _ids(tokenizer)}


def check_prompts(task: Task, tokenizer: Any, known: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Assert that an evaluation tokenises as the fine-tuning run did; what else differs is told.

    On the task of the run, its question must become the same prompt ids as it did there. On another task, whose prompts may
    differ, a fixed text must have the same ids.

    Args:
        known: what `trained` found.

    Returns:
        remarks: another template or version than in training.

    Raises:
        SpectraError: template or tokenizer have changed since, and scores would be of another model's prompts.
    """
    from plasticity.tasks.encoding import prompt_ids

    known = known or {}
    check = known.get(PROMPT_CHECK)
    if not isinstance(check, Mapping):
        return ()
    if isinstance(check.get("text_ids"), list) and _ids(tokenizer) != check["text_ids"]:
        raise SpectraError(
            f"The checkpoint was fine-tuned with another tokenizer than it would be evaluated with: a text of {len(_TEXT)} "
            f"characters was {_shown(check['text_ids'])} and is {_shown(_ids(tokenizer))} now. Give it back the tokenizer files of "
            "its run."
        )
    name, now, then = task.header.name, task.header.version, known.get("task_version")
    if known.get("task") != name:
        was, is_ = check.get("template"), task.prompt(_QUESTION)
        differs = isinstance(was, str) and was != is_
        return (
            (f"fine-tuned on {known.get('task')} with the prompt {was!r}, evaluated with {is_!r}",) if differs else ()
        )
    if isinstance(check.get("question"), str) and isinstance(check.get("ids"), list):
        ids = list(prompt_ids(task, check["question"], tokenizer))
        if ids != check["ids"]:
            raise SpectraError(
                f"The checkpoint was fine-tuned on {name} (version {then}) with other prompts than it would be evaluated with "
                f"(version {now}): a training question was {_shown(check['ids'])} and is {_shown(ids)} now. Evaluate it with "
                "the tokenizer and the task version that it was trained with."
            )
    return () if then in (None, now) else (f"fine-tuned on version {then} of {name}, evaluated on version {now}",)


def _ids(tokenizer: Any) -> list[int]:
    return list(tokenizer(_TEXT, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"])


def _shown(ids: Iterable[object]) -> str:
    found = list(ids)
    return f"{len(found)} tokens ({' '.join(map(str, found[:6]))}{' ...' if len(found) > 6 else ''})"


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none, or something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _inner(outer: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = outer.get(name)
    return found if isinstance(found, dict) else {}
