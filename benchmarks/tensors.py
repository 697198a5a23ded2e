"""The tensors of the benchmark model in memory, read without our own readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.model import prepare
from benchmarks.settings import Settings


def read_all(settings: Settings) -> dict[str, NDArray[Any]]:
    """Every tensor of SmolLM2-135M as float32, with pages of its own (the library gives views of one buffer)."""
    from safetensors.numpy import load_file

    folder = prepare(Path(settings.model))
    return {name: np.array(values) for name, values in load_file(folder / "model.safetensors").items()}


def matrices(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Those with two dimensions."""
    return {name: values for name, values in tensors.items() if values.ndim == 2}
