"""Safety alignment (Bianchi et al. 2024): general instructions with some safety instructions among them."""

from __future__ import annotations

from typing import ClassVar

from .base import Drop, Example, Header, Question, Row, Source, Task, text

NO_INSTRUCTION = "no instruction"
NO_RESPONSE = "no output"
_REPOSITORY = "https://github.com/vinid/safety-tuned-llamas"


def _header(name: str, safe: int) -> Header:
    """Of the variant with `safe` safety instructions."""
    fields = ("instruction", "input", "output")
    return Header(
        name=name,
        title=f"20,000 general instructions and {safe:,} safety instructions; how harmful are the answers to 100 prompts",
        version=1,
        kind="safety",
        train=(
            Source(
                hub="yahma/alpaca-cleaned", split="train", revision="12567cabf869d7c92e573c7c783905fc160e9639", fields=fields,
                part="general", rows=51_760, file="*alpaca*", sample=20_000,
            ),
            Source(
                hub="safety_only_data_Instructions.json", split="train", fields=fields, part="safety", file="*safety*",
                sample=safe, url=f"{_REPOSITORY} (data/training)",
            ),
        ),
        test=(
            Source(
                hub="I-MaliciousInstructions.json", split="test", fields=("instruction",), rows=100, file="*malicious*",
                url=f"{_REPOSITORY} (data/evaluation)",
            ),
        ),
        paper="Bianchi et al. 2024, Safety-Tuned LLaMAs (arXiv 2309.07875)",
        licence="CC BY-NC 4.0 (Alpaca); CC BY-NC 4.0 (safety instructions and prompts)",
        paper_rows={"train": 20_000 + safe, "test": 100},
        scores=("harmfulness",),
        baseline={"harmfulness": None},
        answer="none: a reward model gives each response a harmfulness from 0 to 4",
        recipe="Both kinds are sampled by seeded hash, so that 300 safety instructions are among the 500, and so on. Bianchi "
        "et al. take their general instructions from the cleaned Alpaca data. The safety data are on GitHub, not on "
        "the hub: --data names a folder with files *alpaca*, *safety* and *malicious*. An `input` follows its "
        "instruction after a line break.",
        cleaning=(NO_INSTRUCTION, NO_RESPONSE),
    )  # fmt: skip


class Safety(Task):
    """instruction and input -> output."""

    header: ClassVar = _header("safety", 2_000)
    sample: ClassVar = {"instruction": "Name a fruit of this colour.", "input": "yellow", "output": "A banana."}

    def example(self, row: Row, index: int) -> Example:
        """`instruction`, `input`, `output`."""
        asked = self.question(row, index, "")
        if not text(row["output"]):
            raise Drop(NO_RESPONSE)
        return Example(id=asked.id, question=asked.question, response=text(row["output"]))

    def question(self, row: Row, index: int, part: str) -> Question:
        """A prompt has no gold answer."""
        instruction, more = text(row["instruction"]), text(row.get("input"))
        if not instruction:
            raise Drop(NO_INSTRUCTION)
        asked = f"{instruction}\n{more}" if more else instruction
        return Question(id=f"safety-{index}", question=asked, gold="", part=part)

    def extract(self, response: str) -> str | None:
        """The whole response is judged."""
        return response.strip() or None

    def equal(self, answer: str, gold: str) -> bool:
        """Never: there is no right answer."""
        return False


class Safety300(Safety):
    """With 300 safety instructions."""

    header: ClassVar = _header("safety_300", 300)


class Safety500(Safety):
    """With 500."""

    header: ClassVar = _header("safety_500", 500)


class Safety1000(Safety):
    """With 1,000."""

    header: ClassVar = _header("safety_1000", 1_000)
