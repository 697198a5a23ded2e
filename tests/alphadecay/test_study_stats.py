"""Statistics of studies against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from alphadecay.study_stats import holm, paired, summary
from spectra.errors import SpectraError

A = [1.0512, 1.0478, 1.0533, 1.0490, 1.0561]
B = [1.0541, 1.0489, 1.0570, 1.0488, 1.0602]


def test_summary_is_the_t_interval() -> None:
    found = summary(A)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(A), scale=stats.sem(A))
    assert (found.n, found.mean) == (5, pytest.approx(np.mean(A)))
    assert found.sd == pytest.approx(np.std(A, ddof=1))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_value_has_no_interval() -> None:
    found = summary([2.0])
    assert (found.n, found.mean, found.sd, found.low, found.high) == (1, 2.0, None, None, None)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_summary_refuses(values: list[float]) -> None:
    with pytest.raises(SpectraError, match="all finite"):
        summary(values)


def test_paired_is_scipys_dependent_t_test() -> None:
    found, expected = paired(A, B), stats.ttest_rel(A, B)
    assert found.status == "ok"
    assert found.t == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_effect_is_t_over_root_n_and_its_interval_inverts_the_noncentral_t() -> None:
    found = paired(A, B)
    assert found.t is not None and found.effect is not None
    assert found.effect == pytest.approx(found.t / math.sqrt(5))
    assert found.effect_low is not None and found.effect_high is not None
    assert found.effect_low < found.effect < found.effect_high
    assert stats.nct.sf(found.t, 4, found.effect_low * math.sqrt(5)) == pytest.approx(0.025, abs=1e-7)
    assert stats.nct.cdf(found.t, 4, found.effect_high * math.sqrt(5)) == pytest.approx(0.025, abs=1e-7)


def test_effect_interval_at_t_zero_is_symmetric_and_closed_form() -> None:
    """P(T <= 0 | nc) = Phi(-nc): the limits are -/+1.96 / sqrt(n)."""
    found = paired([1.0, -1.0, 2.0, -2.0], [0.0, 0.0, 0.0, 0.0])
    half = stats.norm.ppf(0.975) / 2
    assert found.t == 0.0
    assert (found.effect_low, found.effect_high) == (pytest.approx(-half, abs=1e-6), pytest.approx(half, abs=1e-6))


def test_effect_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth, inside = 0.8, 0
    for _ in range(400):
        found = paired(list(rng.normal(truth, 1.0, 5)), [0.0] * 5)
        assert found.effect_low is not None and found.effect_high is not None
        inside += found.effect_low <= truth <= found.effect_high
    assert 0.92 <= inside / 400 <= 0.98


def test_signs_turn_with_the_order() -> None:
    there, back = paired(A, B), paired(B, A)
    assert there.p == pytest.approx(back.p)
    assert there.effect_low is not None and back.effect_high is not None
    assert there.effect_low == pytest.approx(-back.effect_high)


def test_equal_differences_and_single_pairs_have_no_test() -> None:
    assert paired([1.0, 2.0, 3.0], [0.5, 1.5, 2.5]).status == "constant"
    assert paired([1.0], [2.0]).status == "too_few_pairs"
    assert paired([1.0], [2.0]).p is None


def test_lengths_must_agree() -> None:
    with pytest.raises(SpectraError, match="expected pairs"):
        paired([1.0], [1.0, 2.0])


def test_holm_by_hand() -> None:
    """Holm 1979: sorted p times m, m - 1, ..., never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, None, 0.5]) == [1.0, None, 1.0]
    assert holm([]) == []
