"""Answers: extraction, letters and words, the table of tricky pairs, checks that never end, real gold answers."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from plasticity.answer_evolm import equal_evolm, extract_evolm, last_characters
from plasticity.answer_pool import Pool
from plasticity.answers import equal, extract, gold_of_gsm8k, gold_of_math, judge, letter, word
from spectra.errors import SpectraError
from tests.plasticity.tricky_pairs import PAIRS

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NEVER = r"9^{9^{9^{9}}} + 1"  # a power tower: its digits do not fit on earth


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"So \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{1} and then \boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{3} but \boxed{4", "3"),
        ("The answer is: 72", "72"),
        ("the ANSWER IS 3.5. Then more.", "3.5"),
        ("The answer is 1. No: the answer is $2$.", "2"),
        (r"The answer is \(x^2\).", "x^2"),
        (r"The answer is \$5.00.", "5.00"),
        ("The answer is approx. 7 cm. It is long.", "approx. 7 cm"),
        ("The answer is 5\nHuman: more", "5"),
        ("I do not know.", None),
        (r"\boxed{}", None),
        ("The answer is", None),
    ],
)
def test_extract(response: str, answer: str | None) -> None:
    assert extract(response) == answer


@pytest.mark.parametrize(
    ("response", "choice"),
    [
        ("The answer is C.", "C"),
        ("The answer is (c).", "C"),
        ("The answer is option C", "C"),
        ("The answer is C) text", "C"),
        ("The answer is: C because it is.", "C"),
        (r"\boxed{\text{(C)}}", "C"),
        ("C", "C"),
        ("C) text", "C"),
        ("The answer is A patient", None),
        ("The answer is B and C.", None),
        ("The answer is Z.", None),
        ("Clearly so.", None),
    ],
)
def test_letter(response: str, choice: str | None) -> None:
    assert letter(response) == choice


def test_word() -> None:
    assert word("The answer is Yes.") == "yes"
    assert word(r"\boxed{\text{no}}") == "no"
    assert word("Maybe") == "maybe"
    assert word("The answer is yes or no.") is None
    assert word("The answer is certainly not yes.") is None
    assert word("It helps.") is None


def test_gold() -> None:
    assert gold_of_gsm8k("2+2\n#### 1,072") == "1072"
    assert gold_of_math(r"so $\boxed{3}$.") == "3"
    with pytest.raises(SpectraError):
        gold_of_gsm8k("72")
    with pytest.raises(SpectraError):
        gold_of_math("72")


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]} | {pair[1]}")
def test_tricky_pairs(pair: tuple[str, str, bool]) -> None:
    assert equal(pair[0], pair[1]) == pair[2]
    assert equal(pair[1], pair[0]) == pair[2]


def test_a_check_that_never_ends_costs_its_limit() -> None:
    assert equal("1/2", "0.5")
    start = time.monotonic()
    assert judge(NEVER, "7", seconds=1.0) in ("out of time", "different", "died")
    assert time.monotonic() - start < 30
    assert equal("3/4", "0.750")  # a new worker


def test_threads_and_forks() -> None:
    pool = Pool(2)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(pool.check(f"{n}/2", f"{n / 2}", seconds=20)))
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["same"] * 6
    pool.close()
    child = os.fork()
    if child == 0:
        os._exit(0 if judge("7/8", "0.875") == "same" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert judge("5/8", "0.625") == "same"


def test_evolm() -> None:
    assert extract_evolm("The answer is: 72.") == "72."
    assert extract_evolm("The Answer is 72") is None  # their phrase has a small a
    assert last_characters("a" * 200) == "a" * 128
    assert equal_evolm("2\\sqrt{3}", "2")  # the trap of bare text


def rows(name: str) -> list[dict[str, str]]:
    if not (DATA / name).exists():
        pytest.skip("../shared/data is absent")
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").split("\n") if line]


def test_gold_answers_of_mathematics_equal_themselves() -> None:
    golds = [gold_of_math(row["response"]) for row in rows("math500/test.jsonl")]
    golds += [gold_of_gsm8k(row["answer"]) for row in rows("gsm8k_platinum/test.jsonl")]
    for gold in golds:
        for response in (rf"So it is $\boxed{{{gold}}}$.", f"The answer is: ${gold}$."):
            answer = extract(response)
            assert answer is not None and equal(answer, gold), (gold, answer)


def test_gold_choices_are_read() -> None:
    for name, key in (
        ("medmcqa/validation_2816.jsonl", "answer_idx"),
        ("mmlu_pro/Math.jsonl", "gt_answer"),
        ("race/sample_1000.jsonl", "answer"),
    ):
        for row in rows(name):
            assert letter(f"Because. The answer is {row[key]}.") == row[key]
    for row in rows("pubmedqa/pqal.jsonl"):
        assert word(f"The answer is {row['final_decision']}.") == row["final_decision"]
