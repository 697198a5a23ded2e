"""Scores on hand-made tables with ties and invalid answers; coverage of the interval."""

from __future__ import annotations

import numpy as np
import pytest

from plasticity.scores import (
    Sample,
    ScoreValue,
    correct_ratio,
    greedy,
    maj_at_k,
    mean_score,
    orm_score,
    pass_at_k,
    rm_at_k,
)  # fmt: skip
from spectra.errors import SpectraError


def question(answers: str, gold: str, rewards: list[float] | None = None) -> list[Sample]:
    """One character an answer; `-` is invalid."""
    return [
        Sample(answer=None if a == "-" else a, correct=a == gold, reward=rewards[i] if rewards else None)
        for i, a in enumerate(answers)
    ]


def same(a: str, b: str) -> bool:
    return a == b


@pytest.mark.parametrize(
    ("answers", "gold", "value", "evolm"),
    [
        ("aab", "a", 1, 1),
        ("ab", "b", 0, 0),
        ("---a", "a", 1, 0),
        ("-aab", "a", 1, 1),
        ("--", "a", 0, 0),
        ("abb-", "a", 0, 0),
    ],
)
def test_majority(answers: str, gold: str, value: float, evolm: float) -> None:
    assert maj_at_k([question(answers, gold)], same).value == value
    assert maj_at_k([question(answers, gold)], same, evolm=True).value == evolm


def test_other_scores() -> None:
    table = [
        question("abab", "a", [1, 2, 2, 0]),
        question("bb-b", "a", [0, 0, 0, 4]),
        question("baaa", "a", [0, 5, 5, 0]),
    ]
    assert greedy(table).value == pytest.approx(1 / 3)
    assert pass_at_k(table).value == pytest.approx(2 / 3)
    assert (correct_ratio(table).value, correct_ratio(table).n) == (0.625, 2)
    assert rm_at_k(table).value == pytest.approx(1 / 3)  # a tie goes to the first
    assert orm_score(table).value == pytest.approx((1.25 + 1 + 2.5) / 3)
    with pytest.raises(SpectraError):
        rm_at_k([question("ab", "a")])
    with pytest.raises(SpectraError):
        greedy([[]])


def test_stated_results_at_the_edges() -> None:
    assert mean_score([]) == ScoreValue(value=None, ci95=None, n=0)
    assert mean_score([0.25]) == ScoreValue(value=0.25, ci95=(0.25, 0.25), n=1)
    assert mean_score([1.0] * 9) == ScoreValue(value=1.0, ci95=(1.0, 1.0), n=9)


def test_coverage() -> None:
    rng = np.random.default_rng(1)
    intervals = [mean_score(list((rng.random(100) < 0.4).astype(float))).ci95 for _ in range(200)]
    covered = np.mean([interval is not None and interval[0] <= 0.4 <= interval[1] for interval in intervals])
    assert 0.89 <= covered <= 0.99
