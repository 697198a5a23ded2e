"""Reward models behind one interface: `load_reward`, then `RewardModel.score`, or `score_responses` for a file of rewards.

A reward model is a sequence-classification checkpoint whose logit is the reward. Known are outcome reward models such as
Skywork-Reward-Llama-3.1-8B-v0.2 (higher: better) and the harmfulness models of Bianchi et al. (0 to 4, higher: worse); any other
is told by its template.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from alphadecay.data_hub import is_hub_id
from plasticity.hub_commit import commit_of
from plasticity.identity import files, tokenizer_hash
from plasticity.loading_errors import some
from plasticity.reward_checkpoint import EXPECTED, load_classifier, load_tokenizer
from plasticity.reward_file import (
    QuestionRewards,
    RewardListener,
    RewardProgress,
    Rewards,
    load_rewards,
    score_responses,
)
from plasticity.reward_model import Place, Reward, RewardModel, named_pad
from plasticity.reward_templates import Family, Reader, family_of
from spectra.errors import SpectraError

__all__ = [
    "QuestionRewards", "Reward", "RewardListener", "RewardModel", "RewardProgress", "Rewards", "load_reward", "load_rewards",
    "score_responses",
]  # fmt: skip

_DTYPES = ("auto", "float32", "bfloat16", "float16")


def load_reward(  # noqa: PLR0913 -- flat: one argument an option of the command
    source: str,
    *,
    template: str | None = None,
    logit: int | None = None,
    max_tokens: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int = 16,
    wait: bool = False,
) -> RewardModel:
    """Load a reward model with its tokenizer, and check that its head was trained and padding does not change it.

    Args:
        source: folder or hub id.
        template: `chat`, `human_assistant`, or a text with {question} and {response}; None: by the source's name, else
            `chat` where the tokenizer has a chat template.
        logit: which output is the reward; None: 0 for harmfulness models, else the only one.
        max_tokens: most tokens of a text; None: 4096, of harmfulness models 512, or what the model was made for where that is less.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        dtype: `float32`, `bfloat16`, `float16`; `auto`: float32 on a CPU and for harmfulness models, else bfloat16.
        batch_size: most texts at once.
        wait: leave it on the CPU until `RewardModel.to()` puts it on `device`: what is wrong with it shows early, and another
            model has the device until then. Its precision and what it says of itself are those on `device`.

    Raises:
        SpectraError: it cannot be found or read, is no sequence classifier, does not have the logit, has no tokenizer or no chat
            template where one is needed; the device is not there or too small; an option out of range.
    """
    _check(dtype, batch_size)
    name = str(Path(source).expanduser()) if Path(source).expanduser().exists() else source
    if name == source and not Path(source).exists() and not is_hub_id(source):
        raise SpectraError(f"There is no {source}. {EXPECTED} (owner/name).")
    revision = None if Path(name).exists() else commit_of(name)[0]
    tokenizer = load_tokenizer(source, name, revision)
    family, why = family_of(source, template, tokenizer)
    place = _place(device, dtype, family)
    model = load_classifier(source, name, revision, place.dtype)
    reader = Reader(
        tokenizer=tokenizer,
        template=family.template,
        max_tokens=_limit(source, max_tokens, family, model, tokenizer),
        cut=family.cut or ("left" if tokenizer.truncation_side == "left" else "right"),
    )
    reader.check()
    made = RewardModel(
        model=model, reader=reader, logit=_logit(source, logit, family, model), batch_size=batch_size, about={"model": source},
        place=place, gpu_dtype=family.gpu_dtype if dtype == "auto" else None,
    )  # fmt: skip
    made = made if wait else made.to()
    made = replace(made, equal_lengths=not made.padding_is_harmless())
    return replace(made, about=_about(source, family, why, made) | {"commit": revision, **files(name)})


def _check(dtype: str, batch_size: int) -> None:
    if dtype not in _DTYPES:
        raise SpectraError(f"dtype is {dtype!r}; expected one of {', '.join(_DTYPES)}.")
    if batch_size < 1:
        raise SpectraError(f"batch_size is {batch_size}; expected at least 1.")


def _place(device: str, dtype: str, family: Family) -> Place:
    from plasticity.devices import placed

    device = placed(device)
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else family.gpu_dtype
    return Place(device=device, dtype=dtype)


def _logit(source: str, logit: int | None, family: Family, model: Any) -> int:
    labels = int(model.config.num_labels)
    found = family.logit if logit is None else logit
    if found is None and labels > 1:
        named = [str(model.config.id2label.get(i, i)) for i in range(labels)]
        raise SpectraError(
            f"{source} has {labels} logits ({some(named)}), and a reward is one: name it by its number, --reward-logit 0 to "
            f"{labels - 1}."
        )
    found = found or 0
    if not 0 <= found < labels:
        raise SpectraError(f"{source} has no logit {found}: it has {labels}, counted from 0.")
    return found


def _limit(source: str, asked: int | None, family: Family, model: Any, tokenizer: Any) -> int:
    made_for = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    made_for = made_for if isinstance(made_for, int) and made_for > 0 else None
    if asked is None:
        return min(n for n in (family.max_tokens, made_for, tokenizer.model_max_length) if n)
    if asked < 1 or (made_for and asked > made_for):
        raise SpectraError(
            f"max_tokens is {asked}; {source} was made for {'any number' if made_for is None else f'1 to {made_for}'}."
        )
    return asked


def _about(source: str, family: Family, why: str, made: RewardModel) -> dict[str, Any]:
    reader, config, place = made.reader, made.model.config, made.place
    chat = family.template == "chat"
    return {
        "kind": "reward",
        "model": source,
        "tokenizer_sha256": tokenizer_hash(reader.tokenizer),
        "class": type(made.model).__name__,
        "family": family.name,
        "family_by": why,
        "template": family.template,
        "chat_template": sha256(reader.tokenizer.get_chat_template().encode()).hexdigest() if chat else None,
        "chat_day": reader.day(),
        "logit": made.logit,
        "logits": int(config.num_labels),
        "max_tokens": reader.max_tokens,
        "cut": reader.cut,
        "dtype": place.dtype,
        "device": place.device.partition(":")[0],
        "padding": "none: only texts of equal length together" if made.equal_lengths else "right",
        "pad_token_id": named_pad(made.model),
    }
