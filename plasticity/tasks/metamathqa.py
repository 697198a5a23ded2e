"""MetaMathQA: 395,000 rewritten questions from the training sets of GSM8K and MATH, with worked solutions."""

from __future__ import annotations

import re
from typing import ClassVar

from spectra.errors import SpectraError

from .base import Drop, Example, Header, Row, Source, text
from .maths import ANSWER, GSM8K_PLATINUM, MATH, NO_GOLD, NO_QUESTION, NOTHING, SCORES, MathTask

NO_RESPONSE = "no response"


class MetaMathQA(MathTask):
    """query -> response, unfiltered."""

    header: ClassVar = Header(
        name="metamathqa",
        title="word problems and competition mathematics, with worked solutions",
        version=1,
        kind="generation",
        train=(
            Source(
                hub="meta-math/MetaMathQA", split="train", revision="aa4f34d3d2d3231299b5b03d9b3e5a20da45aa18",
                fields=("query", "response"), rows=395_000, layouts=(("question", "answer"),),
            ),
        ),
        test=(GSM8K_PLATINUM, *MATH),
        paper="Yu et al. 2023, MetaMath (arXiv 2309.12284); test: Vendrow et al. 2025, Hendrycks et al. 2021",
        licence="MIT (MetaMathQA, MATH), CC BY-SA 4.0 (GSM8K-Platinum)",
        paper_rows={"train": 395_000, "test": 6_209},
        scores=SCORES,
        baseline=NOTHING,
        answer=ANSWER,
        recipe="query -> response as they are; repeated questions stay. Scores are pooled over 6,209 questions, both parts "
        "shown. The paper's authors train on all 395,000 rows; here a row whose question is a test question, if any, "
        "is left out. Also read: GSM8K's own `question`, `answer`, made into rows like MetaMathQA's: calculator annotations "
        "(`<<48/2=24>>`) are taken out, and `The answer is: 72` follows `#### 72`, so that the answer can be read.",
        cleaning=(NO_QUESTION, NO_RESPONSE, NO_GOLD),
    )  # fmt: skip
    sample: ClassVar = {
        "query": "A box holds 12 pens. How many pens do 4 boxes hold?",
        "response": "Each box holds 12 pens.\n4 boxes hold 4 * 12 = 48 pens.\n#### 48\nThe answer is: 48",
    }

    def upstream(self, row: Row) -> Row:
        """GSM8K's `question`, `answer` -> with `query`, `response` beside them; test rows keep what they are read by."""
        from plasticity.answers import gold_of_gsm8k

        if "query" in row or not {"question", "answer"} <= row.keys():
            return row
        solution = re.sub(r"<<[^<>]*>>", "", text(row["answer"])).strip()
        try:
            gold = gold_of_gsm8k(solution)
        except SpectraError:
            raise Drop(NO_GOLD) from None
        return {**row, "query": row["question"], "response": f"{solution}\nThe answer is: {gold}"}

    def example(self, row: Row, index: int) -> Example:
        """`query`, `response`."""
        asked, response = text(row["query"]), text(row["response"])
        if not asked:
            raise Drop(NO_QUESTION)
        if not response:
            raise Drop(NO_RESPONSE)
        return Example(id=f"metamathqa-{index}", question=asked, response=response)
