"""The checkpoint of a reward model: its tokenizer, and its weights with none made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plasticity.loading_errors import auto_tokenizer, check_shapes, failures, quiet, some
from spectra.errors import SpectraError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXPECTED = "Expected a folder with a sequence-classification checkpoint and its tokenizer, or a hub id"
_OFFLINE = "without a network, download it elsewhere and name the folder"


def load_tokenizer(source: str, name: str, revision: str | None) -> PreTrainedTokenizerBase:
    """The tokenizer; `source` is what the user said, `name` what transformers is told, `revision` a commit on the hub.

    Raises:
        SpectraError: there is none, or it cannot be had.
    """
    try:
        with quiet():
            found: PreTrainedTokenizerBase = auto_tokenizer(name, **_at(revision))
    except failures() as error:
        raise SpectraError(
            f"{source} has no tokenizer that can be loaded ({first_line(error).rstrip('.')}). {EXPECTED}; {_OFFLINE}."
        ) from error
    if not found("a b")["input_ids"]:
        raise SpectraError(f"{source} has no tokenizer: the one that is loaded gives no tokens. {EXPECTED}.")
    return found


def load_classifier(source: str, name: str, revision: str | None, dtype: str) -> Any:
    """The model with all its weights, on the CPU, in evaluation mode.

    Raises:
        SpectraError: it is no sequence classifier, an adapter, or cannot be had.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        with quiet():
            if find_adapter_config_file(name, revision=revision) is not None:
                raise SpectraError(
                    f"{source} is an adapter. Merge it into its base (peft's merge_and_unload) and name the result."
                )
            model, info = AutoModelForSequenceClassification.from_pretrained(
                name,
                dtype=getattr(torch, dtype),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **_at(revision),
            )
    except failures() as error:
        raise SpectraError(
            f"{source} cannot be loaded as a sequence classifier ({first_line(error).rstrip('.')}). {EXPECTED}; "
            f"{_OFFLINE}."
        ) from error
    _check_weights(source, model, info)
    return model.eval()


def _at(revision: str | None) -> dict[str, Any]:
    return {"revision": revision} if revision else {}


def _check_weights(source: str, model: Any, info: dict[str, Any]) -> None:
    """transformers only warns about weights that the checkpoint does not have, and makes them up."""
    missing = sorted(info["missing_keys"])
    if missing:
        stored = ", ".join(model.config.architectures or ["no architecture"])
        raise SpectraError(
            f"{source} is no sequence classifier: its checkpoint ({stored}) has no {some(missing)}, and rewards of a head with "
            f"random weights mean nothing. {EXPECTED}, such as Skywork/Skywork-Reward-Llama-3.1-8B-v0.2."
        )
    check_shapes(source, info, f": it says {model.config.num_labels} labels, which is the length of id2label")
