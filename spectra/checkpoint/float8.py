"""float8 weights with scales beside them, presented as the values they stand for: float8 value times scale.

Conventions (the scale multiplies in all of them, `_inv` or not):
- DeepSeek and its followers: `X.weight_scale_inv`, one scale per block of quantization_config.weight_block_size
  (128 x 128): repository deepseek-ai/DeepSeek-V3, inference/kernel.py, weight_dequant;
- compressed-tensors, FBGEMM, ModelOpt: `X.weight_scale`, one per tensor or per output channel;
- stacks of experts (E, ...): `X_scale_inv`, `X_scale`, with the same choices per expert.

A product of a float8 (at most 4 significant bits) and a float32 scale is exact in float64, so that is what read()
returns. Scales of activations (`input_scale`, `k_scale`, `v_scale`) scale no weight and stay ordinary tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.checkpoint.base import Checkpoint
from spectra.checkpoint.reading import part_of, tensor_label
from spectra.errors import CheckpointError
from spectra.stored import FLOAT_DTYPES, Stored
from spectra.types import TensorInfo

_WEIGHTS = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
_SUFFIXES = ("_scale_inv", "_scale")
_USUAL_BLOCK = 128
_BAND = 1 << 22  # elements scaled at a time, so that the temporaries stay small


class Wrapped(Checkpoint):
    """Another checkpoint with some tensors presented differently; everything else passes through."""

    def __init__(self, inner: Checkpoint) -> None:
        self.inner = inner
        self.source, self.format, self.config = inner.source, inner.format, inner.config
        self.tensors, self.aliases, self.absorbed = inner.tensors, inner.aliases, inner.absorbed
        self.details, self.files = inner.details, inner.files

    def read(self, name: str, index: int | None = None) -> Stored:
        return self.inner.read(name, index)

    def close(self) -> None:
        self.inner.close()


class Float8Checkpoint(Wrapped):
    """A checkpoint whose scaled float8 tensors read as value times scale, in float64.

    Raises:
        CheckpointError: a scale whose shape does not fit its weight.
    """

    def __init__(self, inner: Checkpoint, scales: Mapping[str, str]) -> None:
        super().__init__(inner)
        self._scales = scales
        self._blocks: dict[str, tuple[int, ...]] = {}
        described: dict[str, list[str]] = {}
        configured = _configured_block(inner.config)
        for weight, scale in scales.items():
            blocks = _block_sizes(inner.tensors[weight], inner.tensors[scale], configured)
            self._blocks[weight] = blocks
            described.setdefault(f"{_suffix(weight, scale)}, blocks of {list(blocks)}", []).append(weight)
        self.absorbed = {**inner.absorbed, **{scale: f"scale of {weight}" for weight, scale in scales.items()}}
        counts = {kind: len(weights) for kind, weights in described.items()}
        self.details = {**inner.details, "float8_scales": counts}

    def read(self, name: str, index: int | None = None) -> Stored:
        if name not in self._scales:
            return self.inner.read(name, index)
        info = self.tensors[name]
        part_of(info, index, tensor_label(info.file, name))
        blocks = self._blocks[name]
        scale: NDArray[np.float64] = self.inner.read(self._scales[name]).decode(np.float64)
        scale = scale.reshape(tuple(scale.shape) + (1,) * (len(info.shape) - scale.ndim))
        values = self.inner.read(name, index)
        if index is not None:
            scale = scale[index // blocks[0]] if len(scale) > 1 else scale[0]
            blocks = blocks[1:]
        return Stored(_scaled(values, scale, blocks), "float64")


def wrap_float8(inner: Checkpoint) -> Checkpoint:
    """`inner` itself, or wrapped where float8 tensors have scales."""
    scales: dict[str, str] = {}
    for name, info in inner.tensors.items():
        if info.dtype not in _WEIGHTS or name in inner.absorbed:
            continue
        for suffix in _SUFFIXES:
            scale = inner.tensors.get(name + suffix)
            if scale is not None and scale.dtype in FLOAT_DTYPES:
                scales[name] = scale.name
                break
    return Float8Checkpoint(inner, scales) if scales else inner


def _suffix(weight: str, scale: str) -> str:
    return "*" + weight.rpartition(".")[2] + scale.removeprefix(weight)


def _configured_block(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """quantization_config.weight_block_size, where the config has one that makes sense."""
    quantisation = config.get("quantization_config")
    block = quantisation.get("weight_block_size") if isinstance(quantisation, Mapping) else None
    if isinstance(block, list | tuple) and len(block) == 2 and all(isinstance(b, int) and b > 0 for b in block):
        return int(block[0]), int(block[1])
    return None


def _block_sizes(weight: TensorInfo, scale: TensorInfo, configured: tuple[int, int] | None) -> tuple[int, ...]:
    """How many elements along each dimension of the weight share a scale.

    A scale with fewer dimensions belongs to the leading ones (per output channel, per expert).

    Raises:
        CheckpointError: the shapes do not go together.
    """
    label = tensor_label(scale.file, scale.name)
    shape = scale.shape + (1,) * (len(weight.shape) - len(scale.shape))
    if len(shape) > len(weight.shape):
        raise CheckpointError(f"{label}: shape {scale.shape} has more dimensions than {weight.name} {weight.shape}.")
    blocks = []
    for axis, (size, count) in enumerate(zip(weight.shape, shape, strict=True)):
        from_end = len(weight.shape) - axis
        wanted = configured[2 - from_end] if configured is not None and from_end <= 2 else None
        block = _block_size(size, count, wanted)
        if block is None:
            raise CheckpointError(
                f"{label}: shape {scale.shape} fits no blocks of {weight.name} with shape {weight.shape}"
                + (f" and weight_block_size {list(configured)}" if configured else "")
                + "; expected one scale per tensor, output channel or block."
            )
        blocks.append(block)
    return tuple(blocks)


def _block_size(size: int, count: int, wanted: int | None) -> int | None:
    """Elements that share a scale along one dimension: `count` blocks cover `size` elements, the last may be short."""
    if count == 1:
        return max(size, 1)
    if count == size:
        return 1
    for block in (wanted, _USUAL_BLOCK):
        if block is not None and -(-size // block) == count:
            return block
    if wanted is not None or count == 0 or count > size:
        return None
    block = -(-size // count)
    return block if -(-size // block) == count else None


def _scaled(values: Stored, scale: NDArray[np.float64], blocks: tuple[int, ...]) -> NDArray[np.float64]:
    """value * scale in float64; `scale` has as many dimensions as `values`, `blocks` elements to each scale."""
    shape = values.shape
    if not shape:
        return np.asarray(values.decode() * scale.reshape(()))
    result = np.empty(shape, np.float64)
    rows = max(1, _BAND // max(1, values.raw[:1].size))
    for start in range(0, shape[0], rows):
        stop = min(start + rows, shape[0])
        band = scale[np.arange(start, stop) // blocks[0]] if scale.shape[0] > 1 else scale
        for axis in range(1, len(shape)):
            if band.shape[axis] > 1:
                band = np.take(band, np.arange(shape[axis]) // blocks[axis], axis=axis)
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are for the caller to find
            result[start:stop] = values[start:stop].decode() * band
    return result
