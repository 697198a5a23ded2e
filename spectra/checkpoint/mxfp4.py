"""MXFP4 experts as gpt-oss stores them: `X_blocks` and `X_scales`, presented as one tensor X of dtype mxfp4.

E experts, R rows (outputs), G groups of 32 values of a row; blocks (E, R, G, 16) hold two four-bit floats a byte, the
lower half first; scales (E, R, G) are powers of two with bias 127. X has the runtime's shape (E, in, out) =
(E, 32 G, R), as transformers' `convert_moe_packed_tensors` (integrations/mxfp4.py) makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.checkpoint.base import Checkpoint
from spectra.checkpoint.float8 import Wrapped
from spectra.checkpoint.reading import part_of, tensor_label
from spectra.stored import Stored
from spectra.types import TensorInfo

# The sixteen values of an E2M1 float (OCP Microscaling Formats v1.0, 5.3.3), by bit pattern.
_VALUES = np.array([0.0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


class Mxfp4Checkpoint(Wrapped):
    """A checkpoint whose packed experts read as float32 matrices."""

    def __init__(self, inner: Checkpoint, packed: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(inner)
        self._packed = packed
        absorbed = dict(inner.absorbed)
        tensors: dict[str, TensorInfo] = {}
        by_blocks = {blocks: name for name, (blocks, _) in packed.items()}
        for stored, info in inner.tensors.items():
            tensors[stored] = info
            if stored in by_blocks:  # X stands where its blocks stand in the file
                name = by_blocks[stored]
                experts, rows, groups, _ = info.shape
                shape = (experts, groups * 32, rows)
                tensors[name] = TensorInfo(name=name, shape=shape, dtype="mxfp4", file=info.file)
        for name, (blocks, scales) in packed.items():
            absorbed[blocks] = f"packed values of {name}"
            absorbed[scales] = f"scales of {name}"
        self.tensors = tensors
        self.absorbed = absorbed
        self.details: Mapping[str, Any] = {**inner.details, "mxfp4_tensors": len(packed)}

    def read(self, name: str, index: int | None = None) -> Stored:
        if name not in self._packed:
            return self.inner.read(name, index)
        info = self.tensors[name]
        part_of(info, index, tensor_label(info.file, name))
        blocks, scales = self._packed[name]
        if index is not None:
            return Stored(_expert(self.inner.read(blocks, index).raw, self.inner.read(scales, index).raw), "float32")
        result = np.empty(info.shape, np.float32)
        for expert in range(info.shape[0]):
            result[expert] = _expert(self.inner.read(blocks, expert).raw, self.inner.read(scales, expert).raw)
        return Stored(result, "float32")


def _expert(blocks: NDArray[np.uint8], scales: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One expert: blocks (R, G, 16), scales (R, G) -> (32 G, R)."""
    rows, groups, _ = blocks.shape
    values = np.empty((rows, groups, 32), np.float32)
    values[..., 0::2] = _VALUES[blocks & 0x0F]
    values[..., 1::2] = _VALUES[blocks >> 4]
    with np.errstate(over="ignore"):
        np.ldexp(values, scales.astype(np.int32)[..., None] - 127, out=values)
    return values.reshape(rows, groups * 32).T


def wrap_mxfp4(inner: Checkpoint) -> Checkpoint:
    """`inner` itself, or wrapped where it has packed experts."""
    packed: dict[str, tuple[str, str]] = {}
    for name, info in inner.tensors.items():
        if not name.endswith("_blocks") or info.dtype != "uint8" or len(info.shape) != 4 or info.shape[3] != 16:
            continue
        base = name.removesuffix("_blocks")
        scales = inner.tensors.get(base + "_scales")
        if scales is None or scales.dtype != "uint8" or scales.shape != info.shape[:3] or base in inner.tensors:
            continue
        packed[base] = (name, scales.name)
    return Mxfp4Checkpoint(inner, packed) if packed else inner
