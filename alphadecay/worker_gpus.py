"""Which GPUs each worker process sees: without a share of its own every one would take the first."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from spectra.errors import SpectraError

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible() -> list[str]:
    """The GPUs that this process sees, by the names that `CUDA_VISIBLE_DEVICES` has for them."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    told = os.environ.get(VARIABLE)
    names = [name.strip() for name in told.split(",")] if told else [str(number) for number in range(count)]
    return names[:count]


def shares(devices: Sequence[str], workers: int, gpus: float) -> list[dict[str, str]]:
    """Environment variables of each worker; none where there is no GPU, or a single worker that may have all.

    Args:
        gpus: that a job needs; 0: one after the other is assigned, round and round; below 1: several workers share one.

    Raises:
        SpectraError: there are not so many GPUs.
    """
    if not devices or (workers == 1 and not gpus):
        return []
    if not gpus:
        return [{VARIABLE: devices[number % len(devices)]} for number in range(workers)]
    each, together = (math.ceil(gpus), 1) if gpus >= 1 else (1, int(1 / gpus + 1e-9))
    room = len(devices) // each * together
    if workers > room:
        raise SpectraError(
            f"--workers {workers}: a cell needs {gpus:g} GPUs (resources.gpus), and here are {len(devices)}: room for {room}. "
            "Ask for fewer workers, or change resources.gpus."
        )
    firsts = [number // together * each for number in range(workers)]
    return [{VARIABLE: ",".join(devices[first : first + each])} for first in firsts]
