"""A recipe so small that a run takes a second: what the tests of the loop train."""

from __future__ import annotations

from typing import Any

from alphadecay.config import DecayConfig, ModelConfig, Recipe, TrainConfig
from alphadecay.data_config import DataConfig

MODEL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}  # fmt: skip


def small(train: dict[str, Any] | None = None, decay: dict[str, Any] | None = None, **data: Any) -> Recipe:
    """12 steps of 4 windows of 32 tokens; a checkpoint every third step, measurements every fourth."""
    return Recipe(
        name="small",
        model=ModelConfig(family="llama", settings=MODEL),
        data=DataConfig(**({"source": "embedded", "vocab_size": 300, "window": 32, "max_tokens": 600} | data)),
        train=TrainConfig(
            **(
                {
                    "steps": 12, "batch_size": 4, "lr": 0.01, "eval_every": 6, "eval_windows": 2, "save_every": 3,
                    "log_every": 1,
                }
                | (train or {})
            )
        ),
        decay=DecayConfig(**({"policy": "alphadecay", "base": 0.1, "gap": 4} | (decay or {}))),
    )  # fmt: skip
