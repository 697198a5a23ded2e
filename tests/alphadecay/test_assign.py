"""Scores -> decays against formulas written again, and their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphadecay.assign import ASSIGNMENTS, AssignOptions, assign
from spectra.errors import SpectraError

from . import reference

SCORES = {f"m{i}": float(x) for i, x in enumerate(np.random.default_rng(0).uniform(1.5, 6.0, 14))}
LAYERS = {name: i // 7 for i, name in enumerate(SCORES)}
EXPECTED = {
    "linear": lambda: reference.linear(SCORES, 0.1, 0.67, 5.0),
    "sqrt": lambda: reference.over_mean(math.sqrt)(SCORES, 0.1),
    "log2": lambda: reference.over_mean(math.log2)(SCORES, 0.1),
    "sigmoid": lambda: reference.sigmoid(SCORES, 0.1, LAYERS),
}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_formulas(name: str) -> None:
    found = assign(SCORES, LAYERS, 0.1, AssignOptions(assignment=name, ratio=(0.67, 5.0)))  # type: ignore[arg-type]
    assert found == pytest.approx(EXPECTED[name](), rel=1e-13)


def test_linear_ends_are_the_ratio() -> None:
    found = assign(SCORES, LAYERS, 0.1, AssignOptions(ratio=(0.5, 3.0)))
    assert min(found.values()) == pytest.approx(0.05) and max(found.values()) == pytest.approx(0.3)
    lowest = min(SCORES, key=SCORES.__getitem__)
    assert found[lowest] == min(found.values())  # the heaviest tail decays least


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_equal_scores_keep_the_base(name: str) -> None:
    found = assign(dict.fromkeys(SCORES, 2.5), LAYERS, 0.1, AssignOptions(assignment=name))  # type: ignore[arg-type]
    assert found == pytest.approx(dict.fromkeys(SCORES, 0.1))


def test_no_scores() -> None:
    assert assign({}, {}, 0.1, AssignOptions()) == {}


def test_formulas_without_a_value_leave_a_module_out() -> None:
    """A logarithm of scores on both sides of 1 gives decays of both signs: a negative one is none."""
    found = assign({"a": 0.5, "b": 8.0, "c": 0.0}, {"a": 0, "b": 0, "c": 0}, 1.0, AssignOptions(assignment="log2"))
    assert set(found) == {"b"}
    found = assign({"a": -1.0, "b": 4.0}, {"a": 0, "b": 0}, 1.0, AssignOptions(assignment="sqrt"))
    assert found == {"b": 1.0}  # and has no part in the mean of the others


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9), st.floats(0, 10))
def test_linear_stays_in_its_range(values: list[float], base: float) -> None:
    scores = {str(i): v for i, v in enumerate(values)}
    found = assign(scores, dict.fromkeys(scores, 0), base, AssignOptions(ratio=(0.67, 5.0)))
    for value in found.values():
        assert 0.67 * base * (1 - 1e-12) <= value <= 5.0 * base * (1 + 1e-12)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"assignment": "cubic"}, "Unknown assignment 'cubic'"),
        ({"ratio": (3.0, 1.0)}, "0 <= s1 <= s2"),
        ({"ratio": (-1.0, 1.0)}, "0 <= s1 <= s2"),
        ({"ratio": (0.0, math.inf)}, "0 <= s1 <= s2"),
        ({"steepness": 0.0}, "above 0"),
    ],
)
def test_refused(given_: dict[str, object], said: str) -> None:
    with pytest.raises(SpectraError, match=said):
        AssignOptions(**given_)  # type: ignore[arg-type]
