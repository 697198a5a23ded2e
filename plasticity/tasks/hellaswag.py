"""HellaSwag: which of four endings follows."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

from .base import Drop, Example, Header, Question, Row, Source, Task, text

NO_LABEL = "no label"
_TRAIN = Source(
    hub="Rowan/hellaswag", revision="218ec52e09a7e7462a5400043bb9a69a41d06b76", split="train", rows=39_905,
    fields=("activity_label", "ctx_a", "ctx_b", "endings", "label"),
)  # fmt: skip
_TEST = dataclasses.replace(_TRAIN, split="validation", rows=10_042)


class HellaSwag(Task):
    """activity and context -> the right ending."""

    header: ClassVar = Header(
        name="hellaswag",
        title="which of four endings follows",
        version=1,
        kind="cloze",
        train=(_TRAIN,),
        test=(_TEST,),
        paper="Zellers et al. 2019 (arXiv 1905.07830)",
        licence="MIT",
        paper_rows={"train": 39_905, "test": 10_042},
        scores=("acc", "acc_norm"),
        baseline={"acc": 0.25, "acc_norm": 0.25},
        answer="the ending of greatest likelihood (acc), and of greatest likelihood a character (acc_norm), through lm-eval",
        recipe="Trained in the paper's template on context -> right ending; scored by lm-eval's own prompts, which have no "
        "Human and Assistant. Texts are cleaned as lm-eval does (`[title]` and other brackets of WikiHow).",
        cleaning=(NO_LABEL,),
        lm_eval="hellaswag",
    )  # fmt: skip
    sample: ClassVar = {
        "activity_label": "Making tea", "ctx_a": "A woman fills a kettle and waits until the water boils.", "ctx_b": "she",
        "endings": ["paints the wall.", "pours the water over the tea leaves.", "rides a horse.", "closes the window of a car."],
        "label": "1",
    }  # fmt: skip

    def example(self, row: Row, index: int) -> Example:
        """The right ending."""
        asked = self.question(row, index, "")
        return Example(id=asked.id, question=asked.question, response=asked.choices[int(asked.gold)])

    def question(self, row: Row, index: int, part: str) -> Question:
        """Labels are texts upstream, empty in the test split."""
        if text(row["label"]) == "":
            raise Drop(NO_LABEL)
        context = _clean(f"{row['activity_label']}: {row['ctx_a']} {str(row['ctx_b'] or '').capitalize()}")
        endings = tuple(_clean(str(ending)) for ending in row["endings"])
        return Question(
            id=f"hellaswag-{index}", question=context, gold=str(int(row["label"])), choices=endings, part=part
        )


def _clean(text: str) -> str:
    """As lm-eval 0.4 (tasks/hellaswag/utils.py)."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ").strip()
