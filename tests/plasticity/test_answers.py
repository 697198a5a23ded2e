"""Answers: extraction, letters and words, the table of tricky pairs, the authors' rules."""

from __future__ import annotations

import pytest

from plasticity.answer_evolm import extract_evolm, judge_evolm, last_characters
from plasticity.answers import equal, extract, gold_of_gsm8k, gold_of_math, letter, word
from spectra.errors import SpectraError
from tests.plasticity.tricky_pairs import PAIRS


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
        ("**Answer is: $x^2$**", "x^2"),
        ("So **the answer is: 1,000.**", "1,000"),
        ("*The answer is 5*", "5"),
        ("The answer is $A^{**}$.", "A^{**}"),
        ("The answer is 0.333...", "0.333..."),
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


def test_evolm() -> None:
    assert extract_evolm("The answer is: 72.") == "72."
    assert extract_evolm("The Answer is 72") is None  # their phrase has a small a
    assert last_characters("a" * 200) == "a" * 128
    assert judge_evolm("2\\sqrt{3}", "2") == "same"  # the trap of bare text
