"""Table 6 of the plasticity paper, read from its text, against the recipe that fine-tuning uses (tables 7 and 8: test_tasks.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from plasticity.finetune import FinetuneConfig

PAPER = Path(__file__).resolve().parents[3] / "shared" / "papers" / "weight-decay-plasticity.txt"


def test_table_6_is_what_fine_tuning_does() -> None:
    if not PAPER.is_file():
        pytest.skip("needs ../shared")
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    start = lines.index("Hyperparameters 1B and under 4B")
    table = {name: under for name, under, _ in (line.split() for line in lines[start + 1 : start + 7])}
    config = FinetuneConfig(task="metamathqa")
    ours = {
        "cutoff_len": config.window,
        "batch_size": config.train.batch_size,
        "learning_rate": config.train.lr,
        "warmup_ratio": config.train.warmup,
        "n_epochs": config.train.epochs,
    }
    assert table.pop("lr_scheduler_type") == config.train.schedule
    assert {name: float(value) for name, value in table.items()} == ours
