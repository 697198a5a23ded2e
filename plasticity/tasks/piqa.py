"""PIQA: which of two ways reaches a goal in the physical world."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from .base import Drop, Example, Header, Question, Row, Source, Task

NO_LABEL = "no label"
_TRAIN = Source(
    hub="baber/piqa", revision="142f6d7367fd9877f0fb3b5734ea6a545f54cdd1", split="train", rows=16_113,
    fields=("goal", "sol1", "sol2", "label"), layouts=(("query", "choices", "gold"),),
)  # fmt: skip
_TEST = dataclasses.replace(_TRAIN, split="validation", rows=1_838)


class PIQA(Task):
    """goal -> the right way."""

    header: ClassVar = Header(
        name="piqa",
        title="which of two ways reaches a goal",
        version=1,
        kind="cloze",
        train=(_TRAIN,),
        test=(_TEST,),
        paper="Bisk et al. 2019 (arXiv 1911.11641)",
        licence="AFL-3.0",
        paper_rows={"train": 16_113, "test": 1_838},
        scores=("acc", "acc_norm"),
        baseline={"acc": 0.5, "acc_norm": 0.5},
        answer="the solution of greatest likelihood (acc), and of greatest likelihood a character (acc_norm), through "
        "lm-eval",
        recipe="Trained in the paper's template on goal -> right solution; scored by lm-eval's own prompts. The hub copy is "
        "the one that lm-eval reads. Also read: llm-foundry's `query`, `choices`, `gold`.",
        cleaning=(NO_LABEL,),
        lm_eval="piqa",
    )  # fmt: skip
    sample: ClassVar = {
        "goal": "Keep bread fresh overnight.", "sol1": "Leave it open on the table.", "sol2": "Wrap it in a cloth.", "label": 1,
    }  # fmt: skip

    def upstream(self, row: Row) -> Row:
        """`query` (Question: goal), `choices`, `gold` -> goal, sol1, sol2, label."""
        if "goal" in row:
            return row
        one, two = row["choices"]
        return {
            "goal": str(row["query"]).removeprefix("Question: ").strip(),
            "sol1": one,
            "sol2": two,
            "label": row["gold"],
        }

    def example(self, row: Row, index: int) -> Example:
        """The right solution."""
        asked = self.question(row, index, "")
        return Example(id=asked.id, question=asked.question, response=asked.choices[int(asked.gold)])

    def question(self, row: Row, index: int, part: str) -> Question:
        """Labels are 0 and 1; -1 upstream where they are secret."""
        if row["label"] not in (0, 1):
            raise Drop(NO_LABEL)
        ways = (str(row["sol1"]), str(row["sol2"]))
        return Question(
            id=f"piqa-{index}", question=str(row["goal"]).strip(), gold=str(row["label"]), choices=ways, part=part
        )
