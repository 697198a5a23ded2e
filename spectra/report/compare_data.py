"""Comparison -> what the page's scripts draw from: plain lists, short keys, rounded.

A row: n name in A, m name in B where it differs, t tensor, y layer, r role, k stack, o module, e expert, a rows, b cols,
d and f dtypes of A and B, s status of the update; v values in the order of `columns` (differences B - A, then numbers of the
update), p and q the values of A and B in the order of the differences.
"""

from __future__ import annotations

from typing import Any

from spectra import metrics
from spectra.compare import COMPARED, Comparison, Pair
from spectra.metrics import Metric
from spectra.report.analysis_data import VALUE_DIGITS, describe, distinct
from spectra.report.text import rounded
from spectra.types import ROLES

NO_UPDATE = "no update"  # status of a pair of analyses: their matrices were not at hand
_OF_UPDATE = (
    "alpha_hill",
    "alpha_gof",
    "frobenius_norm",
    "spectral_norm",
    "nuclear_norm",
    "stable_rank",
    "effective_rank",
)


def payload(comparison: Comparison) -> dict[str, Any]:
    """Everything the scripts of the page need, ready for `text.embed_json`."""
    updates = any(pair.update is not None for pair in comparison.pairs)
    found = {pair.a.role for pair in comparison.pairs}
    columns = [describe(metric) | {"both": True} for metric in compared_columns()]
    if updates:
        columns += [describe(metric) | {"both": False} for metric in metrics.UPDATE_METRICS]
        columns += [_of_update(name) for name in _OF_UPDATE]
    return {
        "columns": columns,
        "roles": [role for role in ROLES if role in found],
        "stacks": distinct(pair.a.stack for pair in comparison.pairs),
        "rows": [_row(pair, updates) for pair in comparison.pairs],
    }


def compared_columns() -> list[Metric]:
    """The columns whose differences are given, as metrics."""
    return [metrics.BY_NAME[name] for name in COMPARED]


def _of_update(name: str) -> dict[str, Any]:
    metric = metrics.BY_NAME[name]
    made = describe(metric)
    return made | {"name": f"update_{name}", "title": f"{metric.title} of the update", "both": False}


def _row(pair: Pair, updates: bool) -> dict[str, Any]:
    ref, update = pair.a, pair.update
    values: list[Any] = [pair.differences.get(name) for name in COMPARED]
    if update is not None:
        values += [update.rank, update.rank_share, update.relative_norm, update.overlap]
        values += [update.values.get(name) for name in _OF_UPDATE]
    elif updates:
        values += [None] * (len(metrics.UPDATE_METRICS) + len(_OF_UPDATE))
    return {
        "n": ref.name, "m": pair.b.name if pair.b.name != ref.name else None, "t": ref.tensor, "y": ref.layer, "r": ref.role,
        "k": ref.stack, "o": ref.module, "e": ref.expert, "a": ref.rows, "b": ref.cols, "d": ref.dtype, "f": pair.b.dtype,
        "s": update.status if update is not None else NO_UPDATE,
        "v": [rounded(value, VALUE_DIGITS) for value in values],
        "p": [rounded(pair.values_a.get(name), VALUE_DIGITS) for name in COMPARED],
        "q": [rounded(pair.values_b.get(name), VALUE_DIGITS) for name in COMPARED],
    }  # fmt: skip
