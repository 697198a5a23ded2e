"""Where a model is evaluated, and in which precision."""

from __future__ import annotations

from typing import Any

from spectra.errors import SpectraError


def chosen(device: str, precision: str) -> tuple[str, Any]:
    """Device and torch dtype. `auto`: the first GPU where there is one; float32 on a CPU, bfloat16 on a GPU that has it.

    Raises:
        SpectraError: the device is not there.
    """
    import torch

    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        kind = torch.device(where).type
    except RuntimeError as error:
        raise SpectraError(f"--device {device!r}: expected auto, cpu, cuda or cuda:1.") from error
    if kind == "cuda":
        count = torch.cuda.device_count()
        if not count:
            raise SpectraError(f"--device {device}: this machine has no GPU that torch can use. Use --device cpu.")
        index = torch.device(where).index or 0
        if index >= count:
            raise SpectraError(f"--device {device}: there are {count} GPUs, numbered from 0.")
    names = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision != "auto":
        return where, names[precision]
    return where, torch.bfloat16 if kind == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
