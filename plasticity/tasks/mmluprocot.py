"""MMLUProCoT: questions of MMLU-Pro with chains of thought by Llama-3.1-8B-Instruct, split by question."""

from __future__ import annotations

import ast
from typing import ClassVar

from .base import Drop, Example, Header, Question, Row, Source, Task, text
from .choices import LETTERS, MULTIPLE_CHOICE, NO_ANSWER, NO_QUESTION, concluded, guessing, letter_of, with_options
from .maths import SCORES

NO_REASONING = "no chain of thought"
WRONG = "the chain of thought ends at a wrong answer"
_CATEGORIES = (
    "law", "psychology", "chemistry", "biology", "physics", "history", "economics", "math", "business", "philosophy",
    "health", "engineering", "computer_science", "other",
)  # fmt: skip
_LAYOUTS = (
    ("question", "options", "answer", "generated_text", "pred"),
    ("question", "options", "answer", "cot_content"),
    ("problem", "gt_answer"),
)
_SOURCES = tuple(
    Source(
        hub="dongboklee/MMLU-Pro_Llama-3.1-8B-Instruct_train", split=category,
        fields=("question", "answer", "cot", "parsed_answer"), layouts=_LAYOUTS,
    )
    for category in _CATEGORIES
)  # fmt: skip


class MMLUProCoT(Task):
    """question with up to ten options -> chain of thought, then the letter."""

    header: ClassVar = Header(
        name="mmluprocot",
        title="questions of 14 subjects with up to ten options, with chains of thought",
        version=1,
        kind="generation",
        train=_SOURCES,
        test=_SOURCES,
        paper="Lee 2025 (hub, and arXiv 2510.00492), after Zeng et al. 2025, VersaPRM (arXiv 2502.06737); Wang et al. 2024, "
        "MMLU-Pro",
        licence="MIT (MMLU-Pro); chains of thought under the Llama 3.1 licence",
        paper_rows={"train": 123_836, "test": 567},
        scores=SCORES,
        baseline=guessing(0.1),
        answer="the letter after the last `answer is`, A to J; case and trailing punctuation do not matter",
        recipe="The paper names the hub user (dongboklee) and neither the data set nor the split; this one is the set of "
        "that user that is MMLU-Pro with chains of thought for training. Revision not pinned: no commit of it could "
        "be looked up. Split by question: the 567 questions of least SHA-256 are the test split (a tenth of the "
        "questions if there are fewer than 5,670), with all their chains kept out of training; the paper's own 567 "
        "are not known. Chains that end at a wrong answer are left out of training. The baseline is that of ten "
        "options; a few questions have fewer. Also read: MMLU-Pro's own rows (`options`, `cot_content`), model "
        "outputs in its format (`generated_text`, `pred`) and questions with the options written in (`problem`, "
        "`gt_answer`; test only).",
        cleaning=(*MULTIPLE_CHOICE, NO_REASONING, WRONG),
        held_out=567,
    )  # fmt: skip
    sample: ClassVar = {
        "question": "A coin is thrown three times. What is the chance of three heads?\nA. 1/2\nB. 1/4\nC. 1/8\nD. 1/3",
        "answer": "C", "cot": ["Each throw is heads with chance 1/2.", "1/2 * 1/2 * 1/2 = 1/8."], "parsed_answer": "C",
    }  # fmt: skip

    def upstream(self, row: Row) -> Row:
        """Options into the question; `cot` a list of steps; `parsed_answer` the letter at which they end."""
        if "problem" in row:
            question = text(row["problem"]).rpartition("\nPlease write your final answer")[0] or text(row["problem"])
            for letter in LETTERS:
                question = question.replace(f"\n({letter}) ", f"\n{letter}. ")
            return {"question": question, "answer": row["gt_answer"], "cot": [], "parsed_answer": None}
        if "options" not in row:
            return row
        made = {
            "question": with_options(text(row["question"]), [text(option) for option in row["options"]]),
            "answer": row["answer"],
        }
        if "generated_text" in row:
            return made | {"cot": [row["generated_text"]], "parsed_answer": row["pred"]}
        return made | {
            "cot": [text(row["cot_content"]).removeprefix("A: Let's think step by step. ")],
            "parsed_answer": row["answer"],
        }

    def example(self, row: Row, index: int) -> Example:
        """Steps, a line each, then `The answer is C.`"""
        asked = self.question(row, index, "")
        steps = row["cot"] if not isinstance(row["cot"], str) else ast.literal_eval(row["cot"])
        reasoning = "\n".join(text(step) for step in steps or () if text(step))
        if not reasoning:
            raise Drop(NO_REASONING)
        if row["parsed_answer"] != asked.gold:
            raise Drop(WRONG)
        return Example(
            id=asked.id, question=asked.question, response=concluded(_without_conclusion(reasoning), asked.gold)
        )

    def question(self, row: Row, index: int, part: str) -> Question:
        """Question and options are one text upstream, with a letter and a full stop before each option."""
        asked = text(row["question"])
        if not asked:
            raise Drop(NO_QUESTION)
        options = [letter for letter in LETTERS if f"\n{letter}. " in asked]
        if len(options) < 2:
            raise Drop(NO_ANSWER)
        return Question(id=f"mmluprocot-{index}", question=asked, gold=letter_of(row["answer"], options), part=part)

    def extract(self, response: str) -> str | None:
        """A letter from A to J."""
        from plasticity.answers import letter

        return letter(response, LETTERS)

    def equal(self, answer: str, gold: str) -> bool:
        """The same letter."""
        return answer == gold


def _without_conclusion(reasoning: str) -> str:
    """The chain without its own `The answer is (C).`, which comes after it in one form for all."""
    head, mark, tail = reasoning.rpartition("The answer is")
    return head.rstrip() if mark and len(tail.strip()) <= len("(C).") else reasoning
