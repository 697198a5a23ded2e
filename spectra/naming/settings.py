"""What a model's config says about attention, under any of the names in use. Never raises: a value of the wrong
type counts as absent.

H heads, K key/value heads, Dh = dimension of one head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from spectra.naming.names import Item

_TEXT = ("text_config", "llm_config", "language_config", "text_cfg", "thinker_config")
_VISION = ("vision_config", "vision_cfg", "visual", "thinker_config")
_AUDIO = ("audio_config", "audio_cfg", "thinker_config")
_NESTED = {"vision": _VISION, "audio": _AUDIO, "qformer": ("qformer_config",)}
# Sub-configs that are part of their parent: MPT and DBRX.
_PARTS = ("attn_config", "ffn_config")

_HEADS = (
    "num_attention_heads", "n_head", "n_heads", "num_heads", "num_query_heads", "attention_heads",
    "encoder_attention_heads", "decoder_attention_heads",
)  # fmt: skip
_KV_HEADS = (
    "num_key_value_heads", "num_kv_heads", "n_head_kv", "n_kv_heads", "kv_n_heads", "num_key_value_heads_per_layer",
    "multi_query_group_num", "num_query_groups",
)  # fmt: skip
_HEAD_DIMS = ("head_dim", "d_kv", "kv_channels", "head_size", "attention_head_size", "d_head")
# gemma-like models give their global layers another head_dim; latent attention's qk_nope_head_dim is no such thing.
_OTHER_HEAD_DIM = re.compile(r"(?:global|local|full|swa|sliding)\w*_head_dim")
_HIDDEN = ("hidden_size", "d_model", "n_embd", "dim", "model_dim")
_EXPERTS = ("moe_num_experts", "num_experts", "num_local_experts", "n_routed_experts")

FALCON = frozenset({"falcon", "RefinedWeb", "RefinedWebModel"})


@dataclass(frozen=True, kw_only=True)
class Heads:
    """H, K and the values of Dh the config names; None and () where it says nothing."""

    heads: int | None = None
    kv_heads: int | None = None
    head_dims: tuple[int, ...] = ()


def _positive(value: Any, layer: int | None) -> int | None:
    """A positive int, or the layer's own one of a list of them."""
    if isinstance(value, Sequence) and not isinstance(value, str) and layer is not None and layer < len(value):
        value = value[layer]
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


class Settings:
    """Looks values up in the part of a config that belongs to a tensor's stack (text, vision, audio)."""

    def __init__(self, config: Mapping[str, Any], *, towers_only: bool = False) -> None:
        """`towers_only`: all layers stand in one vision or audio tower, so the top level describes that tower."""
        self._config = config
        self._towers_only = towers_only
        self.heads_of_layer = lru_cache(maxsize=None)(self._heads)
        self._maps_of = lru_cache(maxsize=None)(self._find_maps)

    def _nested(self, keys: Sequence[str], config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for key in keys:
            inner = config.get(key)
            if not isinstance(inner, Mapping):
                continue
            if key == "thinker_config":  # Qwen-omni: the language model's parts stand one level down
                found += self._nested([k for k in keys if k != key], inner)
            else:
                found.append(inner)
        return found

    def _find_maps(self, stack: str, side: str) -> tuple[Mapping[str, Any], ...]:
        if stack in _NESTED:
            maps = self._nested(_NESTED[stack], self._config)
            if self._towers_only:
                maps.append(self._config)
        else:
            sides = self._nested([side], self._config) if side else []
            maps = [*sides, *self._nested(_TEXT, self._config), self._config]
        parts = [m[key] for m in maps for key in _PARTS if isinstance(m.get(key), Mapping)]
        return (*maps, *parts)

    def integer(self, item: Item, keys: Sequence[str], layer: int | None = None) -> int | None:
        """The first of these keys that holds a positive int."""
        return self._integer(self._maps_of(item.stack, item.side), keys, layer)

    @staticmethod
    def _integer(maps: Sequence[Mapping[str, Any]], keys: Sequence[str], layer: int | None) -> int | None:
        for values in maps:
            for key in keys:
                number = _positive(values.get(key), layer)
                if number is not None:
                    return number
        return None

    def flag(self, item: Item, key: str) -> bool | None:
        """The first value of this key that is a bool."""
        for values in self._maps_of(item.stack, item.side):
            if isinstance(values.get(key), bool):
                return bool(values[key])
        return None

    def model_type(self, item: Item) -> str:
        """`model_type` of the config that describes this tensor; '' if there is none."""
        for values in self._maps_of(item.stack, item.side):
            if isinstance(values.get("model_type"), str) and values["model_type"]:
                return str(values["model_type"])
        return ""

    def hidden_size(self, item: Item) -> int | None:
        """Width of the residual stream."""
        return self.integer(item, _HIDDEN)

    def experts(self, item: Item) -> int | None:
        """Number of routed experts."""
        return self.integer(item, _EXPERTS)

    def heads(self, item: Item) -> Heads:
        """H, K and Dh for the attention that `item` is part of."""
        found: Heads = self.heads_of_layer(item.stack, item.side, item.layer, self.model_type(item))
        return found

    def _heads(self, stack: str, side: str, layer: int | None, model_type: str) -> Heads:
        maps = self._maps_of(stack, side)
        own = (f"{side}_attention_heads", *_HEADS) if side else _HEADS
        heads = self._integer(maps, own, layer)
        kv_heads = self._integer(maps, _KV_HEADS, layer)
        flags = {
            key: next((bool(m[key]) for m in maps if isinstance(m.get(key), bool)), None)
            for key in ("multi_query", "new_decoder_architecture", "multi_query_attention")
        }
        if model_type in FALCON:
            # FalconAttention: num_kv_heads counts only in the new architecture, and multi_query is the default.
            if not flags["new_decoder_architecture"] and model_type != "RefinedWeb":
                kv_heads = heads if flags["multi_query"] is False else 1
        elif model_type == "gpt_bigcode":
            kv_heads = heads if flags["multi_query"] is False else 1
        elif model_type == "chatglm":
            kv_heads = heads if flags["multi_query_attention"] is False or kv_heads is None else kv_heads
        elif kv_heads is None and (flags["multi_query"] or flags["multi_query_attention"]):
            kv_heads = 1
        dims = [_positive(m.get(key), layer) for m in maps for key in (*_HEAD_DIMS, *m) if _is_head_dim(key)]
        return Heads(heads=heads, kv_heads=kv_heads, head_dims=tuple(dict.fromkeys(d for d in dims if d)))


def _is_head_dim(key: Any) -> bool:
    return isinstance(key, str) and (key in _HEAD_DIMS or _OTHER_HEAD_DIM.fullmatch(key) is not None)
