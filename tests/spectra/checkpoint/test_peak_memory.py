"""Reading one tensor, or one slice, takes the memory of what was asked for, in every format."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spectra.checkpoint import open_checkpoint

SHAPE = (4, 512, 512)  # float32: 4 MiB, one slice of it 1 MiB
SLACK = 300_000


def write_safetensors(path: Path) -> None:
    save_file({"a": torch.ones(SHAPE), "b": torch.zeros(SHAPE)}, path)


def write_torch(path: Path) -> None:
    torch.save({"a": torch.ones(SHAPE), "b": torch.zeros(SHAPE)}, path)


def write_gguf(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    for name in ("a", "b"):
        writer.add_tensor(name, np.ones(SHAPE, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("suffix", "write"), [(".safetensors", write_safetensors), (".pt", write_torch), (".gguf", write_gguf)]
)
def test_peak(tmp_path: Path, suffix: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / f"m{suffix}")
    open_checkpoint(tmp_path / f"m{suffix}")  # imports are not what is measured
    tracemalloc.start()
    try:
        opened = open_checkpoint(tmp_path / f"m{suffix}")
        assert tracemalloc.get_traced_memory()[1] < 3_000_000  # the GGUF header is read by the megabyte
        tracemalloc.reset_peak()
        assert opened.read("a", 2).raw.all()
        assert tracemalloc.get_traced_memory()[1] < 512 * 512 * 4 + SLACK
        tracemalloc.reset_peak()
        assert opened.read("a").raw.all()
        assert tracemalloc.get_traced_memory()[1] < 4 * 512 * 512 * 4 + SLACK
    finally:
        tracemalloc.stop()
