"""The checkpoint of a reward model: its tokenizer, and its weights with none made up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alphadecay.data_hub import network_errors
from alphadecay.quiet import no_progress_bars
from spectra.errors import SpectraError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXPECTED = "Expected a folder with a sequence-classification checkpoint and its tokenizer, or a hub id"
_OFFLINE = "without a network, download it elsewhere and name the folder"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the model runs, and in which precision."""

    device: str
    dtype: str


def load_tokenizer(source: str, name: str) -> PreTrainedTokenizerBase:
    """The tokenizer; `source` is what the user said, `name` what transformers is told.

    Raises:
        SpectraError: there is none, or it cannot be had.
    """
    from transformers import AutoTokenizer

    try:
        with _quiet():
            found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name)
    except _failures() as error:
        raise SpectraError(
            f"{source} has no tokenizer that can be loaded ({first_line(error).rstrip('.')}). {EXPECTED}; {_OFFLINE}."
        ) from error
    if not found("a b")["input_ids"]:
        raise SpectraError(f"{source} has no tokenizer: the one that is loaded gives no tokens. {EXPECTED}.")
    return found


def load_classifier(source: str, name: str, place: Place) -> Any:
    """The model with all its weights, on its device, in evaluation mode.

    Raises:
        SpectraError: it is no sequence classifier, an adapter, cannot be had or does not fit on the device.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        with _quiet():
            if find_adapter_config_file(name) is not None:
                raise SpectraError(
                    f"{source} is an adapter. Merge it into its base (peft's merge_and_unload) and name the result."
                )
            model, info = AutoModelForSequenceClassification.from_pretrained(
                name, dtype=getattr(torch, place.dtype), output_loading_info=True, ignore_mismatched_sizes=True
            )
    except _failures() as error:
        raise SpectraError(
            f"{source} cannot be loaded as a sequence classifier ({first_line(error).rstrip('.')}). {EXPECTED}; "
            f"{_OFFLINE}."
        ) from error
    _check_weights(source, model, info)
    try:
        return model.eval().to(place.device)
    except (RuntimeError, AssertionError) as error:
        raise SpectraError(
            f"{source} cannot be put on {place.device!r} ({first_line(error).rstrip('.')}). Choose cpu, or a cuda device that is "
            "there and has room."
        ) from error


def _failures() -> tuple[type[Exception], ...]:
    """What transformers raises for a network that fails, a name that is not there, a file that is damaged or of something else."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    return (*network_errors(), KeyError, TypeError, SafetensorError, UnpicklingError)


def _check_weights(source: str, model: Any, info: dict[str, Any]) -> None:
    """transformers only warns about weights that the checkpoint does not have, and makes them up."""
    missing = sorted(info["missing_keys"])
    if missing:
        stored = ", ".join(model.config.architectures or ["no architecture"])
        raise SpectraError(
            f"{source} is no sequence classifier: its checkpoint ({stored}) has no {some(missing)}, and rewards of a head with "
            f"random weights mean nothing. {EXPECTED}, such as Skywork/Skywork-Reward-Llama-3.1-8B-v0.2."
        )
    other = sorted(info["mismatched_keys"])
    if other:
        names = [
            f"{key} {tuple(stored)} there, {tuple(expected)} by its configuration" for key, stored, expected in other
        ]
        raise SpectraError(
            f"{source} does not fit its own configuration ({some(names)}; {model.config.num_labels} labels). Correct config.json: "
            "id2label sets the number of labels."
        )


def some(names: list[str]) -> str:
    """The first three, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@contextmanager
def _quiet() -> Iterator[None]:
    """What transformers says while loading (bars, a table of missing weights) is said by us."""
    from transformers.utils import logging

    was = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        with no_progress_bars():
            yield
    finally:
        logging.set_verbosity(was)
