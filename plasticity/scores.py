"""Scores of sampled responses, each with a confidence interval by bootstrap over questions. Source: docs/methods, "Scores".

A question is a list of samples in the order they were drawn. Ties go to the first. Intervals: percentile, 2000 seeded draws; of
shares that are all equal, where every draw is the same, exact ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from plasticity.stats_resample import DRAWS, means, percentile
from plasticity.stats_result import Floats, Interval, is_constant
from spectra.errors import SpectraError

Equal = Callable[[str, str], bool]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One response: its answer (None: invalid), whether it is correct, its reward (None: not scored)."""

    answer: str | None
    correct: bool
    reward: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreValue:
    """A mean over `n` questions; value and interval are None where n = 0.

    The interval is a bootstrap's, which has no width where all values are equal. Of shares (scores in [0, 1]) that are all 0 or all
    1 it is Clopper and Pearson's there, 0 of 100 right is 0 to 0.036; of shares that are all equal otherwise, what n equal ones
    leave possible (`stats_proportion.constant_interval`); of equal numbers without limits (rewards) there is none.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int


Question = Sequence[Sample]


def mean_score(values: Sequence[float], *, seed: int = 0, share: bool = True) -> ScoreValue:
    """Mean of one number a question, with its 95% interval; see `ScoreValue`.

    Args:
        share: whether the numbers are shares, in [0, 1] (rewards are not).
    """
    if not values:
        return ScoreValue(value=None, ci95=None, n=0)
    x = np.asarray(values, dtype=np.float64)
    return ScoreValue(value=float(x.mean()), ci95=_interval(x, seed, share), n=len(x))


def _interval(x: Floats, seed: int, share: bool) -> Interval | None:
    if not is_constant(x):
        return percentile(means(np.random.default_rng(seed), x[:, None], DRAWS)[:, 0])
    if not share:
        return None
    from plasticity.stats_proportion import constant_interval, proportion_interval

    if x[0] in (0.0, 1.0):
        return proportion_interval(int(x.sum()), len(x)).ci95
    return constant_interval(float(x[0]), len(x), (0.0, 1.0))


def _filled(question: Question) -> Question:
    if not question:
        raise SpectraError("A question without samples cannot be scored; leave it out or sample it.")
    return question


def winner(question: Question, equal: Equal, *, evolm: bool = False) -> Sample:
    """First sample of the largest cluster of equal answers; an invalid one only where none is valid (`evolm`: in ties)."""
    clusters: list[list[Sample]] = []
    for one in _filled(question):
        if one.answer is None:
            if evolm:
                clusters.append([one])
            continue
        for cluster in clusters:
            if cluster[0].answer is not None and equal(one.answer, cluster[0].answer):
                cluster.append(one)
                break
        else:
            clusters.append([one])
    return max(clusters, key=len)[0] if clusters else question[0]


def greedy(questions: Sequence[Question], *, seed: int = 0) -> ScoreValue:
    """Share of questions whose first (greedy) sample is correct."""
    return mean_score([float(_filled(q)[0].correct) for q in questions], seed=seed)


def maj_at_k(questions: Sequence[Question], equal: Equal, *, evolm: bool = False, seed: int = 0) -> ScoreValue:
    """Share of questions whose majority answer is correct; `evolm`: invalid answers are clusters of their own."""
    winners = [winner(q, equal, evolm=evolm) for q in questions]
    return mean_score([float(w.correct and w.answer is not None) for w in winners], seed=seed)


def pass_at_k(questions: Sequence[Question], *, seed: int = 0) -> ScoreValue:
    """Share of questions with a correct sample."""
    return mean_score([float(any(s.correct for s in _filled(q))) for q in questions], seed=seed)


def correct_ratio(questions: Sequence[Question], *, seed: int = 0) -> ScoreValue:
    """Mean of correct/k over the `n` questions with at least one correct sample."""
    ratios = [sum(s.correct for s in _filled(q)) / len(q) for q in questions]
    return mean_score([ratio for ratio in ratios if ratio > 0], seed=seed)


def _rewards(question: Question) -> list[float]:
    rewards = [s.reward for s in _filled(question) if s.reward is not None and np.isfinite(s.reward)]
    if len(rewards) < len(question):
        raise SpectraError("Scores by a reward model need a finite reward of every sample, but some have none.")
    return rewards


def best(question: Question) -> Sample:
    """The sample of the highest reward; raises `SpectraError` where one has none."""
    return question[int(np.argmax(_rewards(question)))]


def rm_at_k(questions: Sequence[Question], *, seed: int = 0) -> ScoreValue:
    """Share of questions whose sample of the highest reward is correct."""
    return mean_score([float(best(q).correct) for q in questions], seed=seed)


def orm_score(questions: Sequence[Question], *, seed: int = 0) -> ScoreValue:
    """Mean over questions of the mean reward of their samples."""
    return mean_score([float(np.mean(_rewards(q))) for q in questions], seed=seed, share=False)
