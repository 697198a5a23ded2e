"""The two pooled test sets of mathematics (plasticity paper, table 7): GSM8K-Platinum and MATH, 6,209 questions."""

from __future__ import annotations

from spectra.errors import SpectraError

from .base import Drop, Question, Row, Source, Task, text

NO_QUESTION = "no question"
NO_GOLD = "no answer in the solution"
SCORES = ("greedy", "maj@16", "pass@16", "rm@16", "correct_ratio", "orm_score")
NOTHING = dict.fromkeys(SCORES[:3])
ANSWER = (
    "the last \\boxed{...} (braces matched), else what follows the last `answer is`; equal as normalised strings, else by "
    "math-verify"
)
_SUBJECTS = {
    "algebra": 1187, "counting_and_probability": 474, "geometry": 479, "intermediate_algebra": 903,
    "number_theory": 540, "prealgebra": 871, "precalculus": 546,
}  # fmt: skip
GSM8K_PLATINUM = Source(
    hub="madrylab/gsm8k-platinum", subset="main", split="test", revision="e762492455a1cf7967de89f05b6bef72fc713b66",
    fields=("question", "answer"), part="gsm8k_platinum", rows=1209,
)  # fmt: skip
MATH = tuple(
    Source(
        hub="EleutherAI/hendrycks_math", subset=subject, split="test", revision="21a5633873b6a120296cce3e2df9d5550074f4a3",
        fields=("problem", "solution"), part="math", rows=rows, layouts=(("query", "response", "answer"),),
    )
    for subject, rows in _SUBJECTS.items()
)  # fmt: skip


class MathTask(Task):
    """A task that is tested on both; subclasses have the training data."""

    def question(self, row: Row, index: int, part: str) -> Question:
        """GSM8K: the number after `####`. MATH: what is boxed in the solution, or the `answer` column of MATH-500."""
        from plasticity.answers import gold_of_gsm8k, gold_of_math

        asked = text(row.get("question") or row.get("problem") or row.get("query"))
        if not asked:
            raise Drop(NO_QUESTION)
        try:
            if part == GSM8K_PLATINUM.part:
                gold = gold_of_gsm8k(text(row["answer"]))
            else:
                gold = gold_of_math(text(row["solution"])) if "solution" in row else text(row["answer"])
        except SpectraError:
            raise Drop(NO_GOLD) from None
        if not gold:
            raise Drop(NO_GOLD)
        return Question(id=f"{part}-{index}", question=asked, gold=gold, part=part)
