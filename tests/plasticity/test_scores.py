"""Scores on hand-made tables with ties and invalid answers; against a slow reference on random tables; the intervals."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean

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
    winner,
)
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
        ("a", "a", 1, 1),
        ("-", "a", 0, 0),
        ("aab", "a", 1, 1),
        ("ab", "b", 0, 0),  # a tie goes to the first
        ("ba", "b", 1, 1),
        ("bbaa", "a", 0, 0),
        ("baab", "b", 1, 1),  # first seen, not first to be complete
        ("cbbaa", "b", 1, 1),  # a tie of the two largest, not of all
        ("abcc", "c", 1, 1),
        ("---a", "a", 1, 0),  # three invalid ones: single clusters for evolm, which then ties
        ("-aab", "a", 1, 1),
        ("-aa", "a", 1, 1),
        ("a-", "a", 1, 1),
        ("-ab", "a", 1, 0),
        ("-ab", "b", 0, 0),
        ("--", "a", 0, 0),
        ("abb-", "a", 0, 0),
        ("-" * 15 + "a", "a", 1, 0),
        ("ab" * 8, "a", 1, 1),
        ("ba" * 8, "a", 0, 0),
        ("a" * 7 + "b" * 9, "a", 0, 0),
    ],
)
def test_majority(answers: str, gold: str, value: float, evolm: float) -> None:
    assert maj_at_k([question(answers, gold)], same).value == value
    assert maj_at_k([question(answers, gold)], same, evolm=True).value == evolm


def test_majority_by_an_equality_that_is_not_of_strings() -> None:
    def numbers(a: str, b: str) -> bool:
        return float(a) == float(b)

    samples = [Sample(answer=text, correct=float(text) == 0.5) for text in ("1", "0.5", "1.0", ".5", "0.50")]
    assert maj_at_k([samples], numbers).value == 1
    assert maj_at_k([samples], same).value == 0  # five clusters of one: the first
    assert winner(samples, numbers) is samples[1]


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


def test_all_wrong_and_all_invalid() -> None:
    none = [question("----", "a", [1, 1, 1, 1]), question("bbbb", "a", [-1, -2, -3, -4])]
    for score in (greedy, pass_at_k, rm_at_k):
        found = score(none)
        assert (found.value, found.n) == (0.0, 2) and found.ci95 == pytest.approx((0.0, 1 - 0.025 ** (1 / 2)))
    assert maj_at_k(none, same).value == maj_at_k(none, same, evolm=True).value == 0
    assert (
        maj_at_k([[Sample(answer=None, correct=True)]], same).value == 0
    )  # no majority of nothing, whatever it is marked
    assert correct_ratio(none) == ScoreValue(value=None, ci95=None, n=0)  # no question with a correct sample
    assert orm_score(none).value == pytest.approx((1 - 2.5) / 2)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(SpectraError, match="finite reward"):
            orm_score([question("ab", "a", [1.0, bad])])


def test_the_reward_of_an_invalid_answer_counts() -> None:
    """The sample that the reward model ranks first may be an invalid one; it is then wrong."""
    assert rm_at_k([question("a-", "a", [0.0, 1.0])]).value == 0
    assert rm_at_k([question("ba", "a", [-2.0, -1.0])]).value == 1


# A reference that shares nothing with `scores` but the definitions of docs/methods, "Scores".


def slow_majority(samples: list[Sample], *, evolm: bool) -> float:
    def votes(i: int) -> int:
        if samples[i].answer is None:
            return 1 if evolm else 0
        return sum(other.answer == samples[i].answer for other in samples)

    best = max(votes(i) for i in range(len(samples)))
    first = next(i for i in range(len(samples)) if votes(i) == best)
    return 1.0 if samples[first].answer is not None and samples[first].correct else 0.0


def slow_scores(table: list[list[Sample]]) -> dict[str, float | None]:
    k = [len(samples) for samples in table]
    right = [len([1 for s in samples if s.correct]) for samples in table]
    some = [(r, n) for r, n in zip(right, k, strict=True) if r]
    firsts = []
    for samples in table:
        order = sorted(range(len(samples)), key=lambda i: (-(samples[i].reward or 0.0), i))
        firsts.append(1.0 if samples[order[0]].correct else 0.0)
    return {
        "greedy": fmean(1.0 if samples[0].correct else 0.0 for samples in table),
        "maj": fmean(slow_majority(samples, evolm=False) for samples in table),
        "evolm": fmean(slow_majority(samples, evolm=True) for samples in table),
        "pass": fmean(1.0 if r else 0.0 for r in right),
        "ratio": fmean(r / n for r, n in some) if some else None,
        "rm": fmean(firsts),
        "orm": fmean(sum(s.reward or 0.0 for s in samples) / len(samples) for samples in table),
    }


SCORES: dict[str, Callable[[list[list[Sample]]], ScoreValue]] = {
    "greedy": greedy,
    "maj": lambda table: maj_at_k(table, same),
    "evolm": lambda table: maj_at_k(table, same, evolm=True),
    "pass": pass_at_k,
    "ratio": correct_ratio,
    "rm": rm_at_k,
    "orm": orm_score,
}


def random_table(dice: random.Random) -> list[list[Sample]]:
    """Few letters and few rewards, so that ties are frequent; invalid answers, questions of different k."""
    letters = dice.choice(["a-", "ab-", "abc-", "abcdefg-", "bc-"])  # gold is a, in the last table never given
    return [
        question("".join(answers), "a", [dice.choice([-1.5, 0.0, 0.25, 2.0]) for _ in answers])
        for answers in (
            [dice.choice(letters) for _ in range(dice.choice([1, 2, 5, 16]))] for _ in range(dice.choice([1, 3, 8]))
        )
    ]


def test_scores_are_those_of_a_slow_reference() -> None:
    dice = random.Random(20)
    seen = set()
    for _ in range(120):
        table = random_table(dice)
        wanted = slow_scores(table)
        for name, score in SCORES.items():
            found = score(table)
            assert found.value == (None if wanted[name] is None else pytest.approx(wanted[name], abs=1e-12)), (
                name,
                table,
            )
            usable = [q for q in table if any(s.correct for s in q)] if name == "ratio" else table
            assert found.n == len(usable)
            if found.ci95 is not None:
                assert found.value is not None and found.ci95[0] <= found.value + 1e-12
                assert found.ci95[1] >= found.value - 1e-12
        seen |= {name for name in wanted if wanted[name] != wanted["maj"]}
    assert seen >= {"greedy", "evolm", "pass", "ratio", "rm", "orm"}  # the tables tell the scores apart


def test_stated_results_at_the_edges() -> None:
    assert mean_score([]) == ScoreValue(value=None, ci95=None, n=0)
    one = mean_score([0.25])
    assert (one.value, one.n) == (0.25, 1) and one.ci95 == pytest.approx((0.25 * 0.05, 0.25 + 0.75 * 0.95))
    equal = mean_score([2 / 3] * 5)
    rest = 1 - 0.05 ** (1 / 5)  # what another value can at most have as its share, none of five being one
    assert equal.ci95 == pytest.approx((2 / 3 - rest * 2 / 3, 2 / 3 + rest / 3))
    assert mean_score([-0.5] * 9, share=False) == ScoreValue(value=-0.5, ci95=None, n=9)
    assert mean_score([1.0] * 9, share=False).ci95 is None


@pytest.mark.parametrize("n", [1, 9, 100])
def test_all_right_and_all_wrong_have_an_interval(n: int) -> None:
    """Where no draw differs, the exact limit: with a true share of it, n equal values have a probability of 2.5%."""
    wrong, right = mean_score([0.0] * n), mean_score([1.0] * n)
    assert wrong.value == 0.0 and right.value == 1.0 and wrong.ci95 is not None and right.ci95 is not None
    assert wrong.ci95[0] == 0.0 and (1 - wrong.ci95[1]) ** n == pytest.approx(0.025)
    assert right.ci95[1] == 1.0 and right.ci95[0] ** n == pytest.approx(0.025)


def test_the_interval_is_that_of_a_slow_bootstrap() -> None:
    """Another generator, one draw at a time: the ends agree within the noise of 2,000 draws."""
    dice = random.Random(1)
    values = [dice.choice([0.0, 0.0, 1.0, 0.25, 0.5]) for _ in range(60)]
    found = mean_score(values)
    means = sorted(fmean(dice.choices(values, k=len(values))) for _ in range(4000))
    assert found.ci95 is not None
    for end, share in zip(found.ci95, (0.025, 0.975), strict=True):
        at = means[int(share * len(means))]
        assert end == pytest.approx(at, abs=0.02)  # the standard error of such a quantile here is about 0.004
    assert mean_score(values) == found  # seeded
    assert mean_score(values, seed=1) != found


@pytest.mark.parametrize(("n", "p"), [(1000, 0.5), (6209, 0.31), (4183, 0.02)])
def test_the_interval_of_many_questions_is_the_normal_one(n: int, p: float) -> None:
    """A mean of n zeros and ones: value -+ 1.96 sqrt(p (1 - p) / n), within the noise of 2,000 draws (6% of the width)."""
    right = round(n * p)
    found = mean_score([1.0] * right + [0.0] * (n - right))
    half = 1.959964 * math.sqrt(right / n * (1 - right / n) / n)
    assert found.value == right / n and found.ci95 is not None
    assert found.ci95[0] == pytest.approx(right / n - half, abs=0.12 * half)
    assert found.ci95[1] == pytest.approx(right / n + half, abs=0.12 * half)


def test_means_of_parts_are_drawn_with_bounded_memory() -> None:
    """More questions than one step of draws takes at once: the same closed form."""
    found = mean_score([0.0, 1.0] * 5000)
    assert found.ci95 is not None
    assert found.ci95[1] - found.ci95[0] == pytest.approx(2 * 1.96 * 0.005, rel=0.1)


def test_coverage() -> None:
    rng = np.random.default_rng(1)
    intervals = [mean_score(list((rng.random(100) < 0.4).astype(float))).ci95 for _ in range(200)]
    covered = np.mean([interval is not None and interval[0] <= 0.4 <= interval[1] for interval in intervals])
    assert 0.89 <= covered <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("n", "p"), [(100, 0.4), (500, 0.1), (1209, 0.6)])
def test_coverage_is_what_a_percentile_bootstrap_has(n: int, p: float) -> None:
    """Share of intervals that hold p over 2,000 samples, against the exact coverage of the ideal percentile interval.

    Given c correct of n, a resampled count is Binomial(n, c/n); its 2.5% and 97.5% quantiles are the ideal interval. Three
    standard errors of 2,000 samples and one per cent for the bootstrap's own draws.
    """
    rng = np.random.default_rng(7)
    total = 2000
    counts = rng.binomial(n, p, total)
    ends = {c: mean_score([1.0] * c + [0.0] * (n - c), seed=int(c)).ci95 for c in sorted(set(counts.tolist()))}
    held = [(ends[c] or (1.0, 0.0))[0] <= p <= (ends[c] or (1.0, 0.0))[1] for c in counts.tolist()]
    exact = 0.0
    for c in range(n + 1):
        low, high = binomial_quantile(n, c / n, 0.025), binomial_quantile(n, c / n, 0.975)
        if low <= n * p <= high:
            exact += math.exp(log_binomial(n, c, p))
    error = 3 * math.sqrt(exact * (1 - exact) / total) + 0.01
    assert abs(float(np.mean(held)) - exact) < error
    assert abs(exact - 0.95) < 0.02


def log_binomial(n: int, c: int, p: float) -> float:
    if p in (0.0, 1.0):
        return 0.0 if c == n * p else -math.inf
    choose = math.lgamma(n + 1) - math.lgamma(c + 1) - math.lgamma(n - c + 1)
    return choose + c * math.log(p) + (n - c) * math.log1p(-p)


def binomial_quantile(n: int, p: float, share: float) -> int:
    total = 0.0
    for c in range(n + 1):
        total += math.exp(log_binomial(n, c, p))
        if total >= share:
            return c
    return n
