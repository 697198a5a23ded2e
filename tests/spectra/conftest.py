"""Small checkpoints for the tests, written where each test wants them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Null draws of the tests stay out of the user's cache."""
    monkeypatch.setenv("SPECTRA_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "null-cache"))


def llama_tensors(
    layers: int = 2, d: int = 32, heads: int = 4, kv_heads: int = 2, seed: int = 0
) -> dict[str, np.ndarray]:
    """Weights of a tiny Llama, tied embeddings."""
    rng = np.random.default_rng(seed)
    head_dim, ff, vocab = d // heads, 48, 96
    shapes = {"model.embed_tokens.weight": (vocab, d), "model.norm.weight": (d,)}
    for i in range(layers):
        at = f"model.layers.{i}."
        shapes |= {
            at + "input_layernorm.weight": (d,),
            at + "self_attn.q_proj.weight": (heads * head_dim, d),
            at + "self_attn.k_proj.weight": (kv_heads * head_dim, d),
            at + "self_attn.v_proj.weight": (kv_heads * head_dim, d),
            at + "self_attn.o_proj.weight": (d, heads * head_dim),
            at + "mlp.gate_proj.weight": (ff, d),
            at + "mlp.up_proj.weight": (ff, d),
            at + "mlp.down_proj.weight": (d, ff),
        }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


LLAMA_CONFIG: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2,
    "tie_word_embeddings": True,
}  # fmt: skip

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """save(tensors, config=..., name=...) -> the folder of a one-file safetensors checkpoint."""

    def write(
        tensors: Mapping[str, np.ndarray], config: Mapping[str, Any] | None = LLAMA_CONFIG, name: str = "model"
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        save_file(dict(tensors), folder / "model.safetensors")
        if config is not None:
            (folder / "config.json").write_text(json.dumps(config))
        return folder

    return write


@pytest.fixture
def llama(save: Save) -> Path:
    """A tiny Llama on disk: 14 layer matrices and the tied embedding."""
    return save(llama_tensors())


@pytest.fixture
def stories() -> Path:
    """The real checkpoint of ../shared, where there is one."""
    path = SHARED / "models" / "stories260k"
    if not path.exists():
        pytest.skip("../shared is absent")
    return path
