"""Tables 6, 7 and 8 of the plasticity paper, read from its text, against the shipped recipes and the headers of tasks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plasticity.finetune import FinetuneConfig
from plasticity.finetune_options import configure
from plasticity.tasks import registry

PAPER = Path(__file__).resolve().parents[3] / "shared" / "papers" / "weight-decay-plasticity.txt"
COLUMNS = ("table6", "table6_4b")  # 1B and under, 4B
TITLES = {
    "MetaMathQA": "metamathqa", "MedMCQA": "medmcqa", "PubMedQA": "pubmedqa", "MMLUProCoT": "mmluprocot", "RACE": "race",
    "SimpleScaling": "simplescaling", "HellaSwag": "hellaswag", "Winogrande": "winogrande", "PiQA": "piqa",
    "Arc-Easy": "arc_easy", "Arc-Challenge": "arc_challenge",
}  # fmt: skip


@pytest.fixture
def lines() -> list[str]:
    """The paper, line by line."""
    if not PAPER.is_file():
        pytest.skip("needs ../shared")
    return PAPER.read_text(encoding="utf-8").splitlines()


def between(lines: list[str], start: str, end: str) -> list[str]:
    """The lines of a table: after its head, up to its caption."""
    first = lines.index(start) + 1
    return lines[first : next(i for i in range(first, len(lines)) if lines[i].startswith(end))]


def test_table_6_is_the_shipped_recipes(lines: list[str]) -> None:
    rows = [line.split() for line in between(lines, "Hyperparameters 1B and under 4B", "Table 6:")]
    assert len(rows) == 6
    for column, recipe in enumerate(COLUMNS, 1):
        config = configure({"task": "metamathqa"}, recipe=recipe)
        train = config.train
        ours = {
            "cutoff_len": config.window, "batch_size": train.batch_size, "learning_rate": train.lr,
            "lr_scheduler_type": train.schedule, "warmup_ratio": train.warmup, "n_epochs": train.epochs,
        }  # fmt: skip
        table = {row[0]: row[column] if row[0] == "lr_scheduler_type" else float(row[column]) for row in rows}
        assert table == ours, recipe


def test_the_authors_configuration_fills_what_table_6_leaves_open() -> None:
    """METHODS.md section 3: full fine-tuning, AdamW 0.9/0.999, weight decay 0, clip 1, bf16, no packing."""
    for recipe in COLUMNS:
        config = configure({"task": "metamathqa"}, recipe=recipe)
        train = config.train
        assert (train.optimizer, train.beta1, train.beta2, train.clip) == ("adamw", 0.9, 0.999, 1.0)
        assert (train.floor, train.precision, config.decay.base) == (0.0, "bf16-mixed", 0.0)
        assert not config.packing and config.lora.rank == 0
    assert configure({"task": "metamathqa"}) == FinetuneConfig(task="metamathqa")  # from Python as from the command


def test_sizes_are_those_of_tables_7_and_8(lines: list[str]) -> None:
    head = "Dataset Training set Test set"
    chains = between(lines, head, "Table 7:")
    cloze = between(lines[lines.index(head) + 1 :], head, "Table 8:")
    assert (len(chains), len(cloze)) == (6, 5)
    for line in [*chains, *cloze]:
        title = line.split()[0]
        # each number stands twice in the text of the table: n=395,000n=395,000
        train, *tests = [int(number.replace(",", "")) for number in re.findall(r"n=[\d,]+n=([\d,]+)", line)]
        assert registry.get(TITLES[title]).header.paper_rows == {"train": train, "test": sum(tests)}, line
    named = {name for name, task in registry.tasks().items() if task.header.paper_rows}
    assert named - set(TITLES.values()) <= {"safety", "safety_300", "safety_500", "safety_1000"}  # C.4, not in a table
