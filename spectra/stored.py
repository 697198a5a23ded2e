"""Arrays as a checkpoint stores them, decoded exactly and only where they are needed.

numpy has no bfloat16 and no float8, and decoding a whole embedding to float64 costs four times its size. A `Stored`
keeps the raw bits (bfloat16 as uint16, float8 as uint8), can be sliced, transposed and reshaped like an array, and
decodes the part asked for. Every decoding here is exact: float32 and float64 hold all values of the smaller types.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# Stored dtypes numpy knows itself, under the names used in TensorInfo.dtype.
NATIVE = {"float64": np.float64, "float32": np.float32, "float16": np.float16}

# Eight-bit floats: (exponent bits, mantissa bits, exponent bias, has infinities, NaN patterns other than IEEE's).
# e4m3fn: no infinities, only S.1111.111 is NaN. e5m2: as IEEE. The fnuz types: bias one larger, 0x80 the only NaN.
_FLOAT8 = {
    "float8_e4m3fn": (4, 3, 7),
    "float8_e5m2": (5, 2, 15),
    "float8_e4m3fnuz": (4, 3, 8),
    "float8_e5m2fnuz": (5, 2, 16),
}
FLOAT_DTYPES: tuple[str, ...] = (*NATIVE, "bfloat16", *_FLOAT8, "float8_e8m0fnu")

# What numpy holds the raw bits of each stored dtype in.
RAW_DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(kind) for name, kind in NATIVE.items()},
    "bfloat16": np.dtype(np.uint16),
    **{name: np.dtype(np.uint8) for name in _FLOAT8},
    "float8_e8m0fnu": np.dtype(np.uint8),
}

# Unit roundoff u of each stored dtype: half the distance from 1 to the next number.
_UNIT_ROUNDOFF = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float8_e4m3fn": 2.0**-4,
    "float8_e4m3fnuz": 2.0**-4,
    "float8_e5m2": 2.0**-3,
    "float8_e5m2fnuz": 2.0**-3,
}


def unit_roundoff(dtype: str) -> float:
    """Unit roundoff u of a stored dtype; for a b-bit GGUF type (`Q4_1`, `IQ3_XXS`), 2^-b.

    Source: docs/methods.md for the floats; for quantised types the step of a b-bit block is about 2^-b of
    the block's range, which is our convention.
    """
    if dtype in _UNIT_ROUNDOFF:
        return _UNIT_ROUNDOFF[dtype]
    if dtype in ("F32", "F64", "F16", "BF16"):
        return _UNIT_ROUNDOFF[{"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16"}[dtype]]
    digits = [c for c in dtype if c.isdigit()]
    return 2.0 ** -int(digits[0]) if digits else 2.0**-24


@dataclass(frozen=True)
class Stored:
    """Raw bits of an array and the name of their dtype (a key of `RAW_DTYPES`)."""

    raw: NDArray[Any]
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array, of its raw bits and of what they decode to."""
        return self.raw.shape

    @property
    def T(self) -> Stored:  # noqa: N802 (numpy's name)
        """The transpose, without a copy."""
        return Stored(self.raw.T, self.dtype)

    def __getitem__(self, key: Any) -> Stored:
        return Stored(self.raw[key], self.dtype)

    def reshape(self, *shape: int) -> Stored:
        """As numpy's."""
        return Stored(self.raw.reshape(*shape), self.dtype)

    def sha256(self) -> str:
        """Hash of the raw bits, in C order."""
        return hashlib.sha256(np.ascontiguousarray(self.raw).reshape(-1).view(np.uint8).data).hexdigest()

    def decode(self, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """The values as float64 (default) or float32; a new array unless the raw one already is just that."""
        if self.dtype in NATIVE:
            with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
                return np.asarray(self.raw, dtype=dtype)
        if self.dtype == "bfloat16":
            wide = self.raw.astype(np.uint32)
            wide <<= 16
            return wide.view(np.float32).astype(dtype, copy=False)
        values: NDArray[Any] = float8_table(self.dtype)[self.raw].astype(dtype, copy=False)
        return values

    def decode_into(self, out: NDArray[np.float64]) -> None:
        """Decode into a float64 array of the same shape, without allocating: fresh pages cost more than the arithmetic."""
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            if self.dtype in NATIVE:
                np.copyto(out, self.raw)
            elif self.dtype == "bfloat16":
                wide = _scratch(self.raw.size).reshape(self.raw.shape)
                np.left_shift(self.raw, 16, out=wide, dtype=np.uint32)
                np.copyto(out, wide.view(np.float32))
            else:
                np.copyto(out, float8_table(self.dtype)[self.raw])


_local = threading.local()


def _scratch(size: int) -> NDArray[np.uint32]:
    """This thread's buffer of at least `size` uint32, kept between calls."""
    held: NDArray[np.uint32] | None = getattr(_local, "held", None)
    if held is None or held.size < size:
        held = _local.held = np.empty(size, dtype=np.uint32)
    return held[:size]


@cache
def float8_table(dtype: str) -> NDArray[np.float32]:
    """The 256 values of an eight-bit float dtype, by bit pattern. Shape (256,)."""
    bits = np.arange(256)
    if dtype == "float8_e8m0fnu":  # a bare power of two: 2^(bits - 127), 255 is NaN (OCP MX, 2023)
        powers = np.ldexp(1.0, bits - 127)
        powers[255] = np.nan
        return powers.astype(np.float32)
    exponent_bits, mantissa_bits, bias = _FLOAT8[dtype]
    exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1)
    mantissa = bits & ((1 << mantissa_bits) - 1)
    fraction = mantissa / (1 << mantissa_bits)
    magnitude = np.where(exponent == 0, np.ldexp(fraction, 1 - bias), np.ldexp(1.0 + fraction, exponent - bias))
    values = np.where(bits & 0x80, -magnitude, magnitude)
    if dtype.endswith("fnuz"):
        values[0x80] = np.nan
    elif dtype == "float8_e4m3fn":
        values[(bits & 0x7F) == 0x7F] = np.nan
    else:
        top = (bits & 0x7C) == 0x7C
        values[top & (mantissa == 0)] = np.where(bits[top & (mantissa == 0)] & 0x80, -np.inf, np.inf)
        values[top & (mantissa != 0)] = np.nan
    return values.astype(np.float32)
