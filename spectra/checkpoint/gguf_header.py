"""The header of a GGUF file: metadata and tensor infos, read without the tensors and without the tokenizer's
words.

An own parser because gguf.GGUFReader maps the file and makes an object of every token (seconds, hundreds of
megabytes).
Format: GGUF version 2 and 3, ggml-org/ggml, docs/gguf.md, little-endian.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from spectra.checkpoint.reading import encodable, file_errors, file_size, tensor_label
from spectra.errors import CheckpointError

# Value type -> struct format (gguf.md, `enum gguf_metadata_value_type`); 8 is a string, 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_KEPT = 4096  # longer arrays (tokens, scores) are skipped: only their length is kept
_MAX_DEPTH = 8
_MAX_DIMS = 4  # GGML_MAX_DIMS
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Skipped:
    """An array of the metadata that was not kept."""

    length: int


@dataclass(frozen=True, kw_only=True)
class GgufTensor:
    """One tensor info. `shape` is in numpy's order, the reverse of GGUF's; `offset` counts from the file's start."""

    name: str
    shape: tuple[int, ...]
    type_number: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """What stands before the data of a GGUF file."""

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]
    size: int


class _Cursor:
    """Reads forward through a file; every length is checked against what is left before anything is allocated."""

    def __init__(self, file: BinaryIO, size: int, label: str) -> None:
        self._file = file
        self._size = size
        self._label = label
        self._chunk = b""
        self._at = 0  # position within the chunk
        self._start = 0  # of the chunk within the file

    @property
    def position(self) -> int:
        return self._start + self._at

    def damaged(self, problem: str) -> CheckpointError:
        return CheckpointError(
            f"{self._label}: damaged or truncated GGUF header: {problem} at byte {self.position} of "
            f"{self._size}; download or convert the file again."
        )

    def need(self, count: int) -> None:
        if count > self._size - self.position:
            raise self.damaged(f"{count} bytes expected, {self._size - self.position} left")

    def take(self, count: int) -> bytes:
        self._ensure(count)
        self._at += count
        return self._chunk[self._at - count : self._at]

    def skip(self, count: int) -> None:
        self.need(count)
        self._at += count
        if self._at > len(self._chunk):
            self._start, self._at, self._chunk = self.position, 0, b""
            self._file.seek(self._start)

    def _ensure(self, count: int) -> None:
        self.need(count)
        if len(self._chunk) - self._at < count:
            self._start += self._at
            self._chunk = self._chunk[self._at :] + self._file.read(max(_CHUNK, count))
            self._at = 0
            if len(self._chunk) < count:
                raise self.damaged("the file became shorter")

    def skip_strings(self, count: int) -> None:
        """Pass `count` strings: the inner loop of a tokenizer's vocabulary, so without a call per string."""
        self.need(8 * count)
        unpack = struct.Struct("<Q").unpack_from
        while count:
            self._ensure(8)
            chunk, at, limit = self._chunk, self._at, len(self._chunk) - 8
            while count and at <= limit:
                at += 8 + unpack(chunk, at)[0]
                count -= 1
            length = at - self._at
            self.skip(length)

    def number(self, kind: str) -> Any:
        return struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))[0]

    def text(self) -> str:
        length = self.number("Q")
        self.need(length)
        if length > _CHUNK:
            raise self.damaged(f"a name or text of {length} bytes")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged("text that is not UTF-8") from None


def read_header(path: Path, label: str) -> GgufHeader:
    """The header of a GGUF file.

    Raises:
        CheckpointError: not GGUF, big-endian, another version, truncated or damaged.
    """
    size = file_size(path, label)
    with file_errors(label), path.open("rb", buffering=0) as raw:
        cursor = _Cursor(raw, size, label)
        version = _preamble(cursor, size, label)
        tensor_count, pair_count = cursor.number("Q"), cursor.number("Q")
        cursor.need(pair_count * 13 + tensor_count * 24)  # the least that a pair and a tensor info take
        metadata: dict[str, Any] = {}
        for _ in range(pair_count):
            key = cursor.text()
            if key in metadata:
                raise cursor.damaged(f"the key {key!r} appears twice")
            metadata[key] = _value(cursor, cursor.number("I"), key)
        infos = [_tensor_info(cursor, label) for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise CheckpointError(f"{label}: general.alignment is {alignment!r}, expected a power of two.")
        start = -(-cursor.position // alignment) * alignment
    tensors = tuple(_placed(info, start, alignment, label) for info in infos)
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CheckpointError(f"{tensor_label(label, twice)}: appears twice in the header; the file is damaged.")
    return GgufHeader(version=version, metadata=metadata, tensors=tensors, size=size)


def _preamble(cursor: _Cursor, size: int, label: str) -> int:
    """Check magic and version; the cursor then stands before the two counts."""
    if size < 24:
        raise CheckpointError(f"{label}: {size} bytes, too short for a GGUF file; download or convert it again.")
    magic = cursor.take(4)
    if magic != b"GGUF":
        raise CheckpointError(f"{label}: not a GGUF file: it starts with {magic!r}, expected b'GGUF'.")
    version: int = cursor.number("I")
    if version in (2, 3):
        return version
    if int.from_bytes(version.to_bytes(4, "little"), "big") in (1, 2, 3):
        raise CheckpointError(
            f"{label}: is a big-endian GGUF file, expected a little-endian one; convert it with gguf's "
            "`gguf-convert-endian FILE little`."
        )
    raise CheckpointError(
        f"{label}: GGUF version {version}, expected 2 or 3; convert the model again with a current llama.cpp."
    )


def _value(cursor: _Cursor, kind: int, key: str, depth: int = 0) -> Any:
    """One metadata value; long arrays and arrays of text come back as `Skipped`."""
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind])
    if kind == _STRING:
        length = cursor.number("Q")
        cursor.need(length)
        if length > _CHUNK:
            cursor.skip(length)
            return Skipped(length)
        return cursor.take(length).decode("utf-8", errors="replace")
    if kind != _ARRAY or depth > _MAX_DEPTH:
        raise cursor.damaged(f"the key {key!r} has a value of unknown type {kind}")
    return _array(cursor, key, depth)


def _array(cursor: _Cursor, key: str, depth: int) -> Any:
    """An array: a list of numbers or of lists, or `Skipped`."""
    element, count = cursor.number("I"), cursor.number("Q")
    if element == _STRING:
        cursor.skip_strings(count)
        return Skipped(count)
    if element == _ARRAY:
        cursor.need(12 * count)
        values = [_value(cursor, _ARRAY, key, depth + 1) for _ in range(count)]
        return values if count <= _MAX_KEPT else Skipped(count)
    if element not in _SCALARS:
        raise cursor.damaged(f"the key {key!r} has an array of unknown type {element}")
    width = struct.calcsize("<" + _SCALARS[element])
    cursor.need(width * count)
    if count > _MAX_KEPT:
        cursor.skip(width * count)
        return Skipped(count)
    return list(struct.unpack(f"<{count}{_SCALARS[element]}", cursor.take(width * count)))


def _tensor_info(cursor: _Cursor, label: str) -> GgufTensor:
    """One tensor info, its offset still relative to the data."""
    name = cursor.text()
    dims = cursor.number("I")
    if dims > _MAX_DIMS or not encodable(name):
        raise CheckpointError(
            f"{tensor_label(label, name)}: {dims} dimensions, expected at most {_MAX_DIMS}; the file is damaged."
        )
    shape = tuple(cursor.number("Q") for _ in range(dims))
    return GgufTensor(name=name, shape=shape[::-1], type_number=cursor.number("I"), offset=cursor.number("Q"))


def _placed(info: GgufTensor, start: int, alignment: int, label: str) -> GgufTensor:
    if info.offset % alignment:
        raise CheckpointError(
            f"{tensor_label(label, info.name)}: its offset {info.offset} is no multiple of {alignment}; the "
            "file is damaged."
        )
    if math.prod(info.shape) >= 2**62:
        raise CheckpointError(f"{tensor_label(label, info.name)}: impossible shape {info.shape}; the file is damaged.")
    return GgufTensor(name=info.name, shape=info.shape, type_number=info.type_number, offset=start + info.offset)
