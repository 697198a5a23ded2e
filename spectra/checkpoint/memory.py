"""Tensors that are in memory already: a live module, a state dict of torch tensors or numpy arrays.

Nothing is copied here that need not be: read() gives views of CPU tensors, so a caller that trains on must
read before the next optimizer step.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectra.checkpoint.containers import pick_state_dict
from spectra.checkpoint.parts import Part
from spectra.checkpoint.reading import RAW, part_of, some, tensor_label
from spectra.errors import CheckpointError
from spectra.stored import Stored
from spectra.types import TensorInfo

if TYPE_CHECKING:
    import torch


def is_torch_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor; does not import torch to find out."""
    torch_module = sys.modules.get("torch")
    return torch_module is not None and isinstance(value, torch_module.Tensor)


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor or a numpy array."""
    return isinstance(value, np.ndarray) or is_torch_tensor(value)


class MemoryPart(Part):
    """Named tensors in memory; `kinds` gives the class name of the module each belongs to.

    DTensors are gathered one at a time in read(), a collective: every rank has to read the same tensors in
    order.

    Raises:
        CheckpointError: a tensor on the meta device (it has no values).
    """

    def __init__(self, tensors: Mapping[str, Any], label: str = "", kinds: Mapping[str, str] | None = None) -> None:
        self.label = label
        self.size = 0
        self._values: dict[str, Any] = {}
        infos: dict[str, TensorInfo] = {}
        aliases: dict[str, str] = {}
        first: dict[object, str] = {}
        skipped: dict[str, str] = {}
        for name, value in tensors.items():
            reason = unreadable(value)
            if reason:
                skipped[name] = reason
                continue
            if is_torch_tensor(value) and value.device.type == "meta":
                raise CheckpointError(
                    f"{tensor_label(label, name)}: is on the meta device and has no values; load the weights first."
                )
            key = _identity(value)
            if first.setdefault(key, name) != name:
                aliases[name] = first[key]
            self._values[name] = value
            kind = (kinds or {}).get(name, "")
            infos[name] = TensorInfo(
                name=name, shape=tuple(value.shape), dtype=dtype_name(value), file=label, kind=kind
            )
        self.tensors = infos
        self.aliases = aliases
        self.details: dict[str, Any] = {"unreadable_tensors": skipped} if skipped else {}

    def read(self, name: str, index: int | None = None) -> Stored:
        info, value = self.tensors[name], self._values[name]
        label = tensor_label(self.label, name)
        part_of(info, index, label)  # refuses an index out of range
        if isinstance(value, np.ndarray):
            return Stored(_numpy_bits(value if index is None else value[index], info.dtype), info.dtype)
        return Stored(torch_bits(value, index, label), info.dtype)


def module_part(module: torch.nn.Module) -> tuple[MemoryPart, dict[str, Any]]:
    """The parameters and persistent buffers of a live module, and its config where it carries one."""
    state = module.state_dict(keep_vars=True)
    classes = {path: type(child).__name__ for path, child in module.named_modules(remove_duplicate=False)}
    kinds = {name: classes.get(name.rpartition(".")[0], "") for name in state}
    tensors = {name: value for name, value in state.items() if is_tensor(value)}
    if not tensors:
        raise CheckpointError(f"the module {type(module).__name__} has no parameters.")
    return MemoryPart(tensors, kinds=kinds), module_config(module)


def module_config(module: torch.nn.Module) -> dict[str, Any]:
    """`module.config` as a dict: by its to_dict (transformers), or the mapping it is; else empty.

    DistributedDataParallel and its like keep the model, and with it the config, behind `.module`.
    """
    nn = sys.modules["torch"].nn
    owner: Any = module
    while not hasattr(owner, "config") and isinstance(getattr(owner, "module", None), nn.Module):
        owner = owner.module
    config = getattr(owner, "config", None)
    to_dict = getattr(config, "to_dict", None)
    if callable(to_dict):
        config = to_dict()
    return dict(config) if isinstance(config, Mapping) else {}


def state_dict_part(state: Mapping[str, Any]) -> MemoryPart:
    """A mapping of names to tensors; it may be nested as files of training scripts are."""
    path, tensors, others = pick_state_dict(state, is_tensor, "the mapping")
    part = MemoryPart(tensors)
    part.details.update(container_details(path, others))
    return part


def container_details(path: str, others: list[str]) -> dict[str, Any]:
    """What provenance keeps of how the state dict was found."""
    details: dict[str, Any] = {}
    if path:
        details["container"] = path
    if others:
        details["not_tensors"] = some(others)
    return details


def dtype_name(value: Any) -> str:
    """Name of an array's dtype as in TensorInfo; torch's and ml_dtypes' names are the same as ours."""
    if isinstance(value, np.ndarray):
        return str(value.dtype.name)
    return str(value.dtype).removeprefix("torch.")


def unreadable(value: Any) -> str:
    """Why a tensor has no plain values, or ''."""
    if isinstance(value, np.ndarray):
        name = dtype_name(value)
        return "" if name in RAW else f"numpy dtype {name}"
    import torch

    if value.layout != torch.strided:
        return f"layout {str(value.layout).removeprefix('torch.')}"
    if value.is_quantized:
        return "quantized by torch"
    return "" if dtype_name(value) in RAW else f"dtype {dtype_name(value)}"


def torch_bits(value: torch.Tensor, index: int | None, label: str) -> NDArray[Any]:
    """The raw bits of a torch tensor, or of `value[index]`, on the CPU; a view where that is possible."""
    import torch

    try:
        with torch.no_grad():
            full = getattr(value, "full_tensor", None)
            plain = full() if callable(full) else value.detach()
            if index is not None:
                plain = plain[index]
            plain = plain.cpu()
            if plain.is_conj() or plain.is_neg():
                plain = plain.resolve_conj().resolve_neg()
            raw = RAW[dtype_name(plain)]
            native = {torch.bfloat16: torch.uint16}.get(plain.dtype)
            if native is None and dtype_name(plain).startswith("float8"):
                native = torch.uint8
            bits = plain if native is None else plain.view(native)
            return np.asarray(bits.numpy(), dtype=raw)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise CheckpointError(f"{label}: its values cannot be read ({error}).") from error


def _numpy_bits(value: NDArray[Any], dtype: str) -> NDArray[Any]:
    value = np.asarray(value)
    if value.dtype.kind == "V" or value.dtype.name == "bfloat16":  # ml_dtypes
        return value.view(RAW[dtype])
    return value.astype(RAW[dtype], copy=False) if value.dtype != RAW[dtype] else value


def _identity(value: Any) -> object:
    """Equal for two names of the same memory (tied parameters); without memory, equal to itself only."""
    if isinstance(value, np.ndarray):
        pointer = value.__array_interface__["data"][0]
        return (pointer, value.shape, value.strides, value.dtype.str) if value.size else id(value)
    if hasattr(value, "full_tensor") or value.numel() == 0:
        return id(value)
    try:
        pointer = value.data_ptr()
    except RuntimeError:
        return id(value)
    where = (str(value.device), pointer, tuple(value.shape), value.stride(), str(value.dtype))
    return where if pointer else id(value)
