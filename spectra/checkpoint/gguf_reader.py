"""GGUF checkpoints: quantised tensors are dequantised to float32 on read, as the gguf package defines it.

llama.cpp's converter permutes the rows of q and k within each head of Llama models (for its RoPE). Spectra,
and the circuits W_K^T W_Q of a head, do not change under a permutation that both share.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.checkpoint.gguf_header import GgufHeader, GgufTensor, Skipped, read_header
from spectra.checkpoint.parts import Description, Part, PartsCheckpoint
from spectra.checkpoint.reading import file_errors, part_of, read_array, tensor_label
from spectra.errors import CheckpointError
from spectra.stored import Stored
from spectra.types import TensorInfo

# GGUF types that are plain numbers -> our dtype names. All others keep GGUF's name and are dequantised.
_PLAIN = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
}  # fmt: skip

# Metadata key, after the architecture's name and a dot -> the name in a Hugging Face config.
_CONFIG = {
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "v_head_dim",
    "attention.key_length_mla": "qk_head_dim",
    "attention.value_length_mla": "mla_v_head_dim",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.sliding_window": "sliding_window",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
    "rope.dimension_count": "rope_dim",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_shared_count": "n_shared_experts",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "leading_dense_block_count": "first_k_dense_replace",
    "nextn_predict_layers": "num_nextn_predict_layers",
}
_SPLIT = re.compile(r"^(?P<stem>.*)-(?P<part>\d{5})-of-(?P<of>\d{5})\.gguf$")


class GgufPart(Part):
    """One GGUF file.

    Raises:
        CheckpointError: damaged header, a tensor of unknown type, or one that reaches beyond the file.
    """

    def __init__(self, path: Path, label: str) -> None:
        import gguf

        self.label = label
        self._path = path
        self.header: GgufHeader = read_header(path, label)
        self.size = self.header.size
        self.aliases: Mapping[str, str] = {}
        self._sizes = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
        self._names = {int(kind): kind.name for kind in gguf.GGML_QUANT_SIZES}
        self._stored = {tensor.name: tensor for tensor in self.header.tensors}
        self.tensors = {tensor.name: self._info(tensor) for tensor in self.header.tensors}
        self._check_overlaps()
        self.details: Mapping[str, Any] = self._describe(gguf)

    def _info(self, tensor: GgufTensor) -> TensorInfo:
        label = tensor_label(self.label, tensor.name)
        if tensor.type_number not in self._sizes:
            raise CheckpointError(
                f"{label}: has GGUF type number {tensor.type_number}, which the installed gguf package does "
                "not know; update gguf, or convert the model to another type."
            )
        block, _ = self._sizes[tensor.type_number]
        if (tensor.shape[-1] if tensor.shape else 1) % block:
            raise CheckpointError(
                f"{label}: rows of {tensor.shape[-1] if tensor.shape else 1} values are no multiple of the "
                f"block of {block} of type {self._names[tensor.type_number]}; the file is damaged."
            )
        if tensor.offset + self._bytes(tensor.shape, tensor.type_number) > self.size:
            raise CheckpointError(
                f"{label}: truncated: needs bytes up to "
                f"{tensor.offset + self._bytes(tensor.shape, tensor.type_number)}, the file has {self.size}; "
                "download or convert it again."
            )
        kind = self._names[tensor.type_number]
        return TensorInfo(name=tensor.name, shape=tensor.shape, dtype=_PLAIN.get(kind, kind), file=self.label)

    def _bytes(self, shape: tuple[int, ...], type_number: int) -> int:
        block, width = self._sizes[type_number]
        return math.prod(shape) // block * width

    def _check_overlaps(self) -> None:
        end, before = 0, ""
        for tensor in sorted(self._stored.values(), key=lambda item: item.offset):
            count = self._bytes(tensor.shape, tensor.type_number)
            if count and tensor.offset < end:
                raise CheckpointError(
                    f"{tensor_label(self.label, tensor.name)}: overlaps '{before}' in the file; the file is damaged."
                )
            if count:
                end, before = tensor.offset + count, tensor.name

    def _describe(self, gguf: Any) -> dict[str, Any]:
        """What provenance keeps: version, file type, how many tensors of which type."""
        number = self.header.metadata.get("general.file_type")
        names = {int(kind): kind.name for kind in gguf.LlamaFileType}
        file_type = names.get(number, str(number)) if isinstance(number, int) else "unknown"
        counts = Counter(self._names[tensor.type_number] for tensor in self.header.tensors)
        details: dict[str, Any] = {
            "gguf_version": self.header.version,
            "gguf_file_type": file_type,
            "quantisation": dict(counts),
        }
        if isinstance(name := self.header.metadata.get("general.name"), str):
            details["model_name"] = name
        return details

    def read(self, name: str, index: int | None = None) -> Stored:
        info, tensor = self.tensors[name], self._stored[name]
        label = tensor_label(self.label, name)
        shape, before = part_of(info, index, label)
        block, width = self._sizes[tensor.type_number]
        if before % block or (shape[-1] if shape else 1) % block:
            raise CheckpointError(f"{label}: elements of a quantised vector cannot be read one by one.")
        offset = tensor.offset + before // block * width
        if info.dtype in _PLAIN.values():
            return Stored(read_array(self._path, offset, shape, info.dtype, label), info.dtype)
        packed = (*shape[:-1], shape[-1] // block * width)
        raw = read_array(self._path, offset, packed, "uint8", label)
        return Stored(_dequantised(raw, shape, tensor.type_number, label), "float32")


def _dequantised(raw: NDArray[Any], shape: tuple[int, ...], type_number: int, label: str) -> NDArray[Any]:
    """Packed blocks (..., row bytes) -> float32 of `shape`."""
    import gguf

    kind = gguf.GGMLQuantizationType(type_number)
    if 0 in shape:
        return np.empty(shape, np.float32)
    try:
        with file_errors(label), np.errstate(all="ignore"):  # damaged scales may be infinite
            values: NDArray[Any] = gguf.quants.dequantize(raw, kind).reshape(shape)
    except NotImplementedError as error:
        raise CheckpointError(
            f"{label}: has type {kind.name}, which the gguf package cannot dequantise; convert the model to "
            "another type."
        ) from error
    return values


def open_gguf(path: Path, label: str, config: Mapping[str, Any] | None = None) -> PartsCheckpoint:
    """A GGUF checkpoint from its file, or from any part of a split one; `config` replaces that of the
    metadata.

    Raises:
        CheckpointError: as GgufPart; a part of a split file is missing.
    """
    parts = [GgufPart(file, name) for file, name in _all_parts(path, label)]
    metadata: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for part in parts:
        metadata = {**part.header.metadata, **metadata}
        counts.update(part.details["quantisation"])
    details = {**parts[0].details, "quantisation": dict(counts)}
    description = Description(
        source=label, format="gguf", config=config if config is not None else gguf_config(metadata), details=details
    )
    return PartsCheckpoint(description, parts)


def _all_parts(path: Path, label: str) -> list[tuple[Path, str]]:
    """Path and label of every part of a split file (`name-00002-of-00003.gguf`), or the one file."""
    match = _SPLIT.match(path.name)
    if match is None:
        return [(path, label)]
    folder, total = label[: len(label) - len(path.name)], int(match["of"])
    names = [f"{match['stem']}-{number:05d}-of-{match['of']}.gguf" for number in range(1, total + 1)]
    with file_errors(label):
        missing = next((name for name in names if not path.with_name(name).is_file()), None)
    if missing is not None or not names:
        raise CheckpointError(f"{label}: its part {missing} is missing; put all {total} parts into one folder.")
    return [(path.with_name(name), folder + name) for name in names]


def gguf_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata in the names of a Hugging Face config; per-layer values stay lists."""
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        return {}
    config: dict[str, Any] = {"model_type": architecture}
    for key, name in _CONFIG.items():
        value = metadata.get(f"{architecture}.{key}")
        if value is not None and not isinstance(value, Skipped):
            config[name] = value
    tokens = metadata.get("tokenizer.ggml.tokens")
    if "vocab_size" not in config and isinstance(tokens, Skipped):
        config["vocab_size"] = tokens.length
    return config
