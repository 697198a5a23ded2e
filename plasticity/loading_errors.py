"""What goes wrong when transformers loads a checkpoint: what it raises, and what it only warns of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from alphadecay.data_hub import network_errors
from alphadecay.quiet import no_progress_bars
from spectra.errors import SpectraError

_NOT_CAUSAL = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM")


def failures() -> tuple[type[Exception], ...]:
    """What transformers raises for a network that fails, a name that is not there, a file that is damaged or of something else."""
    import struct
    from pickle import UnpicklingError

    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    return (
        *network_errors(), AttributeError, EOFError, LookupError, TypeError, SafetensorError, StrictDataclassError, UnpicklingError,
        struct.error,
    )  # fmt: skip


def auto_tokenizer(where: str, **options: Any) -> Any:
    """transformers' AutoTokenizer, whose errors are all among `failures`: tokenizers itself raises Exception and no other."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(where, **options)
    except Exception as error:
        if type(error) is Exception:
            raise ValueError(str(error)) from error
        raise


def check_causal(source: str, config: Any, info: Mapping[str, Any]) -> None:
    """Refuse a model of which transformers made up a part: it only warns, and random weights would be evaluated.

    Args:
        config: the model's.
        info: transformers' `output_loading_info`; tied weights and those that a model may leave out are not among its missing ones.

    Raises:
        SpectraError: weights are missing or have other shapes than the configuration says, or it is made for something else.
    """
    stored = list(getattr(config, "architectures", None) or [])
    missing = sorted(info["missing_keys"])
    if missing:
        kind = f" ({', '.join(map(str, stored))})" if stored else ""
        raise SpectraError(
            f"{source} is no whole causal language model: its checkpoint{kind} has no {some(missing)}, and a model with random "
            "weights in their place means nothing. Expected all weights of its config.json: copy the checkpoint again, or name "
            "one that was saved as a causal language model."
        )
    check_shapes(source, info)
    if stored and all(str(name).endswith(_NOT_CAUSAL) for name in stored):
        raise SpectraError(
            f"{source} was saved as {stored[0]}, which does not continue texts. Name a causal language model; where it is one, "
            "correct architectures in its config.json."
        )


def check_shapes(source: str, info: Mapping[str, Any], hint: str = "") -> None:
    """Refuse weights of other shapes than the configuration's, which transformers would replace by random ones."""
    other = sorted(info["mismatched_keys"])
    if other:
        names = [
            f"{key} {tuple(there)} there, {tuple(expected)} by its configuration" for key, there, expected in other
        ]
        raise SpectraError(
            f"{source} does not fit its own configuration ({some(names)}). Correct config.json{hint or ', or copy it again'}."
        )


def some(names: list[str]) -> str:
    """The first three, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@contextmanager
def quiet() -> Iterator[None]:
    """What transformers says while loading (bars, a table of missing weights) is said by us."""
    from transformers.utils import logging

    was = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        with no_progress_bars():
            yield
    finally:
        logging.set_verbosity(was)
