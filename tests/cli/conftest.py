"""What the tests of the command line share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from tests.spectra.conftest import LLAMA_CONFIG, llama_tensors


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A tiny Llama on disk."""
    folder = tmp_path / "ckpt"
    folder.mkdir()
    save_file(llama_tensors(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    return folder
