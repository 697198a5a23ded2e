"""safetensors: a strict parser of the header, and reads of single tensors or slices.

The library's numpy route knows neither bfloat16 nor float8, and its memory map lets the resident memory grow
with the file. Format: u64 header length, JSON header, data; repository huggingface/safetensors
(README, "Format"). The checks are those of the reference implementation (`Metadata::validate`): offsets
without holes or overlaps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spectra.checkpoint.parts import Part
from spectra.checkpoint.reading import (
    MAX_DIMS,
    MAX_JSON_BYTES,
    encodable,
    file_size,
    parse_json,
    part_of,
    read_array,
    read_bytes,
    require_readable,
    tensor_label,
)
from spectra.errors import CheckpointError
from spectra.stored import Stored
from spectra.types import TensorInfo

# safetensors' dtype -> (our name, bits). Types below eight bits keep their own name: nobody else has one for
# them.
DTYPES: dict[str, tuple[str, int]] = {
    "BOOL": ("bool", 8),
    "F4": ("F4", 4),
    "F6_E2M3": ("F6_E2M3", 6),
    "F6_E3M2": ("F6_E3M2", 6),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "I16": ("int16", 16),
    "U16": ("uint16", 16),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "I32": ("int32", 32),
    "U32": ("uint32", 32),
    "F32": ("float32", 32),
    "C64": ("complex64", 64),
    "F64": ("float64", 64),
    "I64": ("int64", 64),
    "U64": ("uint64", 64),
}
_AGAIN = "download or save the file again"


class SafetensorsPart(Part):
    """One safetensors file.

    Raises:
        CheckpointError: the header is damaged, or does not fit the file.
    """

    def __init__(self, path: Path, label: str) -> None:
        self.label = label
        self.size = file_size(path, label)
        self.aliases: Mapping[str, str] = {}
        self.details: Mapping[str, Any] = {}
        self._path = path
        if self.size < 8:
            raise CheckpointError(
                f"{label}: {self.size} bytes, too short for a safetensors file (8 bytes of header length); {_AGAIN}."
            )
        length = int.from_bytes(read_bytes(path, 0, 8, label), "little")
        if length > min(MAX_JSON_BYTES, self.size - 8):
            raise CheckpointError(
                f"{label}: claims a safetensors header of {length} bytes, but the file has {self.size} bytes "
                f"(and the limit is {MAX_JSON_BYTES}); it is truncated, damaged, or not safetensors: "
                f"{_AGAIN}."
            )
        raw = read_bytes(path, 8, length, label)
        self._data_start = 8 + length
        self.tensors, self._offsets = parse_header(raw, self.size - self._data_start, label)

    def read(self, name: str, index: int | None = None) -> Stored:
        info = self.tensors[name]
        label = tensor_label(self.label, name)
        require_readable(info, label)
        shape, before = part_of(info, index, label)
        offset = self._data_start + self._offsets[name] + before * DTYPES_BYTES[info.dtype]
        return Stored(read_array(self._path, offset, shape, info.dtype, label), info.dtype)


DTYPES_BYTES = {name: bits // 8 for name, bits in DTYPES.values()}


def parse_header(raw: bytes, data_size: int, label: str) -> tuple[dict[str, TensorInfo], dict[str, int]]:
    """Tensors of a header in file order, and where in the data each begins.

    Raises:
        CheckpointError: not JSON, an entry is malformed, or the entries do not tile the `data_size` bytes of
            data.
    """
    if raw[:1] != b"{":
        raise CheckpointError(
            f"{label}: not a safetensors file, or damaged: its header starts with {raw[:4]!r}, not '{{'; {_AGAIN}."
        )
    header = parse_json(raw, f"{label} (safetensors header)")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{label}: '__metadata__' must map text to text; {_AGAIN}.")
    return check_entries(header, data_size, label)


def check_entries(
    header: Mapping[str, Any], data_size: int, label: str
) -> tuple[dict[str, TensorInfo], dict[str, int]]:
    """The entries of a header, checked one by one and against each other; as `parse_header`."""
    extents = []
    for name, entry in header.items():
        info, start, end = _entry(name, entry, label)
        extents.append((start, end, info))
    extents.sort(key=lambda extent: (extent[0], extent[1]))
    position = 0
    for start, end, info in extents:
        if start != position:
            problem = "overlaps the tensor before it" if start < position else "leaves a hole before it"
            raise CheckpointError(
                f"{tensor_label(label, info.name)}: {problem} (starts at byte {start}, expected {position}); "
                f"the header is damaged: {_AGAIN}."
            )
        position = end
    if position != data_size:
        problem = "truncated" if position > data_size else f"{data_size - position} bytes too long"
        last = f" (its last tensor is '{extents[-1][2].name}')" if extents else ""
        raise CheckpointError(
            f"{label}: {problem}: the header describes {position} bytes of data{last}, the file has "
            f"{data_size}; {_AGAIN}."
        )
    tensors = {info.name: info for _, _, info in extents}
    return tensors, {info.name: start for start, _, info in extents}


def _entry(name: str, entry: Any, label: str) -> tuple[TensorInfo, int, int]:
    """One entry of the header: the tensor, and its begin and end in the data."""
    if not encodable(name):
        raise CheckpointError(f"{label}: the tensor name {name!r} is not valid text; {_AGAIN}.")
    where = tensor_label(label, name)
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise CheckpointError(f"{where}: expected dtype, shape and data_offsets in the header; {_AGAIN}.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise CheckpointError(f"{where}: unknown dtype {dtype!r}; expected one of {', '.join(DTYPES)}.")
    if not _sizes(shape) or len(shape) > MAX_DIMS:
        raise CheckpointError(
            f"{where}: the shape {shape!r:.200} is not a list of at most {MAX_DIMS} non-negative integers; {_AGAIN}."
        )
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(f"{where}: data_offsets {offsets!r:.200} are not [begin, end]; {_AGAIN}.")
    name_of_dtype, bits = DTYPES[dtype]
    if math.prod(shape) * bits != (offsets[1] - offsets[0]) * 8:
        raise CheckpointError(
            f"{where}: shape {shape} of {dtype} needs {math.prod(shape) * bits // 8} bytes, data_offsets "
            f"give {offsets[1] - offsets[0]}; {_AGAIN}."
        )
    info = TensorInfo(name=name, shape=tuple(shape), dtype=name_of_dtype, file=label)
    return info, offsets[0], offsets[1]


def _sizes(value: Any) -> bool:
    """Whether a value is a list of non-negative 64-bit integers (true and false are not integers here)."""
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**63 for item in value
    )
