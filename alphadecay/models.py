"""ModelConfig -> a transformers model with random weights by seed (or a checkpoint's); its size, without allocating it.

Families are transformers model types: causal language models, or image classifiers. transformers is imported when a
function is called (3 s).
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.errors import SpectraError, first_line

from . import fields
from .config import ModelConfig, Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Not a recipe's to set: precision is train.precision's, the others say nothing about the weights.
_NOT_SETTINGS = {"transformers_version", "architectures", "dtype", "return_dict", "output_hidden_states",
                 "chunk_size_feed_forward", "is_encoder_decoder", "problem_type"}  # fmt: skip
_TOKEN_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id")


@dataclass(frozen=True, kw_only=True)
class ParameterCount:
    """Sizes of a model, tied tensors counted once."""

    total: int
    """All parameters."""
    non_embedding: int
    """Without token embedding and output matrix (image models: without the patch embedding)."""
    vocabulary: int | None
    """Rows of the token embedding; None: an image model."""


def families(kind: str = "text") -> list[str]:
    """Model types that can be trained: `text` (causal language models) or `images` (classifiers)."""
    from transformers.models.auto import modeling_auto as auto

    tables: dict[str, Any] = {
        "text": auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "images": auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    }
    return sorted(str(name) for name in tables[kind])


def is_text(family: str) -> bool:
    """True: a causal language model; False: an image classifier.

    Raises:
        SpectraError: transformers has no such family; names the nearest.
    """
    text = families("text")
    if family in text:
        return True
    images = families("images")
    if family in images:
        return False
    near = fields.nearest(family, (*text, *images)).partition("Known: ")[0]
    near = f"{near} " if near else ""
    raise SpectraError(
        f"model.family = {family!r}: {near}Expected a transformers model type that is a causal language model (llama, "
        "olmo2, gpt2, ...) or an image classifier (vit, ...)."
    )


def settings_of(family: str) -> list[str]:
    """The keys that `model.settings` may have for this family; errors as `is_text`."""
    from transformers import CONFIG_MAPPING

    is_text(family)
    cls: Any = CONFIG_MAPPING[family]
    if dataclasses.is_dataclass(cls):
        names: Iterable[str] = (field.name for field in dataclasses.fields(cls))
    else:  # before transformers 5.3 or so, a configuration was a plain class
        names = (name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "kwargs"))
    extra = () if is_text(family) else ("num_labels",)
    found = dict.fromkeys((*names, *cls.attribute_map, *extra))
    return [name for name in found if name not in _NOT_SETTINGS]


def check(
    model: ModelConfig, *, vocab_size: int | None = None, window: int | None = None, image_size: int | None = None
) -> None:
    """Refuse a model that cannot be built or cannot take this data.

    `vocab_size`: ids that the tokenizer gives out (see `emitted_ids`); `window`: tokens a window; `image_size`: side in
    pixels. None: not checked.

    Raises:
        SpectraError: an unknown family or setting, a hidden size that the heads do not divide, a tokenizer larger than
            the embedding, fewer positions than the window, images of another size than the model's.
    """
    config = _config(model, vocab_size)
    text = is_text(model.family)
    if text != (image_size is None) and (image_size is not None or window is not None):
        got, expected = ("images", "data") if image_size is not None else ("data", "images")
        raise SpectraError(f"model.family = {model.family!r} with {got}: it needs the section {expected}.")
    if text and vocab_size is not None and vocab_size > config.vocab_size:
        raise SpectraError(
            f"The tokenizer gives ids up to {vocab_size - 1}, the embedding has {config.vocab_size} rows, expected at least "
            f"{vocab_size}: set model.settings.vocab_size={vocab_size}."
        )
    positions = getattr(config, "max_position_embeddings", None)
    if window is not None and isinstance(positions, int) and 0 < positions < window:
        raise SpectraError(
            f"data.window = {window}, but the model has {positions} positions: take a shorter window, or set "
            f"model.settings.max_position_embeddings={window}."
        )
    side = getattr(config, "image_size", None)
    if image_size is not None and side is not None and side != image_size:
        raise SpectraError(f"images.size = {image_size}, but model.settings.image_size = {side}: make them equal.")


def build(
    model: ModelConfig, *, vocab_size: int | None = None, window: int | None = None, seed: int = 42
) -> PreTrainedModel:
    """The model in float32 on the CPU: weights from `init_from`, else random, the same for the same seed.

    torch's own generator is left as it was. Ids of padding, beginning and end are unset unless settings give them: a
    family's defaults belong to its own tokenizer (OLMo-2's padding id, 1, would silently freeze that row).

    Raises:
        SpectraError: as `check`, and `init_from` cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageClassification

    check(model, vocab_size=vocab_size, window=window)
    auto: Any = AutoModelForCausalLM if is_text(model.family) else AutoModelForImageClassification
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if model.init_from is None:
            made: PreTrainedModel = auto.from_config(_config(model, vocab_size), dtype=torch.float32)
            return made
        try:
            made = auto.from_pretrained(model.init_from, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise _unreadable(model.init_from, error) from None
    return made


def count_parameters(model: ModelConfig, vocab_size: int | None = None) -> ParameterCount:
    """Parameters of the model that `build` would give, on the meta device: nothing is allocated.

    Raises:
        SpectraError: as `check`.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageClassification

    config, text = _config(model, vocab_size), is_text(model.family)
    auto: Any = AutoModelForCausalLM if text else AutoModelForImageClassification
    with torch.device("meta"):
        made = auto.from_config(config)
    total = sum(parameter.numel() for parameter in made.parameters())
    outer = [made.get_input_embeddings(), made.get_output_embeddings() if text else None]
    embedding = {id(p): p.numel() for module in outer if module is not None for p in module.parameters()}
    return ParameterCount(
        total=total,
        non_embedding=total - sum(embedding.values()),
        vocabulary=int(config.vocab_size) if text else None,
    )


def vocabulary(recipe: Recipe) -> int | None:
    """Rows of the token embedding as far as the recipe says: settings, else the tokenizer that is trained; None: images.

    Raises:
        SpectraError: the recipe leaves it to a tokenizer from elsewhere, which is not read here.
    """
    if recipe.data is None:
        return None
    given = recipe.model.settings.get("vocab_size")
    if isinstance(given, int):
        return given
    if recipe.data.tokenizer is None:
        return recipe.data.vocab_size
    if recipe.model.init_from is not None:
        size: int = _config(recipe.model, None).vocab_size
        return size
    raise SpectraError(
        f"model.settings.vocab_size is not set, and data.tokenizer is {recipe.data.tokenizer}: set it to the size of that "
        "tokenizer, so that the parameters can be counted before anything is read."
    )


def emitted_ids(tokenizer: PreTrainedTokenizerBase) -> int:
    """The largest id that text, its ends and padding can give, plus one: what an embedding must have rows for.

    Marks of other uses do not count: `alphadecay.data` reads their text as text. t5-base's 100 sentinels lie above its 32000
    pieces, and AlphaDecay's models have 32000 rows.
    """
    marks = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    ends = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id)
    ids = {index for index in tokenizer.get_vocab().values() if index not in marks}
    return 1 + max(ids | {int(index) for index in ends if index is not None})


def _unreadable(source: str, error: Exception) -> SpectraError:
    first = first_line(error)
    return SpectraError(
        f"model.init_from = {source!r} cannot be loaded ({first}). Expected a checkpoint folder or hub id."
    )


def _config(model: ModelConfig, vocab_size: int | None) -> PreTrainedConfig:
    """The transformers config of the model; a vocabulary that settings leave open is `vocab_size`."""
    known = settings_of(model.family)
    fields.check_keys(model.settings, known, f"model.settings ({model.family})")
    if model.init_from is not None:
        return _loaded_config(model)
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    settings: dict[str, Any] = {name: None for name in _TOKEN_IDS if name in known} | dict(model.settings)
    if vocab_size is not None and "vocab_size" in known:
        settings.setdefault("vocab_size", vocab_size)
    _check_heads(settings)
    try:
        made: PreTrainedConfig = CONFIG_MAPPING[model.family](**settings)
    except (StrictDataclassError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SpectraError(f"model.settings of {model.family}: {reason} Correct that setting.") from None
    _check_heads({"hidden_size": getattr(made, "hidden_size", None),
                  "num_attention_heads": getattr(made, "num_attention_heads", None),
                  "head_dim": model.settings.get("head_dim")})  # fmt: skip
    return made


def _loaded_config(model: ModelConfig) -> PreTrainedConfig:
    """The checkpoint's config, which the recipe's family and settings must agree with."""
    from transformers import AutoConfig

    source = str(model.init_from)
    try:
        found: PreTrainedConfig = AutoConfig.from_pretrained(str(Path(source).expanduser()))
    except (OSError, ValueError) as error:
        raise _unreadable(source, error) from None
    if found.model_type != model.family:
        raise SpectraError(
            f"model.init_from = {source!r} holds a {found.model_type} model, model.family says {model.family}: set "
            f"model.family={found.model_type}."
        )
    for name, value in model.settings.items():
        held = getattr(found, name, None)
        if held != value:
            raise SpectraError(
                f"model.settings.{name} = {value!r}, but the checkpoint {source!r} has {held!r}: a checkpoint's shape cannot "
                "be changed. Correct the setting, or leave it out."
            )
    return found


def _check_heads(settings: dict[str, Any]) -> None:
    """Whole heads, and whole groups of them."""
    hidden, heads, groups = (settings.get(k) for k in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    no_head_dim = settings.get("head_dim") is None
    if isinstance(hidden, int) and isinstance(heads, int) and no_head_dim and (heads < 1 or hidden % heads):
        raise SpectraError(
            f"model.settings.hidden_size = {hidden}: expected a multiple of the {heads} attention heads. Change one of the two."
        )
    if isinstance(heads, int) and isinstance(groups, int) and (groups < 1 or heads % groups):
        raise SpectraError(
            f"model.settings.num_key_value_heads = {groups}: expected a divisor of the {heads} attention heads. "
            "Change one of the two."
        )
