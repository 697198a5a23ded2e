"""RACE: reading comprehension from English exams of Chinese middle and high schools."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from .base import Drop, Example, Header, Question, Row, Source, Task, text
from .choices import MULTIPLE_CHOICE, concluded, guessing, letter_of, with_options
from .maths import SCORES

NO_ARTICLE = "no article"
_TRAIN = Source(
    hub="ehovy/race", subset="all", revision="2fec9fd81f1dc971569a9b729c43f2f0e6436637", split="train", rows=87_866,
    fields=("article", "question", "options", "answer"),
)  # fmt: skip
_VALIDATION = dataclasses.replace(_TRAIN, split="validation", rows=4_887)
_TEST = dataclasses.replace(_TRAIN, split="test", rows=4_934)


class Race(Task):
    """article, question and options -> the letter."""

    header: ClassVar = Header(
        name="race",
        title="reading comprehension with four options",
        version=1,
        kind="generation",
        train=(_TRAIN, _VALIDATION),
        test=(_TEST,),
        paper="Lai et al. 2017 (arXiv 1704.04683)",
        licence="non-commercial research only",
        paper_rows={"train": 92_737, "test": 4_934},
        scores=SCORES,
        baseline=guessing(0.25),
        answer="the letter after the last `answer is`, A to D; case and trailing punctuation do not matter",
        recipe="Trained on train and validation of middle and high school, 92,753 rows, of which the paper keeps 92,737. "
        "RACE has no reasoning: the response is the answer alone.",
        cleaning=(NO_ARTICLE, *MULTIPLE_CHOICE),
    )  # fmt: skip
    sample: ClassVar = {
        "article": "Nora keeps bees behind her house. In winter she reads about them; in spring she opens the hives.",
        "question": "When does Nora open the hives?", "options": ["In winter.", "In spring.", "At night.", "Never."], "answer": "B",
    }  # fmt: skip

    def example(self, row: Row, index: int) -> Example:
        """`The answer is B.`"""
        asked = self.question(row, index, "")
        return Example(id=asked.id, question=asked.question, response=concluded("", asked.gold))

    def question(self, row: Row, index: int, part: str) -> Question:
        """Article, a blank line, question, options."""
        article, options = text(row["article"]), [text(option) for option in row["options"]]
        if not article:
            raise Drop(NO_ARTICLE)
        asked = f"{article}\n\n{with_options(text(row['question']), options)}"
        return Question(id=f"race-{index}", question=asked, gold=letter_of(row["answer"], options), part=part)

    def extract(self, response: str) -> str | None:
        """A letter from A to D."""
        from plasticity.answers import letter

        return letter(response, "ABCD")

    def equal(self, answer: str, gold: str) -> bool:
        """The same letter."""
        return answer == gold
