"""Why a tensor holds no weight matrix: vectors, integers, packed quantised data, masks, position tables."""

from __future__ import annotations

import re
from functools import lru_cache

from spectra.naming.names import Item

_INTEGER = re.compile(r"u?int\d*|[IU]\d+|bool|BOOL|[ui]\d+")
_REAL = re.compile(r"b?float\d*(?:_e\dm\d\w*)?|B?F\d+|I?Q\d\w*|TQ\d\w*|MXFP4|NVFP4|double|half")
_ROTARY = re.compile(
    r"(?:.*[._])?(?:inv_freq|rope_freqs|rope_factors_(?:long|short)|freqs_cis|(?:cos|sin)_cached)(?:\.weight)?"
)
_MASK = re.compile(r"(?:.*\.)?(?:attn|attention|self)\.(?:masked_bias|mask)|(?:.*\.)?causal_mask")
_MASK_OR_BIAS = re.compile(r"(?:.*\.)?(?:\w*attn|\w*attention|self)\.bias")
_PACKED = re.compile(
    r"(?:.*[._])?(?:qweight|qzeros|g_idx|weight_packed|blocks|absmax|quant_map|nested_absmax|nested_quant_map|SCB"
    r"|bitsandbytes__\w+)"
)
_SCALES = re.compile(r".*(?:\.|_)(?:scales|weight_scale(?:_inv|_2)?|input_scale|zero_point|weight_zero_point)")
_EXPERTS = re.compile(r"(?:^|[._])(?:\w*experts?|exps)(?:\.|$)")

VECTOR = "vector (1-D)"

# Beginnings of the reasons, ours and the readers' (`Checkpoint.absorbed`), that lose no weight matrix.
_NO_LOSS = (
    VECTOR, "scalar", "empty tensor", "integer tensor", "rotary position", "causal mask", "bias of stacked", "scale of ",
    "scales of ", "packed values of ", "LoRA factor", "LoRA bias of", "DoRA magnitude of",
)  # fmt: skip


_ABSORBED = ("scale of ", "scales of ", "packed values of ", "LoRA factor", "LoRA bias of", "DoRA magnitude of")


def is_absorbed(reason: str) -> bool:
    """Whether a skipped tensor's values are part of another line of the ledger."""
    return reason.startswith(_ABSORBED)


def loses_matrix(reason: str) -> bool:
    """Whether a tensor skipped for this reason held weights that now go unanalysed (what --strict objects to)."""
    return not reason.startswith(_NO_LOSS)


def skip_reason(item: Item) -> str | None:
    """A sentence for the ledger, or None if the tensor is to be analysed. Knows names, shapes and dtypes only."""
    # What a tensor is called says more than its shape: `inv_freq` is no mere vector, `qweight` no mere integers.
    return _by_name(item) or _by_type_and_shape(item)


def _by_name(item: Item) -> str | None:
    shape, dtype = item.shape, item.info.dtype
    if 0 in shape:
        return "empty tensor"
    kind = _kind(".".join(item.name.rsplit(".", 3)[1:]) or item.name)
    if kind == "rotary":
        return "rotary position frequencies: computed, not learned"
    # GPT-2's and GPT-NeoX's lower triangle is (1, 1, n, n); a projection's bias of the same name is a vector
    if kind == "mask" or (kind == "mask_or_bias" and len(shape) == 4 and shape[0] == shape[1] == 1):
        return "causal mask buffer: computed, not learned"
    if kind == "packed" and (_integer(dtype) or item.name.endswith("_blocks")):
        return _packed(dtype)
    if kind == "scales" and len(shape) >= 2:
        return "scales of packed quantised weights, which are not analysed by themselves"
    return "bias of stacked experts" if len(shape) == 2 and _is_expert_bias(item) else None


@lru_cache(maxsize=16384)
def _kind(tail: str) -> str:
    """What the last parts of a name say, before shape and dtype are looked at."""
    kinds = (
        ("rotary", _ROTARY), ("mask", _MASK), ("mask_or_bias", _MASK_OR_BIAS), ("packed", _PACKED), ("scales", _SCALES),
    )  # fmt: skip
    return next((kind for kind, words in kinds if words.fullmatch(tail)), "")


def _by_type_and_shape(item: Item) -> str | None:
    shape, dtype = item.shape, item.info.dtype
    if len(shape) <= 1:
        return VECTOR if shape else "scalar"
    if _integer(dtype):
        # A weight stored in whole numbers is quantised: bitsandbytes (uint8, int8), compressed-tensors, GGUF I8.
        return _packed(dtype) if item.parameter == "weight" else "integer tensor"
    if not _REAL.fullmatch(dtype):
        return f"stored as {dtype}, which is not a type of real numbers known here"
    is_vector = len(shape) > 2 and sum(size > 1 for size in shape) <= 1
    return VECTOR if is_vector else None


def _integer(dtype: str) -> bool:
    return _INTEGER.fullmatch(dtype) is not None


def _packed(dtype: str) -> str:
    return (
        f"packed quantised weights ({dtype}): analyse the unquantised checkpoint, a dequantised export, or a GGUF of it"
    )


def _is_expert_bias(item: Item) -> bool:
    """(E, out): one bias an expert, in a tensor whose weight has a third dimension."""
    return item.name.endswith("bias") and _EXPERTS.search(item.path + ".") is not None
