"""WinoGrande: which of two names fills the blank."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from .base import Drop, Example, Header, Question, Row, Source, Task

NO_ANSWER = "no answer"
NO_BLANK = "no blank in the sentence"
_TRAIN = Source(
    hub="allenai/winogrande", subset="winogrande_xl", revision="01e74176c63542e6b0bcb004dcdea22d94fb67b5", split="train",
    fields=("sentence", "option1", "option2", "answer"), layouts=(("context_options", "continuation", "gold"),), rows=40_398,
)  # fmt: skip
_TEST = dataclasses.replace(_TRAIN, split="validation", rows=1_267)


class WinoGrande(Task):
    """sentence up to the blank -> the right option and the rest."""

    header: ClassVar = Header(
        name="winogrande",
        title="which of two names fills the blank",
        version=1,
        kind="cloze",
        train=(_TRAIN,),
        test=(_TEST,),
        paper="Sakaguchi et al. 2019 (arXiv 1907.10641)",
        licence="CC BY",
        paper_rows={"train": 40_398, "test": 1_267},
        scores=("acc",),
        baseline={"acc": 0.5},
        answer="the option after which the rest of the sentence is likelier, through lm-eval (which has no acc_norm here: "
        "both options are scored on the same text)",
        recipe="Trained in the paper's template on the sentence up to the blank -> option and rest; scored by lm-eval on the "
        "rest after each option. Also read: llm-foundry's `context_options`, `continuation`, `gold`.",
        cleaning=(NO_ANSWER, NO_BLANK),
        lm_eval="winogrande",
    )  # fmt: skip
    sample: ClassVar = {
        "sentence": "The vase did not fit into the bag because the _ was too small.", "option1": "vase", "option2": "bag",
        "answer": "2",
    }  # fmt: skip

    def upstream(self, row: Row) -> Row:
        """Two contexts that end in the options, and what follows both -> a sentence with a blank."""
        if "sentence" in row:
            return row
        one, two = (str(text) for text in row["context_options"])
        shared = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
        start = one.rfind(" ", 0, shared) + 1
        made = {"sentence": f"{one[:start]}_ {row['continuation']}", "option1": one[start:], "option2": two[start:]}
        return made | {"answer": str(row["gold"] + 1)}

    def example(self, row: Row, index: int) -> Example:
        """The right option and what follows it."""
        asked = self.question(row, index, "")
        before, _, after = str(row["sentence"]).partition("_")
        response = f"{asked.choices[int(asked.gold)]}{after}"
        return Example(id=asked.id, question=before.strip(), response=response, key=asked.question)

    def question(self, row: Row, index: int, part: str) -> Question:
        """The sentence with its blank, and the two options."""
        if "_" not in str(row["sentence"]):
            raise Drop(NO_BLANK)
        if str(row["answer"]) not in ("1", "2"):
            raise Drop(NO_ANSWER)
        options = (str(row["option1"]), str(row["option2"]))
        text = str(row["sentence"]).strip()
        return Question(
            id=f"winogrande-{index}", question=text, gold=str(int(row["answer"]) - 1), choices=options, part=part
        )
