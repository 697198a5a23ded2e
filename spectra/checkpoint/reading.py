"""Bytes of files, with one kind of error: what every reader of this package does to a file.

Nothing is memory-mapped: pages of a map count as resident memory until it is closed, and a map of a file on a
network drive turns an I/O error into a crash. A read opens its own handle, so reads from several threads do
not meet.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.errors import CheckpointError
from spectra.stored import RAW_DTYPES
from spectra.types import TensorInfo

# What numpy holds the bits of every readable dtype in: the floats of stored.py, and the types that are only
# copied.
RAW: dict[str, np.dtype[Any]] = {
    **RAW_DTYPES,
    **{
        name: np.dtype(name)
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
    },
    "complex64": np.dtype(np.complex64),
    "complex128": np.dtype(np.complex128),
}

MAX_DIMS = 32  # far above any weight, below numpy's own limit of 64
MAX_JSON_BYTES = 100_000_000  # the limit the safetensors reference implementation puts on its header

_LFS = b"version https://git-lfs"


@contextmanager
def file_errors(label: str) -> Iterator[None]:
    """Turn what the operating system says about a file into a CheckpointError that names it."""
    try:
        yield
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(f"{label}: no such file; expected a checkpoint file there.") from None
    except PermissionError:
        raise CheckpointError(f"{label}: permission denied; make the file readable for this user.") from None
    except IsADirectoryError:
        raise CheckpointError(f"{label}: is a directory, expected a file.") from None
    except MemoryError:
        raise CheckpointError(f"{label}: does not fit into memory.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL or an unpaired surrogate in the path
        raise CheckpointError(f"{label}: cannot be read ({error}).") from error


def file_size(path: Path, label: str) -> int:
    """Size of a file in bytes; refuses directories and git-lfs pointers.

    Raises:
        CheckpointError: no such file, not readable, not a file, or a pointer in place of the file.
    """
    with file_errors(label):
        if path.is_dir():
            raise CheckpointError(f"{label}: is a directory, expected a file.")
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(len(_LFS))
    if start == _LFS:
        raise CheckpointError(
            f"{label}: is a git-lfs pointer, not the file itself ({size} bytes of text); run `git lfs pull` "
            "in the repository, or download the file again."
        )
    return size


def read_bytes(path: Path, offset: int, count: int, label: str) -> bytes:
    """`count` bytes from `offset`. The caller has checked them against the size of the file.

    Raises:
        CheckpointError: the file ends before.
    """
    buffer = np.empty(count, np.uint8)
    _fill(path, offset, buffer, label)
    return buffer.tobytes()


def read_array(path: Path, offset: int, shape: tuple[int, ...], dtype: str, label: str) -> NDArray[Any]:
    """The raw bits of an array of `shape`, little-endian in the file, in memory of its own.

    `label` names file and tensor. The caller has checked the extent against the size of the file, so that a
    damaged header cannot ask for more memory than the file is long.

    Raises:
        CheckpointError: the file is shorter than it was, or cannot be read.
    """
    with file_errors(label):
        array = np.empty(shape, RAW[dtype].newbyteorder("<"))
    if array.size:
        _fill(path, offset, array.reshape(-1).view(np.uint8), label)
    return array.astype(RAW[dtype], copy=False)


def _fill(path: Path, offset: int, buffer: NDArray[np.uint8], label: str) -> None:
    """Read until `buffer` is full; one read() returns at most 2 GiB on Linux."""
    view = buffer.data
    done = 0
    with file_errors(label), path.open("rb", buffering=0) as file:
        file.seek(offset)
        while done < len(view):
            got = file.readinto(view[done:])
            if not got:
                raise CheckpointError(
                    f"{label}: truncated: expected {len(view)} bytes at offset {offset}, the file ends after "
                    f"{done}; download or save the file again."
                )
            done += got


def part_of(info: TensorInfo, index: int | None, label: str) -> tuple[tuple[int, ...], int]:
    """Shape of `tensor[index]` (or of the tensor), and the number of elements before it.

    Raises:
        CheckpointError: the tensor has no such index.
    """
    if index is None:
        return info.shape, 0
    if not info.shape or not 0 <= index < info.shape[0]:
        raise CheckpointError(f"{label}: has no index {index}; its shape is {info.shape}.")
    rest = info.shape[1:]
    return rest, index * math.prod(rest)


def tensor_label(file: str, tensor: str) -> str:
    """How messages name a tensor of a file."""
    return f"{file}: tensor '{tensor}'" if file else f"tensor '{tensor}'"


def require_readable(info: TensorInfo, label: str) -> None:
    """Refuse dtypes whose bits no numpy dtype holds (four- and six-bit floats)."""
    if info.dtype not in RAW:
        raise CheckpointError(
            f"{label}: has dtype {info.dtype}, which this version cannot decode; expected one of {', '.join(RAW)}."
        )


def load_json(path: Path, label: str) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        CheckpointError: unreadable, not JSON, or not an object.
    """
    size = file_size(path, label)
    if size > MAX_JSON_BYTES:
        raise CheckpointError(f"{label}: {size} bytes of JSON; expected at most {MAX_JSON_BYTES}.")
    return parse_json(read_bytes(path, 0, size, label), label)


def parse_json(raw: bytes, label: str) -> dict[str, Any]:
    """A JSON object without duplicate keys, from UTF-8 bytes.

    Raises:
        CheckpointError: not UTF-8, not JSON, a key twice, or not an object.
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError:
        raise CheckpointError(f"{label}: JSON nested too deeply; the file is damaged.") from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise CheckpointError(f"{label}: not valid JSON ({error}); download or save the file again.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{label}: expected a JSON object, got {type(value).__name__}.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} appears twice")
            seen.add(key)
    return result


def encodable(name: str) -> bool:
    """Whether a name can be written as UTF-8 (JSON's \\ud800 cannot, and would fail when printed)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def some(names: Mapping[str, Any] | list[str] | tuple[str, ...] | set[str], limit: int = 5) -> str:
    """A few names for a message, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
