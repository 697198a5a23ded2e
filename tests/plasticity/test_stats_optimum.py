"""The optimum by loss and by score, and agreement of rankings, against enumeration and closed forms."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import integrate, stats

from plasticity.stats_grid import Scores, align, contrasts, critical, draw_means, draw_seeds
from plasticity.stats_optimum import optimum
from plasticity.stats_ranking import agreement
from spectra.errors import SpectraError

from .test_stats import numbers

RNG = np.random.default_rng(3)


def scores_of(table: np.ndarray, task: str = "t") -> dict[str, dict[str, dict[int, np.ndarray]]]:
    """(K, S, Q) -> setting -> task -> seed -> (Q,)."""
    return {f"k{k}": {task: dict(enumerate(rows))} for k, rows in enumerate(table)}


def test_shares_against_every_draw() -> None:
    """2 seeds (one is drawn), 3 and 2 questions, 2 documents: all 2 * 27 * 4 * 4 draws are listed."""
    first, second = RNG.random((3, 2, 3)), RNG.random((3, 2, 2))
    loss = RNG.random((3, 2, 2))
    scores = scores_of(first)
    for k in range(3):
        scores[f"k{k}"]["u"] = dict(enumerate(second[k]))
    wins, by_loss, differ = np.zeros(3), np.zeros(3), []
    for s in range(2):
        for q, u, d in itertools.product(
            itertools.product(range(3), repeat=3),
            itertools.product(range(2), repeat=2),
            itertools.product(range(2), repeat=2),
        ):
            best = np.argmax(first[:, s, list(q)].mean(axis=1) + second[:, s, list(u)].mean(axis=1))
            cheap = np.argmin(loss[:, s, list(d)].mean(axis=1))
            wins[best] += 1
            by_loss[cheap] += 1
            differ.append(best != cheap)
    found = optimum({f"k{k}": dict(enumerate(loss[k])) for k in range(3)}, scores, draws=20_000)
    assert list(found.wins_by_score.values()) == pytest.approx(list(wins / wins.sum()), abs=0.012)
    assert list(found.wins_by_loss.values()) == pytest.approx(list(by_loss / by_loss.sum()), abs=0.012)
    assert found.differ == pytest.approx(np.mean(differ), abs=0.012)
    assert list(found.score.values()) == pytest.approx(list((first.mean((1, 2)) + second.mean((1, 2))) / 2))
    assert (found.n, found.n_seeds, found.n_questions) == (3, 2, 5)
    assert found.status == "few_seeds"


def test_seeds_are_drawn_without_bias() -> None:
    """The variance of a drawn mean of 3 seeds is s^2 / 3, s with n - 1."""
    values = np.array([0.1, 0.5, 0.2])
    drawn = draw_seeds(np.random.default_rng(0), 3, 50_000) @ values
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.002)
    assert drawn.var() == pytest.approx(values.var(ddof=1) / 3, rel=0.03)


def test_blocks_join_and_flags_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = align(scores_of((RNG.random((2, 1, 7)) < 0.5).astype(float)))
    weights = np.ones((50, 1))
    whole = draw_means(grid, np.random.default_rng(1), weights)
    monkeypatch.setattr("plasticity.stats_resample._BLOCK", 30)
    assert np.array_equal(draw_means(grid, np.random.default_rng(1), weights), whole)
    assert np.array_equal(np.round(whole * 7) / 7, whole)


def test_two_settings_and_one_seed_are_the_paired_t_interval_over_questions() -> None:
    table = RNG.normal(size=(2, 1, 40))
    found = contrasts(align(scores_of(table)), 0)
    low, high = stats.ttest_rel(table[1, 0], table[0, 0]).confidence_interval(0.95)
    assert found.low is not None and found.high is not None
    assert (found.low[1], found.high[1]) == (pytest.approx(low), pytest.approx(high))
    assert (found.difference[0], found.low[0], found.high[0]) == (0.0, 0.0, 0.0)


def test_two_settings_and_one_question_are_the_paired_t_interval_over_seeds() -> None:
    table = RNG.normal(size=(2, 4, 1))
    found = contrasts(align(scores_of(table)), 0)
    low, high = stats.ttest_rel(table[1, :, 0], table[0, :, 0]).confidence_interval(0.95)
    assert found.low is not None and found.high is not None
    assert (found.low[1], found.high[1]) == (pytest.approx(low), pytest.approx(high))


def test_variance_takes_the_interaction_out_once() -> None:
    """Two-way layout by loops: (MS_seeds + MS_questions - MS_interaction) / (S Q), each part at its own degrees of freedom."""
    table = np.zeros((2, 4, 30))
    table[1] = RNG.normal(size=(4, 1)) * 0.3 + RNG.normal(size=30) * 0.8 + RNG.normal(size=(4, 30)) * 0.5
    d = table[1]
    ms_s = 30 * sum((d[s].mean() - d.mean()) ** 2 for s in range(4)) / 3
    ms_q = 4 * sum((d[:, q].mean() - d.mean()) ** 2 for q in range(30)) / 29
    ms_sq = sum((d[s, q] - d[s].mean() - d[:, q].mean() + d.mean()) ** 2 for s in range(4) for q in range(30)) / (
        3 * 29
    )
    v_s, v_q, own = ms_s / 120, ms_q / 120, (ms_q - ms_sq) / 120
    assert v_s + own > max(v_s, v_q)  # else this would test nothing
    found = contrasts(align(scores_of(table)), 0)
    assert found.high is not None
    assert found.high[1] - d.mean() == pytest.approx(
        math.sqrt(stats.t.ppf(0.975, 3) ** 2 * v_s + stats.t.ppf(0.975, 29) ** 2 * own)
    )


def test_seeds_are_pooled_over_settings_but_never_below_a_contrasts_own() -> None:
    """One question: Dunnett's interval in randomised blocks, sqrt(2 MS / S) with (K - 1)(S - 1) degrees of freedom."""
    table = np.random.default_rng(12).normal(size=(4, 6, 1)) + np.array([0.0, 0.0, 0.0, 3.0])[:, None, None]
    table[3] *= [[-1], [3], [1], [0], [4], [2]]
    x = table[:, :, 0]
    rest = [x[k, s] - x[k].mean() - x[:, s].mean() + x.mean() for k in range(4) for s in range(6)]
    pooled = 2 * sum(r**2 for r in rest) / 15 / 6
    own = [np.var(x[k] - x[0], ddof=1) / 6 for k in range(4)]
    assert own[1] < pooled < own[3]
    found = contrasts(align(scores_of(table)), 0)
    assert found.high is not None
    c = critical(np.eye(3) + 1, np.full(3, 15.0), 0)[0]
    assert 2.5 < c < 2.7  # tables of Dunnett: 2.61 for 3 comparisons, two-sided 5%, 15 degrees
    half = found.high - found.difference
    assert half[1] == pytest.approx(c * math.sqrt(pooled), rel=0.02)
    assert half[3] == pytest.approx(c * math.sqrt(own[3]), rel=0.02)
    assert half[0] == 0.0


@pytest.mark.parametrize(("m", "df"), [(2, 5.0), (4, 12.0), (3, 1e7)])
def test_critical_value_of_independent_contrasts_is_the_maximum_modulus(m: int, df: float) -> None:
    """P(max |t| < c) = E over chi of (2 Phi(c chi) - 1)^m = 0.95."""
    c = critical(np.eye(m) * 3.0, np.full(m, df), 0)[0]
    spread = 12 / math.sqrt(2 * df)
    inside, _ = integrate.quad(
        lambda u: (2 * stats.norm.cdf(c * u) - 1) ** m * stats.chi.pdf(u * math.sqrt(df), df) * math.sqrt(df),
        max(0.0, 1 - spread),
        1 + spread,
    )
    assert inside == pytest.approx(0.95, abs=0.006)


def test_critical_value_of_one_contrast_told_twice_is_t() -> None:
    found = critical(np.ones((2, 2)), np.array([9.0, 30.0]), 0)
    assert list(found) == pytest.approx(list(stats.t.ppf(0.975, [9.0, 30.0])), rel=0.02)


def test_two_settings_that_are_one_share_every_draw_and_are_said_to_tie() -> None:
    row = (RNG.random(50) < 0.4).astype(float)
    found = optimum({"a": {0: 1.0}, "b": {0: 1.0}}, {n: {"t": {0: row}} for n in "ab"}, draws=200)
    assert found.best_by_score == found.best_by_loss == ("a", "b")
    assert found.wins_by_score == found.wins_by_loss == {"a": 0.5, "b": 0.5}
    assert (found.differ, found.difference.status, found.difference.value) == (0.0, "same", 0.0)
    assert "Tied as best by loss: a, b." in found.why and "Tied as best by score: a, b." in found.why
    assert found.status == "one_seed" and "One loss a setting" in found.why


def test_a_clear_optimum_is_certain_and_one_loss_never_moves() -> None:
    easy = {"0.1": 0.2, "0.5": 0.5, "1.0": 0.8}
    scores = {n: {"t": {s: (RNG.random(300) < p) for s in range(4)}} for n, p in easy.items()}
    found = optimum({"0.1": {0: 3.1}, "0.5": {0: 3.0}, "1.0": {0: 3.2}}, scores, draws=500)
    assert (found.best_by_loss, found.best_by_score) == (("0.5",), ("1.0",))
    assert found.wins_by_score["1.0"] == found.wins_by_loss["0.5"] == found.differ == 1.0
    assert found.difference.value == pytest.approx(found.score["1.0"] - found.score["0.5"])
    assert found.difference.ci95 is not None and 0.2 < found.difference.ci95[0] < 0.3 < found.difference.ci95[1] < 0.4
    assert found.status == "one_loss"


def test_losses_and_scores_of_the_same_seeds_are_drawn_together() -> None:
    """In seed 0 `a` is best by both, in seed 1 `b`: drawn together the winners never differ, drawn apart in half of the draws."""
    scores = {
        "a": {"t": {0: np.ones(9), 1: np.zeros(9)}},
        "b": {"t": {0: np.zeros(9), 1: np.ones(9)}},
    }
    together = optimum({"a": {0: 1.0, 1: 2.0}, "b": {0: 2.0, 1: 1.0}}, scores, draws=400)
    apart = optimum({"a": {7: 1.0, 8: 2.0}, "b": {7: 2.0, 8: 1.0}}, scores, draws=400)
    assert together.differ == 0.0
    assert apart.differ == pytest.approx(0.5, abs=0.1)


def test_what_some_setting_lacks_is_left_out_and_said() -> None:
    row = RNG.random(6)
    scores: dict[str, Scores] = {
        "a": {"t": {0: row, 1: row, 2: row}, "u": {0: row}},
        "b": {"t": {0: row + 0.1, 1: row, 2: [math.nan] * 6}},
        "c": {"t": {}},
        "d": {"t": {0: row, 1: row, 2: row}},
    }
    found = optimum({"a": {0: 1.0}, "b": {0: 2.0}, "c": {0: 1.0}, "d": {0: math.inf}}, scores, draws=50)
    assert set(found.score) == {"a", "b"} and found.n_seeds == 2
    for part in (
        "settings without values: c",
        "tasks that not all have: u",
        "seeds that not all have: 2",
        "and scores: c, d.",
    ):
        assert part in found.why


@pytest.mark.parametrize("names", ["", "a"])
def test_fewer_than_two_settings_are_a_status(names: str) -> None:
    scores = {n: {"t": {0: [1.0, 0.0]}} for n in names}
    found = optimum({n: {0: 1.0} for n in names}, scores)
    assert (found.status, found.difference.value, found.differ, found.best_by_score) == (
        "too_few_settings",
        None,
        None,
        (),
    )
    ranked = agreement(dict.fromkeys(names, 1.0), scores)
    assert (ranked.status, ranked.regret.value, ranked.regret.status) == ("too_few_settings", None, "too_few_settings")
    assert (ranked.top, ranked.top_is_best, ranked.kendall.status) == (None, None, "too_few_points")


def test_questions_must_be_the_same() -> None:
    with pytest.raises(SpectraError, match="2, 3 questions of t"):
        optimum({"a": {0: 1.0}, "b": {0: 1.0}}, {"a": {"t": {0: [1, 0]}}, "b": {"t": {0: [1, 0, 1]}}})
    with pytest.raises(SpectraError, match="several rows"):
        align({"a": {"t": {0: [[1, 0], [1, 0]]}}})


def test_agreement_by_hand() -> None:
    levels = {"a": 0.2, "b": 0.5, "c": 0.4, "d": 0.7}
    scores = {n: {"t": {s: RNG.random(200) < p for s in range(5)}} for n, p in levels.items()}
    cheap = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 3.0}
    found = agreement(cheap, scores, draws=300)
    real = [found.score[n] for n in "abcd"]
    assert found.kendall.value == pytest.approx(stats.kendalltau(list(cheap.values()), real).statistic)
    assert found.spearman.value == pytest.approx(stats.spearmanr(list(cheap.values()), real).statistic)
    assert (found.top, found.best, found.top_is_best) == ("c", ("d",), 0.0)
    assert found.regret.value == pytest.approx(found.score["d"] - found.score["c"])
    assert found.regret.ci95 is not None and 0.1 < found.regret.ci95[0] < 0.3 < found.regret.ci95[1]
    assert found.regret_at_random == pytest.approx(max(real) - np.mean(real))
    right = agreement(levels, scores, draws=300)
    assert (right.top, right.top_is_best, right.regret.value) == ("d", 1.0, 0.0)
    assert right.regret.ci95 == (0.0, 0.0)  # every setting is surely worse: nothing can be lost


def test_agreement_says_ties_and_what_is_missing() -> None:
    scores = {n: {"t": {0: RNG.random(30)}} for n in "abcy"}
    found = agreement({"a": 1.0, "b": 2.0, "c": 2.0, "x": 3.0, "y": None, "z": 1.0}, scores, draws=50)
    assert (found.top, found.n, found.status) == ("b", 3, "tied")
    assert "b, c first alike; b" in found.why and "x, y, z" in found.why and "One seed" in found.why
    row = RNG.random(30)
    alike = agreement({"a": 1.0, "b": 2.0}, {n: {"t": {0: row}} for n in "ab"}, draws=50)
    assert (alike.regret.value, alike.regret.ci95, alike.regret.status, alike.top_is_best) == (
        0.0,
        None,
        "constant",
        0.5,
    )


def test_no_result_holds_a_nan() -> None:
    """Also where nothing varies, where one question is all there is, and where everything is missing."""
    for table in (np.ones((3, 2, 4)), RNG.random((3, 1, 1)), RNG.random((3, 2, 1)), np.full((2, 1, 3), np.nan)):
        scores = scores_of(table)
        for found in (
            optimum({n: {0: 1.0} for n in scores}, scores, draws=20),
            agreement(dict.fromkeys(scores, 1.0), scores, draws=20),
        ):
            assert found.status != "ok"
            assert all(math.isfinite(x) for x in numbers(asdict(found)))
