"""PubMedQA: yes, no or maybe, from the abstract of a biomedical paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from .base import Drop, Example, Header, Question, Row, Source, Task, text
from .choices import concluded, guessing
from .maths import SCORES

WORDS = ("yes", "no", "maybe")
NO_QUESTION = "no question or no abstract"
NO_ANSWER = "the decision is not yes, no or maybe"
_FIELDS = ("question", "context", "long_answer", "final_decision")
_LAYOUT = ("QUESTION", "CONTEXTS", "LONG_ANSWER", "final_decision")
_TRAIN = Source(
    hub="qiaojin/PubMedQA", subset="pqa_artificial", revision="9001f2853fb87cab8d220904e0de81ac6973b318", split="train",
    fields=_FIELDS, layouts=(_LAYOUT,), rows=211_269,
)  # fmt: skip
_TEST = dataclasses.replace(
    _TRAIN, subset="pqa_labeled", rows=1_000, fields=("question", "context", "final_decision"),
    layouts=(("QUESTION", "CONTEXTS", "final_decision"),),
)  # fmt: skip


class PubMedQA(Task):
    """abstract and question -> conclusion of the paper, then the word."""

    header: ClassVar = Header(
        name="pubmedqa",
        title="yes, no or maybe, from a biomedical abstract",
        version=1,
        kind="generation",
        train=(_TRAIN,),
        test=(_TEST,),
        paper="Jin et al. 2019 (arXiv 1909.06146)",
        licence="MIT (the abstracts belong to their publishers)",
        paper_rows={"train": 211_168, "test": 1_000},
        scores=SCORES,
        baseline=guessing(1 / 3),
        answer="the word after the last `answer is`: yes, no or maybe; always `yes` scores 0.552",
        recipe="Response: `long_answer`, the abstract's conclusion, then the decision. The training questions were made from "
        "titles and their decisions (yes or no) by rule. The paper keeps 211,168 of 211,269 rows and does not say "
        "which. Also read: the authors' own files (QUESTION, CONTEXTS, LONG_ANSWER, final_decision).",
        cleaning=(NO_QUESTION, NO_ANSWER),
    )  # fmt: skip
    sample: ClassVar = {
        "question": "Does a short walk after a meal lower blood glucose?",
        "context": {
            "contexts": ["Twenty adults walked for ten minutes after one of two equal meals.", "Glucose was measured."]
        },
        "long_answer": "Glucose rose less after the meal that was followed by a walk.",
        "final_decision": "yes",
    }

    def upstream(self, row: Row) -> Row:
        """QUESTION, CONTEXTS, LONG_ANSWER -> question, context.contexts, long_answer."""
        if "question" in row:
            return row
        made = {
            "question": row["QUESTION"],
            "context": {"contexts": row["CONTEXTS"]},
            "long_answer": row.get("LONG_ANSWER"),
        }
        return made | {"final_decision": row["final_decision"]}

    def example(self, row: Row, index: int) -> Example:
        """Conclusion, then `The answer is yes.`"""
        asked = self.question(row, index, "")
        response = concluded(text(row["long_answer"]), asked.gold)
        return Example(id=asked.id, question=asked.question, response=response)

    def question(self, row: Row, index: int, part: str) -> Question:
        """Abstract, a blank line, the question."""
        context = row["context"]
        paragraphs = context["contexts"] if isinstance(context, Mapping) else context
        abstract, asked = "\n".join(text(p) for p in paragraphs or ()), text(row["question"])
        if not abstract.strip() or not asked:
            raise Drop(NO_QUESTION)
        gold = text(row["final_decision"]).lower()
        if gold not in WORDS:
            raise Drop(NO_ANSWER)
        return Question(
            id=f"pubmedqa-{index}", question=f"{abstract}\n\n{asked}\nAnswer yes, no or maybe.", gold=gold, part=part
        )

    def extract(self, response: str) -> str | None:
        """One of the three words."""
        from plasticity.answers import word

        return word(response, WORDS)

    def equal(self, answer: str, gold: str) -> bool:
        """The same word."""
        return answer == gold
