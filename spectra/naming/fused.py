"""Splitting fused two-dimensional weights into row blocks: QKV, key/value, gate and up, latent attention's kv_b.

Everything here sees the matrix oriented as (rows, cols) = (out, in), and raises `CannotSplit` where the sizes do
not fit. H heads, K key/value heads, Dh = dimension of one head, G = H / K.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from spectra.naming.names import Item
from spectra.naming.settings import FALCON, Heads, Settings
from spectra.types import Role, RowBlock

Layout = Literal["concat", "interleaved", "grouped", "codegen"]


class CannotSplit(Exception):  # noqa: N818 -- no error: the weight stays whole and the message becomes a note
    """A fused weight has to stay whole; the message says what was expected and what was got."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One matrix of a split tensor: `[suffix]`, its role and its rows."""

    suffix: str
    role: Role
    blocks: tuple[RowBlock, ...]


# `query_key_value` has a layout per model: [H, 3, Dh] in these, [q; k; v] in those. Sources: `_split_heads` and
# the `view(...).chunk(3, -1)` of their modeling files (transformers 5.23; GLM and Ling: code beside the weights).
_INTERLEAVED = frozenset({"gpt_neox", "gpt_neox_japanese", "bloom", "persimmon", "fuyu"})
_CONCATENATED = frozenset({"chatglm", "glm", "cogvlm", "bailing_moe", "bailing_moe_v2", "bailing_moe_linear"})
# Names whose layout no config is needed for: [q; k; v] wherever they occur.
_ALWAYS_CONCATENATED = frozenset(
    {"qkv", "Wqkv", "W_pack", "att_proj", "attn_qkv", "vis_attn_qkv", "in_proj_weight", "qkv_linear", "to_qkv"}
)
_CODEGEN_PATH = re.compile(r"(?:^|\.)h\.\d+\.attn\.qkv_proj$")


def qkv_layout(item: Item, settings: Settings, source_format: str) -> Layout | None:
    """How q, k and v share the rows; None if the name alone does not tell and the config does not either."""
    own = item.own.rsplit(".", 1)[-1]
    if source_format == "gguf" or own in _ALWAYS_CONCATENATED:
        return "concat"  # GGUF converters de-interleave
    model_type = settings.model_type(item)
    layout: Layout | None = "concat"
    if own == "query_key_value":
        layout = _query_key_value_layout(item, settings, model_type)
    elif own == "c_attn":
        if model_type == "gpt_bigcode" and settings.flag(item, "multi_query") is False:
            layout = "interleaved"
    elif own == "qkv_proj":
        if model_type in ("codegen", "moss"):
            layout = "codegen"
        elif model_type == "minimax":
            layout = "interleaved"
        elif not model_type and _CODEGEN_PATH.search(item.path):
            layout = None
    elif own == "wqkv":
        # InternLM2 groups by key/value head; gpt-fast uses the same name for [q; k; v].
        layout = "grouped" if model_type.startswith("intern") else "concat" if model_type else None
    elif own == "linear_qkv":
        layout = "grouped"  # Megatron-core
    elif own == "in_proj":
        layout = "interleaved" if model_type == "deberta" else None
    return layout


def _query_key_value_layout(item: Item, settings: Settings, model_type: str) -> Layout | None:
    if model_type in FALCON:
        if settings.flag(item, "new_decoder_architecture") or model_type == "RefinedWeb":
            return "grouped"
        return "interleaved" if settings.flag(item, "multi_query") is False else "grouped"
    if model_type == "chatglm" and (
        settings.flag(item, "multi_query_attention") is False or settings.flag(item, "position_encoding_2d")
    ):
        return "interleaved"  # ChatGLM-6B, and the later ones without grouped queries
    if model_type in _INTERLEAVED:
        return "interleaved"
    return "concat" if model_type in _CONCATENATED else None


def split_qkv(shape: tuple[int, int], layout: Layout | None, heads: Heads, o_cols: int | None) -> tuple[Part, ...]:
    """q, k and v of a fused (H Dh + 2 K Dh, d) weight. `o_cols` = H Dh, from the output projection, where known."""
    rows, cols = shape
    if layout is None:
        raise CannotSplit("the layout of a fused query_key_value is not known without the config's model_type")
    if layout == "codegen":
        return _codegen(rows)
    H, K = heads.heads, heads.kv_heads or heads.heads
    if H is None or K is None:
        if layout == "concat" and rows == 3 * cols:  # [q; k; v] of equal size needs no heads
            return _concatenated(cols, cols)
        raise CannotSplit("a fused QKV weight can be split only if the config gives the number of heads")
    if H % K:
        raise CannotSplit(f"a fused QKV weight has {H} query heads, which {K} key/value heads do not divide")
    if layout == "interleaved" and K != H:
        raise CannotSplit(
            f"a fused QKV weight was expected to have as many key/value heads as query heads, {H}, got {K}"
        )
    head_dim = _head_dim(rows, H + 2 * K, heads.head_dims, o_cols / H if o_cols else None)
    if head_dim is None:
        known = f", head_dim {' or '.join(map(str, heads.head_dims))}" if heads.head_dims else ""
        o = f", {o_cols} columns in the output projection" if o_cols else ""
        raise CannotSplit(
            f"a fused QKV weight does not fit the config: expected (H + 2 K) head_dim rows with H = {H} heads, "
            f"K = {K} key/value heads{known}{o}, got {rows} rows"
        )
    if layout == "concat":
        return _concatenated(H * head_dim, K * head_dim)
    return _grouped(K, H // K, head_dim)


def _head_dim(rows: int, blocks: int, named: tuple[int, ...], from_o: float | None) -> int | None:
    """The Dh with blocks * Dh == rows that the config, or else the output projection, confirms."""
    if rows % blocks:
        return None
    head_dim = rows // blocks
    return head_dim if head_dim in named or from_o == head_dim or (not named and from_o is None) else None


def _concatenated(q: int, kv: int) -> tuple[Part, ...]:
    """[q; k; v]."""
    return (
        Part(suffix="q", role="q", blocks=(RowBlock(start=0, stop=q),)),
        Part(suffix="k", role="k", blocks=(RowBlock(start=q, stop=q + kv),)),
        Part(suffix="v", role="v", blocks=(RowBlock(start=q + kv, stop=q + 2 * kv),)),
    )


def _grouped(K: int, G: int, head_dim: int) -> tuple[Part, ...]:
    """[K, G + 2, Dh]: the G query heads of a group, then its k and its v. With G = 1 this is [H, 3, Dh]."""
    stride = (G + 2) * head_dim
    spans: tuple[tuple[Role, int, int], ...] = (
        ("q", 0, G * head_dim), ("k", G * head_dim, head_dim), ("v", (G + 1) * head_dim, head_dim),
    )  # fmt: skip
    return tuple(
        Part(
            suffix=role,
            role=role,
            blocks=tuple(RowBlock(start=g * stride + at, stop=g * stride + at + size) for g in range(K)),
        )
        for role, at, size in spans
    )


def _codegen(rows: int) -> tuple[Part, ...]:
    """[4, (q, v, k), rows / 12]: CodeGen keeps the four shards it was trained on (modeling_codegen.py)."""
    if rows % 12:
        raise CannotSplit(f"a fused CodeGen QKV weight was expected to have a multiple of 12 rows, got {rows}")
    size = rows // 12
    order: tuple[tuple[Role, int], ...] = (("q", 0), ("k", 2), ("v", 1))
    return tuple(
        Part(
            suffix=role,
            role=role,
            blocks=tuple(
                RowBlock(start=(3 * shard + at) * size, stop=(3 * shard + at + 1) * size) for shard in range(4)
            ),
        )
        for role, at in order
    )


def split_kv(shape: tuple[int, int], heads: Heads) -> tuple[Part, ...]:
    """[k; v] of a fused key/value weight. Without heads, only (2 d, d) is taken for one."""
    rows, cols = shape
    K = heads.kv_heads or heads.heads
    fits = rows == 2 * cols or any(rows == 2 * d * K for d in heads.head_dims if K)
    if rows % 2 or not fits:
        raise CannotSplit(
            f"a fused key/value weight was expected to have 2 x {cols} or 2 x K x head_dim rows, got {rows}"
        )
    return (
        Part(suffix="k", role="k", blocks=(RowBlock(start=0, stop=rows // 2),)),
        Part(suffix="v", role="v", blocks=(RowBlock(start=rows // 2, stop=rows),)),
    )


def split_kv_b(rows: int, H: int | None, key_dim: int | None, value_dim: int | None) -> tuple[Part, ...]:
    """k and v of latent attention's kv_b, [H, qk_nope_head_dim + v_head_dim] rows (DeepSeek-V2, modeling_deepseek_v3)."""
    if H is None or key_dim is None or value_dim is None:
        raise CannotSplit("kv_b can be split only if the config gives heads, qk_nope_head_dim and v_head_dim")
    stride = key_dim + value_dim
    if rows != H * stride:
        raise CannotSplit(f"kv_b does not fit the config: expected {H} x ({key_dim} + {value_dim}) rows, got {rows}")
    k = tuple(RowBlock(start=h * stride, stop=h * stride + key_dim) for h in range(H))
    v = tuple(RowBlock(start=h * stride + key_dim, stop=(h + 1) * stride) for h in range(H))
    return Part(suffix="k", role="k", blocks=k), Part(suffix="v", role="v", blocks=v)


def split_output_gate(heads: int, head_dim: int) -> tuple[Part, ...]:
    """Query and output gate of Qwen3-Next's q_proj: [H, (q, gate), Dh] rows (Qwen3NextAttention.forward)."""
    stride = 2 * head_dim
    q = tuple(RowBlock(start=h * stride, stop=h * stride + head_dim) for h in range(heads))
    gate = tuple(RowBlock(start=h * stride + head_dim, stop=(h + 1) * stride) for h in range(heads))
    return Part(suffix="q", role="q", blocks=q), Part(suffix="output_gate", role="other", blocks=gate)


def split_gate_up(rows: int, order: Literal["gate_up", "up_gate", "interleaved"]) -> tuple[Part, ...]:
    """gate and up of a fused weight: halves in either order, or every other row (gpt-oss: gate even, up odd)."""
    if rows % 2:
        raise CannotSplit(f"a fused gate and up weight was expected to have an even number of rows, got {rows}")
    halves = (RowBlock(start=0, stop=rows // 2),), (RowBlock(start=rows // 2, stop=rows),)
    if order == "interleaved":
        halves = (RowBlock(start=0, stop=rows, step=2),), (RowBlock(start=1, stop=rows, step=2),)
    gate, up = halves if order != "up_gate" else halves[::-1]
    return Part(suffix="gate", role="gate", blocks=gate), Part(suffix="up", role="up", blocks=up)
