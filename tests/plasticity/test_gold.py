"""Every gold answer of the real test sets, read through its task, is itself after being wrapped in a typical response."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from plasticity.tasks.base import Question, Task
from plasticity.tasks.loading import load, upstream_rows
from plasticity.tasks.registry import get

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
WAYS = (
    "The reasoning is long, and it ends. The answer is {}.",
    "So we get this.\n#### {}\nThe answer is: {}",
    "the answer is {}",
    r"Therefore it is $\boxed{{{}}}$.",
    "Hence\n\\[\\boxed{{{}}}.\\]",
    r"The final answer is ${}$. I hope it is correct.",
    r"The answer is \({}\).",
    "Work.\n\n**Answer is: {}**",
    "Work.\n\n**The answer is:** {}",
    "The answer is **{}**.",
    r"The answer is $\boxed{{{}}}$.",
)
CHOICES = ("The correct answer is ({}).", "The answer is option {}.", r"$\boxed{{\text{{({})}}}}$")
SETS = {  # task, rows read, of which every so many in the default run
    "math500/test.jsonl": ("metamathqa", 500, 8),
    "gsm8k_platinum/test.jsonl": ("metamathqa", 1209, 20),
    "medmcqa/validation_2816.jsonl": ("medmcqa", 2816, 20),
    "medmcqa/cot_sample_500.jsonl": ("medmcqa", 500, 20),
    "pubmedqa/pqal.jsonl": ("pubmedqa", 1000, 10),
    "mmlu_pro/Math.jsonl": ("mmluprocot", 1351, 20),
    "mmlu_pro/Biology.jsonl": ("mmluprocot", 717, 20),
    "mmlu_pro/ComputerScience.jsonl": ("mmluprocot", 410, 20),
    "race/sample_1000.jsonl": ("race", 1000, 20),
}


def gold(name: str) -> tuple[Task, list[Question]]:
    """The questions of a file, all of them: those of mmlu_pro also where the task would hold a tenth of them out."""
    path = DATA / name
    if not path.exists():
        pytest.skip("../shared/data is absent")
    kind, rows, _ = SETS[name]
    task = get(kind)
    if task.header.held_out:
        found = [task.question(row, index, "") for index, row in enumerate(upstream_rows(task, "train", path))]
    else:
        found = list(load(task, "test", data=path).items)
    assert len(found) == rows
    return task, found


def wrong(task: Task, questions: list[Question]) -> list[tuple[str, str, str | None]]:
    """Gold answer, response and what was read, where a gold answer is not itself."""
    letters = all(len(asked.gold) == 1 and asked.gold.isupper() for asked in questions)
    ways = (*WAYS, *CHOICES) if letters else WAYS
    bad = []
    for asked in questions:
        for way in ways:
            response = way.format(asked.gold, asked.gold)
            answer = task.extract(response)
            if answer is None or not task.equal(answer, asked.gold) or not task.equal(asked.gold, answer):
                bad.append((asked.gold, response, answer))
    return bad


@pytest.mark.parametrize("name", SETS)
def test_some_gold_answers_equal_themselves(name: str) -> None:
    task, questions = gold(name)
    assert wrong(task, questions[:: SETS[name][2]]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_all_gold_answers_equal_themselves(name: str) -> None:
    assert wrong(*gold(name)) == []


@pytest.mark.slow
def test_gold_answers_do_not_equal_their_neighbours() -> None:
    """The other side: distinct gold answers of MATH-500 are told apart."""
    task, questions = gold("math500/test.jsonl")
    golds = list(dict.fromkeys(asked.gold for asked in questions))
    assert [pair for pair in itertools.pairwise(golds) if task.equal(*pair)] == []


def slips(gold: str, dice: random.Random) -> Iterator[str]:
    """Answers that are wrong by one sign, digit, bracket, root or list entry."""
    digits = [found.start() for found in re.finditer(r"\d", gold)]
    if digits:
        at = dice.choice(digits)
        yield gold[:at] + dice.choice([digit for digit in "123456789" if digit != gold[at]]) + gold[at + 1 :]
    if gold.strip("0.") and "infty" not in gold:
        yield f"-{gold}"
    if "infty" not in gold:
        yield gold.replace("(", "[", 1)
    yield gold.replace("+", "-", 1)
    yield re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\\frac{\2}{\1}", gold, count=1)
    yield gold.rpartition(",")[0] or gold
    yield gold.replace("\\sqrt", "", 1)
    yield gold.replace("\\pi", "", 1)


@pytest.mark.slow
def test_a_gold_answer_with_one_slip_is_another_answer() -> None:
    task, questions = gold("math500/test.jsonl")
    dice = random.Random(0)
    golds = list(dict.fromkeys(asked.gold for asked in questions))
    pairs = [(right, wrong) for right in golds for wrong in slips(right, dice) if wrong != right]
    assert len(pairs) > 600
    assert [pair for pair in pairs if task.equal(*pair)] == []
