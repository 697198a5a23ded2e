"""What the tests of the training core share: tiny models with gradients, caches of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Null draws and prepared corpora of the tests stay out of the user's caches."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("SPECTRA_CACHE_DIR", str(base / "null-cache"))
    monkeypatch.setenv("ALPHADECAY_CACHE_DIR", str(base / "corpora"))


def tiny_llama(seed: int = 0, **settings: Any) -> Any:
    """A LLaMA of two layers and width 32, random by seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes = {
        "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 64,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**(sizes | settings)))


def backward(model: Any, seed: int = 0) -> None:
    """Gradients of a causal language model on random tokens."""
    ids = torch.randint(0, model.config.vocab_size, (4, 16), generator=torch.Generator().manual_seed(seed))
    model(input_ids=ids, labels=ids).loss.backward()


@pytest.fixture
def stories() -> Path:
    """The real checkpoint of ../shared, where there is one."""
    path = SHARED / "models" / "stories260k"
    if not path.exists():
        pytest.skip("../shared is absent")
    return path
