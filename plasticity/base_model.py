"""The checkpoint that is fine-tuned or evaluated, with its tokenizer: a folder, a hub id, a GGUF file, a LoRA adapter."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphadecay.data_hub import is_hub_id
from alphadecay.quiet import no_progress_bars
from spectra.errors import SpectraError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M"


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A causal language model in float32 on the CPU (None: only its tokenizer is here), and the tokenizer that goes with it."""

    source: str
    model: Any
    tokenizer: PreTrainedTokenizerBase
    window: int | None  # positions the model was made for; None: it does not say


def load_base(source: str, *, from_scratch: bool = False, seed: int = 0) -> BaseModel:
    """Load a checkpoint; with `from_scratch` only its architecture and tokenizer, random weights by seed.

    Raises:
        SpectraError: it cannot be read, has no tokenizer or one that does not fit, or is an adapter without its base.
    """
    where, options = _place(source)
    tokenizer = _tokenizer(source, where, options)
    model = _random(where, options, seed) if from_scratch else _model(source, where, options)
    from alphadecay.models import emitted_ids

    rows, needed = model.get_input_embeddings().weight.shape[0], emitted_ids(tokenizer)
    if needed > rows:
        raise SpectraError(
            f"{source}: its tokenizer gives ids up to {needed - 1}, its embedding has {rows} rows. They are not of one model: name "
            "a checkpoint that carries its own tokenizer."
        )
    if tokenizer.eos_token_id is None:
        raise SpectraError(f"{source}: its tokenizer has no EOS token. Set eos_token in its tokenizer_config.json.")
    window = getattr(model.config, "max_position_embeddings", None)
    return BaseModel(
        source=source, model=model, tokenizer=tokenizer, window=window if isinstance(window, int) else None
    )


def load_tokenizer(source: str) -> BaseModel:
    """A checkpoint whose weights are elsewhere (a server): tokenizer and window; raises as `load_base`."""
    where, options = _place(source)
    tokenizer = _tokenizer(source, where, options)
    from transformers import AutoConfig

    try:
        window = getattr(AutoConfig.from_pretrained(where, **options), "max_position_embeddings", None)
    except (OSError, ValueError, KeyError):
        window = None  # a folder with a tokenizer alone
    return BaseModel(source=source, model=None, tokenizer=tokenizer, window=window if isinstance(window, int) else None)


def _place(source: str) -> tuple[str, dict[str, Any]]:
    """What transformers is told: folder or hub id, and which GGUF file in it."""
    path = Path(source).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name}
    return (str(path) if path.exists() else source), {}


def _tokenizer(source: str, where: str, options: dict[str, Any]) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(where, **options)
    except (OSError, ValueError, KeyError) as error:
        raise SpectraError(
            f"{source} has no tokenizer that can be loaded ({first_line(error).rstrip('.')}). Expected a checkpoint folder "
            "with its tokenizer files, a hub id, or a GGUF file."
        ) from error
    return found


def _model(source: str, where: str, options: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    base = _base_of_adapter(where)
    try:
        with no_progress_bars(), _no_gguf_bar():
            if base is not None and base.endswith(".gguf"):  # transformers finds no GGUF file beneath an adapter
                model = _model(base, *_place(base))
                model.load_adapter(where)
            else:
                model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise SpectraError(
            f"{source} cannot be loaded as a causal language model ({first_line(error).rstrip('.')}). Expected a checkpoint "
            "folder, a hub id or a GGUF file."
        ) from error
    if "gguf_file" in options:
        _unmark(model)
    return model


@contextmanager
def _no_gguf_bar() -> Iterator[None]:
    """transformers reads GGUF files with a bar of its own, which its switch does not turn off."""
    reader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    bar = reader.tqdm
    reader.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        reader.tqdm = bar


def _unmark(model: Any) -> None:
    """Weights of a GGUF file are float32 once read; transformers' mark of quantised ones refuses to train them, and to save them
    so that they can be loaded."""
    for name in ("is_quantized", "quantization_method", "hf_quantizer"):
        if hasattr(model, name):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _random(where: str, options: dict[str, Any], seed: int) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(where, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]


def _base_of_adapter(where: str) -> str | None:
    """The base of a LoRA adapter, None where it is none; transformers loads it with the adapter on top, and fails in many ways
    where it is not there."""
    path = Path(where) / "adapter_config.json"
    if not path.is_file():
        return None
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except ValueError:
        base = None
    known = isinstance(base, str) and (Path(base).exists() or is_hub_id(base))
    if not known:
        raise SpectraError(
            f"{where} is a LoRA adapter, and its base {base!r} is not there. Set base_model_name_or_path in adapter_config.json "
            "to the base checkpoint, or name a merged model."
        )
    return str(base)
