"""How often the intervals hold what they should, by simulation; tolerance: three standard errors of the simulation."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from scipy import stats

from plasticity import stats as ours
from plasticity.stats_grid import align, contrasts

RUNS = pytest.mark.parametrize(
    "runs", [pytest.param(120, id="few"), pytest.param(2000, id="many", marks=pytest.mark.slow)]
)
DRAWS = 300

Interval = tuple[float, float] | None


def check(found: Iterable[tuple[Interval, float]], low: float, high: float, *, errors: float = 3) -> float:
    """The share of intervals that hold their truth is in [low, high], within so many standard errors of the simulation.

    Where intervals hold more than they promise, one error will do: three of 120 runs would let 87% pass for 94%.
    """
    held = [ci95 is not None and ci95[0] - 1e-12 <= truth <= ci95[1] + 1e-12 for ci95, truth in found]
    share = float(np.mean(held))

    def error(p: float) -> float:
        return errors * math.sqrt(p * (1 - p) / len(held))

    assert low - error(low) <= share <= high + error(high), share
    return share


@pytest.mark.parametrize("n", [5, 40])
def test_exact_proportion_covers_at_every_p(n: int) -> None:
    """Not simulated: the binomial distribution is summed over the counts whose interval holds p."""
    intervals = [ours.proportion_interval(k, n).ci95 for k in range(n + 1)]
    for p in np.linspace(0.001, 0.999, 200):
        held = [k for k, ci in enumerate(intervals) if ci is not None and ci[0] <= p <= ci[1]]
        assert stats.binom.pmf(held, n, p).sum() >= 0.95


def test_mcnemar_is_wrong_at_most_as_often_as_it_says() -> None:
    """Of n discordant questions each is won by a coin's toss: P(p < 0.05), summed."""
    for n in (1, 6, 20, 51):
        p = [ours.mcnemar([1] * k + [0] * (n - k), [0] * k + [1] * (n - k)).p for k in range(n + 1)]
        assert stats.binom.pmf([k for k in range(n + 1) if p[k] < 0.05], n, 0.5).sum() <= 0.05


@RUNS
def test_paired_bootstrap_of_flags(runs: int) -> None:
    rng = np.random.default_rng(0)
    d = rng.choice([1, 0, -1], p=[0.2, 0.68, 0.12], size=(runs, 100))
    check(((ours.paired_bootstrap(x > 0, x < 0, draws=DRAWS, seed=i).ci95, 0.08) for i, x in enumerate(d)), 0.93, 0.96)


@RUNS
def test_paired_bootstrap_of_rare_differences(runs: int) -> None:
    """Half of the samples show no difference at all: their exact interval makes up for it."""
    d = np.random.default_rng(1).random((runs, 60)) < 0.01
    found = [ours.paired_bootstrap(x, np.zeros(60), draws=DRAWS, seed=i) for i, x in enumerate(d)]
    assert 0.4 < np.mean(["exact" in f.method for f in found]) < 0.7
    check(((f.ci95, 0.01) for f in found), 0.95, 1.0)


@RUNS
def test_paired_bootstrap_of_shares_over_seeds(runs: int) -> None:
    """A question's own p is uniform, the second's is 0.9 of it; 3 seeds, shares of 16 samples: the mean differs by 0.05."""
    rng = np.random.default_rng(2)
    p = rng.random((runs, 1, 60))
    first, second = rng.binomial(16, p, (runs, 3, 60)) / 16, rng.binomial(16, 0.9 * p, (runs, 3, 60)) / 16
    pairs = enumerate(zip(first, second, strict=True))
    check(((ours.paired_bootstrap(a, b, draws=DRAWS, seed=i).ci95, 0.05) for i, (a, b) in pairs), 0.925, 0.96)


@RUNS
@pytest.mark.parametrize("n", [3, 5])
def test_paired_t_over_seeds(runs: int, n: int) -> None:
    d = np.random.default_rng(n).normal(0.02, 0.03, (runs, n))
    zeros = dict.fromkeys(range(n), 0.0)
    check(((ours.paired_seeds(dict(enumerate(x.tolist())), zeros).ci95, 0.02) for x in d), 0.95, 0.95)


@RUNS
@pytest.mark.parametrize("n_seeds", [2, 3])
@pytest.mark.parametrize("seed_sd", [0.05, 0.2, 1.0])
def test_differences_over_few_seeds(runs: int, n_seeds: int, seed_sd: float) -> None:
    """Two bases that are equal but for the luck of their seeds, which shifts all 40 questions at once, from hardly to above all.

    The percentile bootstrap over seeds that this replaced missed 0 in 7 to 24% of such cases; over questions alone, in up to 90%.
    """
    rng, found = np.random.default_rng([12, n_seeds, int(100 * seed_sd)]), []
    for _ in range(runs):
        rows = rng.normal(0, 1, 40) + rng.normal(0, seed_sd, (n_seeds, 1)) + rng.normal(0, 0.5, (n_seeds, 40))
        other = rng.normal(0, 1, 40) + rng.normal(0, 0.5, (n_seeds, 40))
        base = rng.normal(0, 1, 40)
        first, second = ({"t": dict(enumerate(base + d))} for d in (rows, other))
        found.append((ours.shared_difference(first, second).ci95, 0.0))
    check(found, 0.95, 1.0, errors=1.5)


@RUNS
def test_tradeoff_over_seeds(runs: int) -> None:
    """Three seeds of pretraining whose luck is greater than that of 80 questions."""
    rng = np.random.default_rng(13)
    stability, plasticity = [], []
    for i in range(runs):
        before = {"a": (rng.random((3, 80)) < 0.5).astype(float)}
        luck = rng.normal(0, 0.08, (3, 1))
        after = {"m": {"a": before["a"] - 0.1 + luck + rng.normal(0, 0.2, (3, 80))}}
        downstream = {"m": 0.4 + rng.normal(0, 0.1, (3, 1)) + rng.normal(0, 0.3, 80)}
        found = ours.tradeoff(before, after, downstream, seeds=True, seed=i)
        stability.append((found.stability.ci95, -0.1))
        plasticity.append((found.plasticity.ci95, 0.4))
    check(stability, 0.95, 1.0, errors=1.5)
    check(plasticity, 0.95, 1.0, errors=1.5)


@RUNS
def test_means_and_differences_over_tasks(runs: int) -> None:
    rng = np.random.default_rng(4)
    means, differences = [], []
    for i in range(runs):
        first = {"a": rng.random(60) < 0.3, "b": rng.random(90) < 0.8}
        second = {"a": first["a"] & (rng.random(60) < 0.7), "b": first["b"] & (rng.random(90) < 0.9)}
        means.append((ours.mean_over_tasks(first, draws=DRAWS, seed=i).ci95, 0.55))
        differences.append((ours.difference_over_tasks(first, second, draws=DRAWS, seed=i).ci95, (0.09 + 0.08) / 2))
    check(means, 0.925, 0.96)
    check(differences, 0.925, 0.96)


@RUNS
def test_tradeoff(runs: int) -> None:
    """Two fine-tuned models forget a tenth and a fifth of what the base knew."""
    rng = np.random.default_rng(5)
    stability, plasticity = [], []
    for i in range(runs):
        before = {"a": rng.random(80) < 0.5, "b": rng.random(80) < 0.7}
        after = {str(keep): {t: v & (rng.random(len(v)) < keep) for t, v in before.items()} for keep in (0.9, 0.8)}
        found = ours.tradeoff(before, after, {"c": rng.random(90) < 0.4}, draws=DRAWS, seed=i)
        stability.append((found.stability.ci95, -0.15 * 0.6))
        plasticity.append((found.plasticity.ci95, 0.4))
    check(stability, 0.925, 0.96)
    check(plasticity, 0.92, 0.96)


def cells(
    rng: np.random.Generator, levels: np.ndarray, n_seeds: int, seed_sd: float
) -> dict[str, dict[str, dict[int, np.ndarray]]]:
    """Settings at `levels`; questions differ in difficulty, also by setting; each seed has its luck, each response its noise."""
    k, q = len(levels), 60
    values = levels[:, None, None] + rng.normal(0, 1, q) + rng.normal(0, 0.5, (k, 1, q))
    values = values + rng.normal(0, seed_sd, (k, n_seeds, 1)) + rng.normal(0, 1, (k, n_seeds, q))
    return {f"k{i}": {"t": dict(enumerate(rows))} for i, rows in enumerate(values)}


DESIGNS = pytest.mark.parametrize(
    ("n_seeds", "seed_sd"),
    [
        (1, 0.0),
        (3, 0.15),
        pytest.param(3, 0.0, marks=pytest.mark.slow),
        pytest.param(3, 0.6, marks=pytest.mark.slow),
        pytest.param(5, 0.3, marks=pytest.mark.slow),
    ],
)
LEVELS = pytest.mark.parametrize("levels", [(0.0,) * 5, (0.0, 0.1, 0.2, 0.3, 0.3)], ids=["equal", "rising"])


@RUNS
@LEVELS
@DESIGNS
def test_difference_of_optima_and_regret(
    runs: int, levels: tuple[float, ...], n_seeds: int, seed_sd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss puts k0 first; the best by score is picked by its luck, which the intervals must allow for."""
    monkeypatch.setattr("plasticity.stats_grid._MONTE_CARLO", 2000)
    rng, truth = np.random.default_rng([n_seeds, int(100 * seed_sd)]), np.array(levels)
    loss, cheap = {f"k{k}": {0: float(k)} for k in range(5)}, {f"k{k}": -float(k) for k in range(5)}
    differences, regrets = [], []
    for i in range(runs):
        scores = cells(rng, truth, n_seeds, seed_sd)
        best = ours.optimum(loss, scores, draws=1, seed=i)
        if best.difference.status == "ok":
            differences.append((best.difference.ci95, truth[int(best.best_by_score[0][1])] - truth[0]))
        regrets.append((ours.agreement(cheap, scores, draws=1, seed=i).regret.ci95, truth.max() - truth[0]))
    check(differences, 0.94, 1.0, errors=1)
    check(regrets, 0.94, 1.0, errors=1)


@RUNS
def test_regret_where_one_setting_depends_more_on_luck(runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 seeds, pooled over settings: the one that scatters four times as much keeps its own variance."""
    monkeypatch.setattr("plasticity.stats_grid._MONTE_CARLO", 2000)
    rng, found = np.random.default_rng(11), []
    for i in range(runs):
        scores = cells(rng, np.zeros(5), 3, 0.2)
        scores["k4"]["t"] = {s: row + rng.normal(0, 0.8) for s, row in scores["k4"]["t"].items()}
        regret = ours.agreement({f"k{k}": -float(k) for k in range(5)}, scores, draws=1, seed=i).regret
        found.append((regret.ci95, 0.0))
    check(found, 0.94, 1.0, errors=1)


@RUNS
@pytest.mark.parametrize("n_seeds", [2, 3])
def test_limits_where_the_control_depends_more_on_luck(
    runs: int, n_seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in every contrast: 5 to 10% of the families have one wrong; pooled over settings alone it would be 7 to 20%."""
    monkeypatch.setattr("plasticity.stats_grid._MONTE_CARLO", 2000)
    rng, found = np.random.default_rng(17), []
    for i in range(runs):
        scores = cells(rng, np.zeros(5), n_seeds, 0.2)
        scores["k0"]["t"] = {s: row + rng.normal(0, 0.8) for s, row in scores["k0"]["t"].items()}
        limits = contrasts(align(scores), 0, seed=i)
        assert limits.low is not None and limits.high is not None
        found.append(((float(limits.low.max()), float(limits.high.min())), 0.0))  # all of them hold 0
    check(found, 0.89, 1.0, errors=1)


@RUNS
def test_an_interval_that_forgets_the_choice_would_not_hold(runs: int) -> None:
    """Why the difference is not an ordinary paired interval: picked as the best of ten equals, it would miss 0 far too often."""
    rng, missed = np.random.default_rng(8), 0
    for _ in range(runs):
        scores = cells(rng, np.zeros(10), 1, 0.0)
        best = max(list(scores)[1:], key=lambda name: scores[name]["t"][0].mean())
        found = contrasts(align({"k0": scores["k0"], best: scores[best]}), 0)
        assert found.low is not None
        missed += bool(found.low[1] > 0)
    assert missed / runs > 0.1


@RUNS
@DESIGNS
def test_certainty_of_the_optimum_where_two_settings_are_equal(runs: int, n_seeds: int, seed_sd: float) -> None:
    """The share is 1/2 on average, and near 0 or 1 (0.025) in no more than about 5% of cases: it is no surer than it may be."""
    rng = np.random.default_rng([9, n_seeds, int(100 * seed_sd)])
    loss = {"k0": {0: 1.0}, "k1": {0: 2.0}}
    found = [ours.optimum(loss, cells(rng, np.zeros(2), n_seeds, seed_sd), draws=DRAWS, seed=i) for i in range(runs)]
    shares = np.array([f.wins_by_score["k0"] for f in found])
    assert shares.mean() == pytest.approx(0.5, abs=3 * 0.29 / math.sqrt(runs))
    assert np.mean([f.differ for f in found]) == pytest.approx(1 - shares.mean())
    sure = np.mean((shares < 0.025) | (shares > 0.975))
    most = 0.06 if n_seeds != 3 else 0.16  # three seeds do not tell their own spread: docs/methods says so
    assert sure <= most + 3 * math.sqrt(most * (1 - most) / runs), sure


@RUNS
def test_certainty_of_the_optimum_grows_with_the_difference(runs: int) -> None:
    rng = np.random.default_rng(10)
    loss = {"k0": {0: 1.0}, "k1": {0: 2.0}}
    shares = [
        np.mean(
            [
                ours.optimum(loss, cells(rng, np.array([0.0, gap]), 1, 0.0), draws=100, seed=i).wins_by_score["k1"]
                for i in range(runs // 2)
            ]
        )
        for gap in (0.0, 0.2, 0.5, 2.0)
    ]
    assert shares == sorted(shares) and shares[-1] > 0.995
