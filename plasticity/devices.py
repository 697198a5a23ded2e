"""Where a model is evaluated, and in which precision."""

from __future__ import annotations

from typing import Any

from spectra.errors import SpectraError, first_line

_GIB = 2**30


def chosen(device: str, precision: str) -> tuple[str, Any]:
    """Device and torch dtype. `auto`: the first GPU where there is one; float32 on a CPU, bfloat16 on a GPU that has it.

    Raises:
        SpectraError: the device is not there, or is neither a CPU nor a CUDA device.
    """
    import torch

    where = placed(device)
    names = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision != "auto":
        return where, names[precision]
    return where, torch.bfloat16 if where != "cpu" and torch.cuda.is_bf16_supported() else torch.float32


def placed(device: str) -> str:
    """The device that a name stands for: `cpu`, `cuda`, `cuda:1`; raises as `chosen`."""
    import torch

    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        found = torch.device(where)
    except RuntimeError as error:
        raise SpectraError(f"--device {device!r}: expected auto, cpu, cuda or cuda:1.") from error
    if found.type == "cpu":
        return "cpu"
    if found.type != "cuda":
        raise SpectraError(f"--device {device!r}: expected auto, cpu, cuda or cuda:1; others were never tried.")
    count = torch.cuda.device_count()
    if not count:
        raise SpectraError(f"--device {device}: this machine has no GPU that torch can use. Use --device cpu.")
    if (found.index or 0) >= count:
        raise SpectraError(f"--device {device}: there are {count} GPUs, numbered from 0.")
    return where


def put(model: Any, where: str, dtype: Any, *, name: str) -> Any:
    """Move a model, in place; what earlier models left reserved on a GPU is given back first.

    Raises:
        SpectraError: it does not fit, or the device fails.
    """
    import torch

    if where != "cpu":
        import gc

        gc.collect()
        torch.cuda.empty_cache()
    try:
        return model.to(device=where, dtype=dtype)
    except (RuntimeError, AssertionError) as error:  # out of memory and a torch without CUDA are among them
        size = sum(p.numel() for p in model.parameters()) * dtype.itemsize / _GIB
        raise SpectraError(
            f"{name} cannot be put on {where} in {str(dtype).removeprefix('torch.')}, where it takes {size:.1f} GiB "
            f"({first_line(error).rstrip('.')}). Choose a device with more room (--device cpu), or end what else is on it."
        ) from error
