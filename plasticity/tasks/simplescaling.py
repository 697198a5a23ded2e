"""SimpleScaling: the 59K questions that s1K was chosen from, with the final solutions of a large model."""

from __future__ import annotations

from typing import ClassVar

from .base import Drop, Example, Header, Row, Source, text
from .maths import ANSWER, GSM8K_PLATINUM, MATH, NO_GOLD, NO_QUESTION, NOTHING, SCORES, MathTask

NO_RESPONSE = "no attempt"


class SimpleScaling(MathTask):
    """question -> attempt."""

    header: ClassVar = Header(
        name="simplescaling",
        title="mathematics, science and logic, with a large model's solutions",
        version=1,
        kind="generation",
        train=(
            Source(
                hub="simplescaling/data_ablation_full59K", split="train", fields=("question", "attempt"), rows=58_986,
            ),
        ),
        test=(GSM8K_PLATINUM, *MATH),
        paper="Muennighoff et al. 2025, s1: Simple test-time scaling (arXiv 2501.19393)",
        licence="Apache-2.0 (s1; its sources have their own)",
        paper_rows={"train": 54_484, "test": 6_209},
        scores=SCORES,
        baseline=NOTHING,
        answer=ANSWER,
        recipe="Revision not pinned: no commit of this data set could be looked up. The s1 paper counts 59,029 questions, "
        "the hub has 58,986. The paper keeps 54,484 and does not say which, nor what the response is. Here: "
        "`attempt`, the solution after thinking; the thinking itself (`thinking_trajectories`) mostly exceeds the "
        "2,048 tokens of the paper's cutoff.",
        cleaning=(NO_QUESTION, NO_RESPONSE, NO_GOLD),
    )  # fmt: skip
    sample: ClassVar = {
        "question": "What is the sum of the first five odd numbers?",
        "attempt": "The sum of the first n odd numbers is n^2. For n = 5 it is 5^2 = \\boxed{25}.",
    }

    def example(self, row: Row, index: int) -> Example:
        """`question`, `attempt`."""
        asked, response = text(row["question"]), text(row["attempt"])
        if not asked:
            raise Drop(NO_QUESTION)
        if not response:
            raise Drop(NO_RESPONSE)
        return Example(id=f"simplescaling-{index}", question=asked, response=response)
