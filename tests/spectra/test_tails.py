"""Power-law fits: known exponents, slow obvious references, statuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spectra.tails import fix_finger, goodness_of_fit, hill, tail_curve

SEEDS = 200


def pareto(alpha: float, n: int, seed: int) -> np.ndarray:
    """Sorted draws from p(x) ~ x^-alpha, x >= 1."""
    return np.sort((1.0 - np.random.default_rng(seed).random(n)) ** (-1.0 / (alpha - 1.0)))


def slow_gof(x: np.ndarray, two_sided: bool = False, min_tail: int = 2, window=(0.0, np.inf)):
    """docs/methods.md, written down candidate by candidate."""
    best = (np.inf, np.nan, 0.0, 0)
    for i in range(x.size - 1):
        tail = x[x >= x[i]]
        m = tail.size
        if m < min_tail or (i and x[i] == x[i - 1]) or x[i] == x[-1] or not window[0] <= x[i] <= window[1]:
            continue
        alpha = 1 + m / np.sum(np.log(tail / x[i]))
        model = 1 - (tail / x[i]) ** (1 - alpha)
        D = np.max(np.abs(model - np.arange(m) / m))
        if two_sided:
            D = max(D, np.max(np.abs(model - np.arange(1, m + 1) / m)))
        if best[0] > D:
            best = (D, alpha, x[i], m)
    return best


@pytest.mark.parametrize("alpha", [1.8, 2.5, 4.0])
def test_hill_has_its_stated_bias_and_error(alpha: float) -> None:
    fits = [hill(pareto(alpha, 1000, seed)) for seed in range(SEEDS)]
    k = 500
    estimates = np.array([f.alpha for f in fits])
    stated = (alpha - 1) / np.sqrt(k)
    expected = 1 + (alpha - 1) * k / (k - 1)
    assert abs(estimates.mean() - expected) < 4 * stated / np.sqrt(SEEDS)
    assert estimates.std() == pytest.approx(stated, rel=0.2)
    assert np.mean([f.stderr for f in fits]) == pytest.approx(stated, rel=0.02)
    assert all(f.tail_size == k and f.status == "ok" for f in fits)


@pytest.mark.parametrize("alpha", [1.8, 2.5, 4.0])
def test_goodness_of_fit_is_within_its_stated_error(alpha: float) -> None:
    """On a pure Pareto every xmin is right; choosing the least D costs some spread beyond the stated error of its tail."""
    fits = [goodness_of_fit(pareto(alpha, 1000, seed)) for seed in range(SEEDS)]
    z = np.array([(f.alpha - alpha) / f.stderr for f in fits])
    assert abs(np.median(z)) < 0.35
    assert np.mean(np.abs(z) < 2) > 0.85
    assert np.mean(np.abs(z) < 3) > 0.95


@pytest.mark.parametrize("alpha", [1.8, 2.5, 4.0])
def test_fix_finger_is_within_its_stated_error(alpha: float) -> None:
    """The peak of a Pareto's log-histogram is at its left end, so nearly everything is tail."""
    fits = [fix_finger(pareto(alpha, 1000, seed)) for seed in range(SEEDS)]
    z = np.array([(f.alpha - alpha) / f.stderr for f in fits if f.status == "ok"])
    assert len(z) == SEEDS
    assert abs(np.median(z)) < 0.35
    assert np.mean(np.abs(z) < 3) > 0.95


def test_goodness_of_fit_finds_where_the_tail_begins() -> None:
    """A lognormal body below 5, a Pareto tail above."""
    found = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        body = rng.lognormal(0.0, 0.5, 3000)
        x = np.sort(np.concatenate([body[body < 5], 5 * pareto(3.0, 800, seed)]))
        found.append(goodness_of_fit(x))
    assert np.median([f.xmin for f in found]) == pytest.approx(5, rel=0.1)
    assert np.median([f.alpha for f in found]) == pytest.approx(3, rel=0.05)


def test_fingers_drag_goodness_of_fit_but_not_fix_finger() -> None:
    """A bulk that is no power law, and above it 60 large eigenvalues that are one."""
    for seed in range(10):
        body = 1.0 + np.random.default_rng(seed).random(400)
        x = np.sort(np.concatenate([body, 100 * pareto(2.0, 60, seed)]))
        counts, edges = np.histogram(np.log10(x), bins=100)
        c = 10 ** edges[np.argmax(counts)]
        assert goodness_of_fit(x).xmin >= 100
        assert 0.95 * c <= fix_finger(x).xmin <= 1.5 * c < 3
        assert fix_finger(x).tail_size > 60


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_pruned_search_equals_the_slow_one(seed: int, two_sided: bool) -> None:
    rng = np.random.default_rng(seed)
    kinds = [
        pareto(2.5, 150, seed),
        np.sort(np.linalg.svd(rng.standard_normal((90, 140)), compute_uv=False) ** 2),
        np.sort(np.concatenate([rng.random(100), pareto(2.0, 60, seed) * 2])),
        np.sort(np.repeat(pareto(2.2, 40, seed), rng.integers(1, 5, 40))),  # ties
    ]
    for x in kinds:
        fast, slow = goodness_of_fit(x, two_sided=two_sided), slow_gof(x, two_sided)
        assert fast.ks == pytest.approx(slow[0], rel=1e-9)
        assert fast.alpha == pytest.approx(slow[1], rel=1e-9)
        assert fast.xmin == slow[2]
        assert fast.tail_size == slow[3]


@pytest.mark.parametrize("seed", range(6))
def test_fix_finger_equals_the_slow_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(np.linalg.svd(rng.standard_normal((120, 200)), compute_uv=False) ** 2)
    counts, edges = np.histogram(np.log10(x), bins=100)
    c = 10 ** edges[np.argmax(counts)]
    slow = slow_gof(x, window=(0.95 * c, 1.5 * c))
    fast = fix_finger(x)
    assert (fast.alpha, fast.xmin, fast.tail_size) == (pytest.approx(slow[1], rel=1e-9), slow[2], slow[3])


def test_minimum_tail_size() -> None:
    x = pareto(2.5, 300, 0)
    assert goodness_of_fit(x, min_tail=100).tail_size >= 100
    assert goodness_of_fit(x, min_tail=100).alpha == pytest.approx(slow_gof(x, min_tail=100)[1], rel=1e-9)
    assert goodness_of_fit(x, min_tail=301).status == "no_tail"


@pytest.mark.filterwarnings("ignore:Standard error for the MLE:DeprecationWarning")  # powerlaw's own, inside powerlaw
def test_agrees_with_powerlaw() -> None:
    """powerlaw 2 bounds alpha to [0, 3] unless told otherwise (docs/methods.md)."""
    powerlaw = pytest.importorskip("powerlaw")
    for seed, alpha in ((0, 2.5), (1, 4.5)):
        x = pareto(alpha, 400, seed)
        ours = goodness_of_fit(x)
        theirs = powerlaw.Fit(x, parameter_ranges={"alpha": [1, None]}, verbose=False)
        assert ours.alpha == pytest.approx(theirs.power_law.alpha, rel=1e-9)
        assert ours.xmin == pytest.approx(theirs.xmin, rel=1e-12)
        assert ours.ks == pytest.approx(theirs.power_law.D, rel=1e-9)


@pytest.mark.parametrize("fit", [hill, goodness_of_fit, fix_finger])
class TestStatuses:
    """A failure is a status; alpha is NaN then."""

    def check(self, fit, values, status: str) -> None:
        found = fit(np.asarray(values, dtype=float))
        assert found.status == status
        assert np.isnan(found.alpha) and np.isnan(found.stderr)

    def test_too_few(self, fit) -> None:
        self.check(fit, np.arange(1.0, 8.0), "too_few_eigenvalues")

    def test_zeros(self, fit) -> None:
        self.check(fit, np.zeros(50), "degenerate")

    def test_constant(self, fit) -> None:
        self.check(fit, np.full(50, 3.7), "degenerate")

    def test_constant_up_to_rounding(self, fit) -> None:
        self.check(fit, np.sort(3.7 * (1 + 1e-15 * np.arange(50))), "degenerate")

    def test_rank_below_the_tail(self, fit) -> None:
        self.check(fit, np.concatenate([np.zeros(46), [1.0, 2.0, 3.0, 4.0]]), "degenerate")

    def test_non_finite(self, fit) -> None:
        self.check(fit, np.full(50, np.nan), "non_finite")


def test_no_tail_near_the_peak() -> None:
    """All of the window's eigenvalues equal the largest one: no candidate is left."""
    x = np.concatenate([np.full(9, 1.0) * (1 + 1e-3 * np.arange(9)), np.full(60, 100.0)])
    assert fix_finger(np.sort(x)).status == "no_tail"


@settings(max_examples=150, deadline=None)
@given(
    hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats(0, 1e12, allow_nan=False)),
    st.integers(2, 5),
)
def test_any_spectrum_gives_a_fit_or_a_status(values: np.ndarray, min_tail: int) -> None:
    x = np.sort(values)
    for found in (hill(x), goodness_of_fit(x, min_tail=min_tail), fix_finger(x, min_tail=min_tail)):
        assert (found.status == "ok") == np.isfinite(found.alpha)
        if found.status == "ok":
            assert found.alpha > 1 and 0 <= found.ks <= 1 + 1e-9 and found.tail_size >= 2


def test_tail_curve_holds_the_hill_plot() -> None:
    x = pareto(2.5, 301, 0)
    curve = tail_curve(x)
    assert curve is not None
    assert curve.ranks[0] == 1 and curve.ranks[-1] == 301 and list(curve.ranks) == sorted(set(curve.ranks))
    at = dict(zip(curve.ranks, curve.hill_alphas, strict=True))
    assert at[150] == pytest.approx(hill(x).alpha, rel=1e-12)
    for k, value in zip(curve.ranks, curve.eigenvalues, strict=True):
        assert value == np.sort(x)[-k]
        if k < 301:
            top = np.sort(x)[-k:]
            assert at[k] == pytest.approx(1 + k / np.sum(np.log(top / np.sort(x)[-k - 1])), rel=1e-9)
    assert at[301] is None
    assert tail_curve(np.zeros(10)) is None
    deficient = tail_curve(np.concatenate([np.zeros(40), np.ones(3), [2.0]]))
    assert deficient is not None and deficient.ranks[-1] == 4 and deficient.hill_alphas[-1] is None
