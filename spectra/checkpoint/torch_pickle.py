"""Files of torch.save (.bin, .pt, .pth, .ckpt), through torch's weights-only unpickler and nothing else.

Zip files are loaded onto the meta device: torch then notes where in the file each storage begins
(`UntypedStorage._checkpoint_offset`, torch.load's documentation of map_location='meta'), every such place is
checked against the zip's own directory, and values are read by seek and read. Legacy files, and zip files
where that check fails, are loaded as a whole; `details` says so.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectra.checkpoint.containers import pick_state_dict
from spectra.checkpoint.memory import MemoryPart, container_details, dtype_name, is_torch_tensor, unreadable
from spectra.checkpoint.parts import Part
from spectra.checkpoint.reading import (
    MAX_DIMS,
    RAW,
    file_errors,
    file_size,
    part_of,
    read_array,
    read_bytes,
    tensor_label,
)
from spectra.errors import CheckpointError
from spectra.stored import Stored
from spectra.types import TensorInfo

if TYPE_CHECKING:
    import torch

_CONVERT = "convert it to safetensors on a machine where you trust the file (safetensors.torch.save_file)"


class _NotLazyError(Exception):
    """The places of the storages are unknown or do not match the zip directory."""


@dataclass(frozen=True)
class _Extent:
    """Where a tensor's storage begins in the file, and how the tensor lies in it (strides in elements)."""

    storage: int
    first: int
    strides: tuple[int, ...]


class LazyTorchPart(Part):
    """A zip file of torch.save; only metadata is in memory."""

    def __init__(self, path: Path, label: str, tensors: Mapping[str, torch.Tensor], records: Mapping[int, int]) -> None:
        self.label = label
        self.size = file_size(path, label)
        self._path = path
        infos: dict[str, TensorInfo] = {}
        aliases: dict[str, str] = {}
        skipped: dict[str, str] = {}
        self._extents: dict[str, _Extent] = {}
        first: dict[object, str] = {}
        for name, value in tensors.items():
            reason = unreadable(value)
            if reason:
                skipped[name] = reason
                continue
            info = TensorInfo(name=name, shape=tuple(value.shape), dtype=dtype_name(value), file=label)
            extent = self._checked(info, value, records)
            key = (extent, info.shape, info.dtype)
            if info.parameters and first.setdefault(key, name) != name:
                aliases[name] = first[key]
            infos[name] = info
            self._extents[name] = extent
        self.tensors = infos
        self.aliases = aliases
        self.details: dict[str, Any] = {"unreadable_tensors": skipped} if skipped else {}

    def _checked(self, info: TensorInfo, value: torch.Tensor, records: Mapping[int, int]) -> _Extent:
        """The extent of one tensor, after checking that it lies inside a record of the zip file."""
        storage = value.untyped_storage()
        offset = getattr(storage, "_checkpoint_offset", None)
        strides = tuple(int(stride) for stride in value.stride())
        extent = _Extent(offset or 0, int(value.storage_offset()), strides)
        if info.parameters == 0:
            return extent
        if offset is None or records.get(offset, -1) < storage.nbytes():
            raise _NotLazyError
        label = tensor_label(self.label, info.name)
        item = RAW[info.dtype].itemsize
        span = (extent.first + _span(info.shape, extent.strides)) * item
        if span > storage.nbytes() or info.parameters * item > self.size or len(info.shape) > MAX_DIMS:
            raise CheckpointError(
                f"{label}: shape {info.shape} needs {span} bytes, its storage has {storage.nbytes()}; the "
                "file is damaged."
            )
        return extent

    def read(self, name: str, index: int | None = None) -> Stored:
        info, extent = self.tensors[name], self._extents[name]
        label = tensor_label(self.label, name)
        shape, _ = part_of(info, index, label)
        strides, first = extent.strides, extent.first
        if index is not None:
            strides, first = strides[1:], first + index * strides[0]
        return Stored(self._strided(label, info.dtype, first, (shape, strides), extent.storage), info.dtype)

    def _strided(
        self,
        label: str,
        dtype: str,
        first: int,
        layout: tuple[tuple[int, ...], tuple[int, ...]],
        storage: int,
    ) -> NDArray[Any]:
        """Read the span that a strided tensor covers, and bring it into row-major order."""
        shape, strides = layout
        if 0 in shape:
            return np.empty(shape, RAW[dtype])
        item = RAW[dtype].itemsize
        span = _span(shape, strides)
        flat = read_array(self._path, storage + first * item, (span,), dtype, label)
        view = np.lib.stride_tricks.as_strided(flat, shape, [stride * item for stride in strides], writeable=False)
        if view.flags.c_contiguous and view.size == flat.size:
            return flat.reshape(shape)
        with file_errors(label):
            return np.array(view, order="C")


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Number of elements from the first to the last that a strided tensor touches."""
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def open_torch(path: Path, label: str) -> Part:
    """One file of torch.save.

    Raises:
        CheckpointError: truncated or damaged; not a state dict; TorchScript; a pickle that wants to run code
            (it is refused, not run).
    """
    size = file_size(path, label)
    if size == 0:
        raise CheckpointError(f"{label}: is empty, expected a file of torch.save; download or save it again.")
    if read_bytes(path, 0, min(size, 4), label) != b"PK\x03\x04":
        saved = _load(path, label, "cpu")
        return _whole(saved, label, size, "a legacy file of torch.save")
    records = _records(path, label)
    if records is not None:
        try:
            saved = _load(path, label, "meta")
            chosen, tensors, others = pick_state_dict(saved, is_torch_tensor, label)
            part = LazyTorchPart(path, label, tensors, records)
        except _NotLazyError:
            pass
        else:
            part.details.update(container_details(chosen, others))
            return part
    return _whole(_load(path, label, "cpu"), label, size, "an unusual zip layout")


def _whole(saved: Any, label: str, size: int, why: str) -> Part:
    path, tensors, others = pick_state_dict(saved, is_torch_tensor, label)
    part = MemoryPart(tensors, label)
    part.size = size
    part.details.update(container_details(path, others), loaded_whole=f"{label} is {why}")
    return part


def _records(path: Path, label: str) -> dict[int, int] | None:
    """Offset -> size of every stored record of a zip file; None where bytes cannot be taken as they are.

    Raises:
        CheckpointError: not a complete zip file, or a TorchScript archive.
    """
    records: dict[int, int] = {}
    try:
        with file_errors(label), zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.filename.endswith("/constants.pkl") for entry in entries):
                raise CheckpointError(
                    f"{label}: is a TorchScript archive, which holds a program; expected a state dict: save "
                    "`torch.jit.load(file).state_dict()` with torch.save or safetensors."
                )
            for entry in entries:
                if entry.filename.endswith("/byteorder") and (entry.file_size != 6 or archive.read(entry) != b"little"):
                    return None
                if entry.compress_type != zipfile.ZIP_STORED:
                    return None
                head = read_bytes(path, entry.header_offset, 30, label)  # local header: name and extra field lengths
                skip = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
                records[entry.header_offset + 30 + skip] = entry.file_size
    except CheckpointError:
        raise
    except Exception as error:
        # zipfile raises BadZipFile, NotImplementedError, struct.error, RuntimeError, ... on damaged files
        raise CheckpointError(
            f"{label}: not a complete file of torch.save ({error}); it is truncated or damaged: download or "
            "save it again."
        ) from error
    return records


def _load(path: Path, label: str, device: str) -> Any:
    """torch.load with weights_only=True, all its errors as one."""
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(
            f"{label}: reading files of torch.save needs torch ({error}); install torch, or {_CONVERT}."
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside torch are nothing the user can act on
            return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        # The unpickler meets arbitrary bytes: AttributeError, KeyError, AssertionError, RuntimeError,
        # EOFError, ...
        raise _explained(error, label) from error


def _explained(error: Exception, label: str) -> CheckpointError:
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted is None:
        wanted = re.search(r"add_safe_globals\(\[([\w.]+)\]\)", str(error))
    if wanted is not None:
        return CheckpointError(
            f"{label}: refused: the pickle asks for {wanted.group(1)}, which is code and not weights; it was "
            f"NOT executed. Expected tensors only: {_CONVERT}, or name another file."
        )
    if "TorchScript" in str(error) or ".tar" in str(error):
        return CheckpointError(
            f"{label}: is an archive of an old torch format that cannot be read without running code; {_CONVERT}."
        )
    first = str(error).strip().splitlines() or [""]
    return CheckpointError(
        f"{label}: not a readable file of torch.save ({type(error).__name__}: {first[0]:.200}); it is "
        "truncated or damaged: download or save it again."
    )
