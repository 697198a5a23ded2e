"""Two checkpoints, correlations and means over tasks, against scipy, enumeration and closed forms."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from plasticity import stats as ours
from spectra.errors import SpectraError

RNG = np.random.default_rng(7)
A = (RNG.random(80) < 0.6).astype(float)
B = (RNG.random(80) < 0.5).astype(float)


def numbers(found: object) -> list[float]:
    """Every float in a result, however deep."""
    if isinstance(found, float):
        return [found]
    if isinstance(found, dict):
        return [x for value in found.values() for x in numbers(value)]
    if isinstance(found, (tuple, list)):
        return [x for value in found for x in numbers(value)]
    return []


# --- proportions


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 17), (1, 1), (0, 1), (500, 1000)])
def test_proportion_is_scipys_exact_interval(k: int, n: int) -> None:
    found = ours.proportion_interval(k, n)
    low, high = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert (found.value, found.n, found.status) == (k / n, n, "ok")
    assert found.ci95 == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_proportion_without_success_is_closed_form() -> None:
    assert ours.proportion_interval(0, 40).ci95 == (0.0, pytest.approx(1 - 0.025 ** (1 / 40)))


def test_proportion_of_nothing_is_a_status_and_nonsense_an_error() -> None:
    found = ours.proportion_interval(0, 0)
    assert (found.value, found.ci95, found.status) == (None, None, "no_values")
    with pytest.raises(SpectraError, match="between 0 and the number"):
        ours.proportion_interval(4, 3)


# --- paired bootstrap


def test_paired_bootstrap_against_every_resample() -> None:
    """n = 5: all 5^5 resamples are listed. Quantiles of the list and of many draws agree to the spacing of the atoms."""
    d = np.array([0.0, 0.11, 0.29, -0.4, 0.83])
    every = np.array([np.mean(d[list(picked)]) for picked in itertools.product(range(5), repeat=5)])
    found = ours.paired_bootstrap(d, np.zeros(5), draws=40_000)
    assert found.value == pytest.approx(d.mean())
    assert found.ci95 == (
        pytest.approx(np.quantile(every, 0.025), abs=0.02),
        pytest.approx(np.quantile(every, 0.975), abs=0.02),
    )


def test_paired_bootstrap_is_scipys_percentile_bootstrap() -> None:
    expected = stats.bootstrap(
        (A, B),
        lambda a, b, axis: (a - b).mean(axis=axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    found = ours.paired_bootstrap(A, B, draws=10_000)
    assert found.ci95 == (pytest.approx(expected.low, abs=0.013), pytest.approx(expected.high, abs=0.013))


def test_seeds_are_averaged_question_by_question_and_it_says_so() -> None:
    first, second = RNG.random((3, 50)), RNG.random((2, 50))
    found = ours.paired_bootstrap(first, second, seed=3)
    alone = ours.paired_bootstrap(first.mean(axis=0), second.mean(axis=0), seed=3)
    assert (found.value, found.ci95) == (pytest.approx(alone.value), pytest.approx(alone.ci95))
    assert (found.seeds, found.n) == ((3, 2), 50)
    assert "3 and 2 seeds (questions resampled, seeds not)" in found.method and "seeds" not in alone.method


def test_draws_are_seeded_and_blocks_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    again = [ours.paired_bootstrap(A, B, seed=5).ci95 for _ in range(2)]
    assert again[0] == again[1] != ours.paired_bootstrap(A, B, seed=6).ci95
    monkeypatch.setattr("plasticity.stats_resample._BLOCK", 1000)
    assert ours.paired_bootstrap(A, B, seed=5).ci95 == again[0]
    with pytest.raises(SpectraError, match="at least 1"):
        ours.paired_bootstrap(A, B, draws=0)


def test_flags_that_never_differ_have_an_exact_interval_and_others_none() -> None:
    found = ours.paired_bootstrap(A, A)
    rest = 1 - 0.05 ** (1 / 80)
    assert (found.value, found.ci95, found.status) == (0.0, (pytest.approx(-rest), pytest.approx(rest)), "ok")
    all_won = ours.paired_bootstrap(np.ones(20), np.zeros(20))
    assert all_won.ci95 == (pytest.approx(1 - 2 * (1 - 0.05 ** (1 / 20))), 1.0)
    shares = ours.paired_bootstrap(A / 3 + 0.1, A / 3)
    assert (shares.ci95, shares.status) == (None, "constant")
    assert shares.value == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("values", "status"), [([], "no_values"), ([1.0], "too_few_questions"), ([1.0, math.nan], "non_finite")]
)
def test_small_and_broken_data_are_a_status(values: list[float], status: str) -> None:
    found = ours.paired_bootstrap(values, [0.0] * len(values))
    assert (found.status, found.ci95) == (status, None)
    assert found.why.endswith(".")


def test_questions_must_pair() -> None:
    with pytest.raises(SpectraError, match="79 and 80 questions"):
        ours.paired_bootstrap(A[1:], B)
    with pytest.raises(SpectraError, match="not a table"):
        ours.paired_bootstrap([[1.0, 0.0], [1.0]], [1.0, 0.0])
    with pytest.raises(SpectraError, match="3 axes"):
        ours.paired_bootstrap(np.ones((2, 2, 2)), np.ones((2, 2)))


# --- McNemar


def by_hand(only_first: int, only_second: int) -> float:
    n, least = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(least + 1)) / 2**n)


@pytest.mark.parametrize(("only_first", "only_second"), [(1, 0), (5, 5), (12, 3), (0, 9), (40, 61)])
def test_mcnemar_is_the_binomial_test(only_first: int, only_second: int) -> None:
    first = [1] * only_first + [0] * only_second + [1, 1, 0]
    second = [0] * only_first + [1] * only_second + [1, 1, 0]
    found = ours.mcnemar(first, second)
    n = only_first + only_second
    assert (found.only_first, found.only_second, found.n) == (only_first, only_second, n + 3)
    assert found.p == pytest.approx(by_hand(only_first, only_second))
    assert found.p == pytest.approx(stats.binomtest(only_first, n).pvalue)
    assert (found.value, found.difference) == (only_first / n, pytest.approx((only_first - only_second) / (n + 3)))
    assert found.ci95 is not None and (found.p < 0.05) == (not found.ci95[0] <= 0.5 <= found.ci95[1])
    turned = ours.mcnemar(second, first)
    assert (turned.p, turned.difference) == (found.p, -found.difference)


def test_mcnemar_without_a_discordant_question() -> None:
    found = ours.mcnemar(A > 0, A > 0)
    assert (found.p, found.value, found.ci95, found.difference, found.status) == (
        None,
        None,
        None,
        0.0,
        "no_discordant",
    )
    assert ours.mcnemar([], []).status == "no_values"


def test_mcnemar_refuses_shares_and_seeds() -> None:
    for wrong in (A / 2, np.stack([A, A])):
        with pytest.raises(SpectraError, match="one flag"):
            ours.mcnemar(wrong, wrong)


# --- seeds


def test_paired_seeds_is_scipys_t_test_whatever_the_order() -> None:
    first = {0: 0.41, 1: 0.44, 2: 0.39, 3: 0.47}
    second = {3: 0.42, 1: 0.43, 0: 0.37, 2: 0.38}
    found = ours.paired_seeds(first, second)
    expected = stats.ttest_rel([first[s] for s in range(4)], [second[s] for s in range(4)])
    assert (found.t, found.p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert found.ci95 == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.effect == pytest.approx(expected.statistic / 2)
    assert found.effect_ci95 is not None and found.effect_ci95[0] < found.effect < found.effect_ci95[1]
    assert (found.n, found.status, found.left_out) == (4, "ok", ())


def test_seeds_without_a_pair_are_named() -> None:
    found = ours.paired_seeds({0: 0.4, 1: 0.5, 2: None, 4: 0.45}, {0: 0.3, 1: 0.45, 2: 0.2, 3: math.nan, 4: 0.4})
    assert (found.n, found.left_out, found.status) == (3, (2, 3), "seeds_left_out")
    assert "seed 2, seed 3" in found.why and found.p is not None


@pytest.mark.parametrize(
    ("first", "second", "status", "value"),
    [
        ({}, {}, "no_pairs", None),
        ({0: 1.0}, {1: 1.0}, "no_pairs", None),
        ({0: 0.5}, {0: 0.25}, "one_seed", 0.25),
        ({0: 0.5, 1: 0.6}, {0: 0.4, 1: 0.5}, "constant", 0.1),
    ],
)
def test_one_seed_gives_what_it_can(
    first: dict[int, float], second: dict[int, float], status: str, value: float | None
) -> None:
    found = ours.paired_seeds(first, second)
    assert found.value == (None if value is None else pytest.approx(value))
    assert (found.status, found.ci95, found.t, found.p, found.effect, found.effect_ci95) == (status, *[None] * 5)


# --- Holm


def test_holm_by_hand_in_the_order_given() -> None:
    found = ours.holm_over_tasks({"c": 0.01, "a": 0.04, "x": None, "b": 0.03, "d": 0.005, "y": math.nan})
    assert list(found.adjusted) == ["c", "a", "x", "b", "d", "y"]
    assert [found.adjusted[t] for t in "cabd"] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (found.adjusted["x"], found.adjusted["y"], found.left_out, found.n) == (None, None, ("x", "y"), 4)
    assert "x, y" in found.why and found.method == "Holm over 4 tasks"


def test_holm_controls_the_family_also_of_dependent_tests() -> None:
    """10 true nulls, z-scores correlated by 0.5: the least adjusted p is under 0.05 in at most 5% of families."""
    rng = np.random.default_rng(0)
    z = math.sqrt(0.5) * (rng.normal(size=(2000, 10)) + rng.normal(size=(2000, 1)))
    p = 2 * stats.norm.sf(np.abs(z))
    wrong = [min(ours.holm_over_tasks(dict(zip("abcdefghij", row, strict=True))).adjusted.values()) < 0.05 for row in p]
    assert 0.01 < np.mean(wrong) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_holm_of_nothing_and_of_nonsense() -> None:
    assert ours.holm_over_tasks({}).status == "no_p_values"
    assert ours.holm_over_tasks({"a": None}).adjusted == {"a": None}
    with pytest.raises(SpectraError, match="from 0 to 1"):
        ours.holm_over_tasks({"a": 1.2})


# --- correlation

X = {"w0": 3.31, "w1": 3.28, "w2": 3.22, "w3": 3.22, "w4": 3.40, "w5": 3.9}
Y = {"w5": 0.1, "w4": 0.31, "w3": 0.33, "w2": 0.35, "w1": 0.30, "w0": 0.30}


@pytest.mark.parametrize(
    ("mine", "scipys"),
    [(ours.pearson, stats.pearsonr), (ours.spearman, stats.spearmanr), (ours.kendall, stats.kendalltau)],
)
def test_correlations_with_ties_and_each_point_left_out(mine, scipys) -> None:  # type: ignore[no-untyped-def]
    found = mine(X, Y)
    x, y = list(X.values()), [Y[name] for name in X]
    assert found.value == pytest.approx(scipys(x, y).statistic)
    for i, name in enumerate(X):
        expected = scipys(x[:i] + x[i + 1 :], y[:i] + y[i + 1 :]).statistic
        assert found.without[name] == pytest.approx(expected)
    known = list(found.without.values())
    assert found.loo_range == (min(known), max(known))
    most = max(X, key=lambda name: abs(found.without[name] - found.value))
    assert found.moved_most_by[0] == most
    assert (found.n, found.status) == (6, "ok")


def test_the_outlier_moves_pearson_most() -> None:
    assert ours.pearson(X, Y).moved_most_by == ("w5",)


def test_a_correlation_that_rests_on_one_point() -> None:
    found = ours.pearson({"a": 1.0, "b": 1.0, "c": 1.0, "d": 2.0}, {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4})
    assert (found.status, found.moved_most_by, found.without["d"]) == ("rests_on_one_point", ("d",), None)
    assert found.loo_range is not None and found.value is not None


def test_points_that_move_it_alike_are_all_named() -> None:
    found = ours.pearson({"a": -1, "b": -0.5, "c": 0.5, "d": 1}, {"a": -1, "b": 0.5, "c": -0.5, "d": 1})
    assert set(found.moved_most_by) == {"a", "d"}


@pytest.mark.parametrize("mine", [ours.pearson, ours.spearman, ours.kendall])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
def test_few_points_and_constant_ones(mine, n: int) -> None:  # type: ignore[no-untyped-def]
    names = "abcd"[:n]
    x = dict(zip(names, [1.0, 2.0, 4.0, 3.0], strict=False))
    found = mine(x, dict.fromkeys(names, 0.1 * 3))
    assert (found.value, found.loo_range) == (None, None)
    assert found.status == ("too_few_points" if n < 3 else "constant")
    found = mine(x, x)
    assert found.value == (pytest.approx(1.0) if n >= 3 else None)
    assert found.status == {3: "no_leave_one_out", 4: "ok"}.get(n, "too_few_points")
    assert (found.loo_range is not None) == (n == 4)


def test_points_without_both_numbers_are_named_and_huge_ones_stay_finite() -> None:
    found = ours.pearson(
        {"a": 1e200, "b": 2e200, "c": -1e200, "x": None, "d": 4e200}, {**Y, "a": 1, "b": 2, "c": 3, "d": 9}
    )
    assert (found.n, found.status) == (4, "points_left_out")
    assert found.left_out == ("x", *Y)
    assert found.value is not None and -1 <= found.value <= 1


# --- over tasks


def test_mean_over_tasks_weighs_tasks_alike() -> None:
    found = ours.mean_over_tasks({"big": np.r_[np.ones(300), np.zeros(100)], "small": [[0.0, 1.0], [0.0, 0.0]]})
    assert found.by_task == {"big": 0.75, "small": 0.25}
    assert (found.value, found.n, found.status) == (0.5, 402, "ok")


def test_spread_over_tasks_is_the_closed_form() -> None:
    """Tasks are resampled apart: the variance of the mean is the sum of p (1 - p) / Q over T^2; the interval is about normal."""
    found = ours.mean_over_tasks({"a": np.r_[np.ones(300), np.zeros(100)], "b": np.r_[np.ones(200), np.zeros(200)]})
    half = 1.96 * math.sqrt((0.75 * 0.25 + 0.25) / 400) / 2
    assert found.ci95 == (pytest.approx(0.625 - half, abs=0.004), pytest.approx(0.625 + half, abs=0.004))


def test_difference_over_tasks_pairs_questions() -> None:
    found = ours.difference_over_tasks({"t": A, "only": A}, {"t": B, "other": B}, seed=2)
    alone = ours.paired_bootstrap(A, B, seed=2)
    assert (found.value, found.ci95) == (pytest.approx(alone.value), pytest.approx(alone.ci95))
    assert (found.left_out, found.status) == (("only", "other"), "tasks_left_out")
    with pytest.raises(SpectraError, match="questions of t"):
        ours.difference_over_tasks({"t": A}, {"t": B[1:]})


def test_constant_tasks_are_said() -> None:
    found = ours.mean_over_tasks({"t": A, "none": np.zeros(30)})
    assert found.status == "constant_tasks" and "none" in found.why and found.ci95 is not None
    found = ours.mean_over_tasks({"none": np.zeros(30), "all": np.ones(3)})
    assert (found.value, found.ci95, found.status) == (0.5, None, "constant")
    found = ours.mean_over_tasks({"t": [], "nan": [math.nan, 1.0]})
    assert (found.value, found.status, found.left_out) == (None, "no_values", ("t", "nan"))


def test_tradeoff_by_hand() -> None:
    before = {"piqa": [1, 1, 0, 0], "arc": [1, 0]}
    after = {
        "math": {"piqa": [1, 0, 0, 0], "arc": [1, 1]},
        "med": {"piqa": [0, 0, 0, 0], "arc": [1, 1], "extra": [1]},
    }
    found = ours.tradeoff(before, after, {"math": [1, 0, 0, 0], "med": [[1, 1], [1, 0]]})
    assert found.stability.by_task == {"piqa": pytest.approx(0.125 - 0.5), "arc": 0.5}
    assert found.stability.value == pytest.approx(0.0625)
    assert found.upstream.by_task == {"piqa": 0.125, "arc": 1.0}
    assert found.plasticity.value == pytest.approx((0.25 + 0.75) / 2)
    assert found.n == 2 and found.stability.left_out == ("extra",)
    assert found.status == "tasks_left_out" and "Stability" in found.why and "extra" in found.why


def test_tradeoff_of_nothing() -> None:
    found = ours.tradeoff({}, {}, {})
    assert (found.stability.value, found.plasticity.value, found.status) == (None, None, "no_values")


def test_tradeoff_over_seeds_pairs_them() -> None:
    """What the seeds differ in before fine-tuning is no luck of the change: it goes out of the interval."""
    before = {"piqa": np.array([[1, 0, 0, 0] * 8, [1, 1, 1, 0] * 8])}
    after = {"math": {"piqa": np.array([[1, 1, 0, 0] * 8, [1, 1, 1, 1] * 8])}}
    found = ours.tradeoff(before, after, {"math": before["piqa"]}, seeds=True)
    assert found.stability.value == 0.25 and found.plasticity.value == 0.5
    assert found.stability.ci95 is not None and found.stability.ci95[1] - found.stability.ci95[0] < 0.5
    assert (
        found.plasticity.ci95 is not None and found.plasticity.ci95[1] - found.plasticity.ci95[0] > 5
    )  # t of two seeds
    assert "2 seeds" in found.plasticity.method and "2 seeds" in found.stability.method
    alone = ours.tradeoff(
        {"piqa": before["piqa"][0]}, {"math": {"piqa": after["math"]["piqa"][0]}}, {"math": A}, seeds=True
    )
    assert "one seed: bootstrap over questions" in alone.plasticity.method


def test_a_shared_difference_is_over_the_seeds_that_both_have() -> None:
    """Seed 3, which only one has, is much the best: over it the sign would be the other."""
    easy = np.array([1.0] * 30 + [0.0] * 10)
    first = {"t": {1: easy * 0.5, 2: easy * 0.6, 3: easy + 5}}
    second = {"t": {1: easy * 0.7, 2: easy * 0.9}}
    found = ours.shared_difference(first, second)
    assert found.value == pytest.approx(-0.25 * 0.75) and found.shared == (1, 2) and found.seeds == (2, 2)
    assert found.status == "seeds_left_out" and "3" in found.why and "2 seeds" in found.method
    one = ours.shared_difference(first, {"t": {2: easy * 0.9}})
    assert one.value == pytest.approx(-0.3 * 0.75) and "one seed: over questions alone" in one.method
    assert one.ci95 == ours.paired_bootstrap(easy * 0.6, easy * 0.9).ci95
    none = ours.shared_difference(first, {"t": {7: easy}})
    assert (none.status, none.ci95, none.shared) == ("no_shared_seeds", None, ()) and none.value is not None
    two = ours.shared_difference({**first, "u": {1: easy, 2: easy}}, {**second, "u": {2: easy * 0.5}})
    assert two.by_task == {"t": pytest.approx(-0.3 * 0.75), "u": pytest.approx(0.5 * 0.75)} and two.shared == (2,)
    same = {"t": {1: np.ones(9), 2: np.ones(9)}}
    equal = ours.shared_difference(same, same)
    assert equal.ci95 is not None and "exact" in equal.method  # flags that never differ


def test_no_result_holds_a_nan() -> None:
    bad = [math.nan, 1.0, 0.0]
    results = [
        ours.paired_bootstrap(bad, bad),
        ours.paired_seeds({0: math.inf, 1: 2.0}, {0: 1.0, 1: 1.0}),
        ours.pearson({"a": math.nan, "b": 1.0}, {"a": 1.0, "b": math.inf}),
        ours.tradeoff({"t": bad}, {"m": {"t": bad}}, {"t": bad}),
        ours.holm_over_tasks({"a": math.nan}),
    ]
    for found in results:
        assert found.status != "ok" and found.why
        assert all(math.isfinite(x) for x in numbers(asdict(found)))
