"""Analysis -> what the page's scripts draw from: plain lists, short keys, rounded.

A row: n name, t tensor, y layer, r role, k stack, o module, e expert, a rows, b cols, M eigenvalues, d dtype, s status;
v values in the order of `columns`; z [mean, sd, difference, z] in the order of `nulls`; h [low, high, counts, zeros] of
log10 eigenvalues; c [ranks, eigenvalues, Hill alphas].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from spectra import metrics, profiles
from spectra.metrics import Metric
from spectra.report.text import rounded
from spectra.types import ROLES, Analysis, CircuitRow, Histogram, MatrixRow, NullValue, TailCurve

VALUE_DIGITS = 9  # of the values: what the page's CSV has; analysis.json has them exactly
NULL_DIGITS = 6
CURVE_DIGITS = 5
MANY_ROWS = 1000  # from here on curves are thinned, so that thousands of experts stay a page that opens
THIN_POINTS = 32


def payload(analysis: Analysis) -> dict[str, Any]:
    """Everything the scripts of the page need, ready for `text.embed_json`."""
    columns = present_columns(analysis)
    nulls = [m.name for m in metrics.MATRIX_METRICS if any(m.name in row.null for row in analysis.matrices)]
    thin = len(analysis.matrices) > MANY_ROWS
    found = {row.ref.role for row in analysis.matrices}
    return {
        "pooled": _fits_are_pooled(analysis),
        "source": str(analysis.provenance.get("source", "")),
        "columns": [describe(metric) for metric in columns],
        "nulls": nulls,
        "roles": [role for role in ROLES if role in found],
        "stacks": distinct(row.ref.stack for row in analysis.matrices),
        "rows": [_row(row, [m.name for m in columns], nulls, thin) for row in analysis.matrices],
        "circuit_columns": [describe(metric) for metric in metrics.CIRCUIT_METRICS],
        "circuit_stacks": distinct(row.stack for row in analysis.circuits),
        "circuits": [_circuit(row) for row in analysis.circuits],
    }


def present_columns(analysis: Analysis) -> list[Metric]:
    """Metrics that this analysis has: of a fit that was not asked for nothing is shown."""
    known = tuple(metrics.BY_NAME.values())
    rows = analysis.matrices
    silent = {
        metric.name.removesuffix("_status")
        for metric in known
        if metric.name.endswith("_status") and all(row.values.get(metric.name) == "not_requested" for row in rows)
    }
    return [
        metric
        for metric in known
        if any(metric.name in row.values for row in rows)
        and not any(metric.name == fit or metric.name.startswith(f"{fit}_") for fit in silent)
    ]


def _fits_are_pooled(analysis: Analysis) -> bool:
    """Whether the fits are of other eigenvalues than the matrix' own (profile farms): they cannot be drawn over its ESD."""
    name = analysis.provenance.get("options", {}).get("profile", "default")
    return name in profiles.PROFILES and profiles.PROFILES[name].pool is not None


def describe(metric: Metric) -> dict[str, Any]:
    """A column as the scripts know it."""
    return {"name": metric.name, "title": metric.title, "unit": metric.unit, "kind": metric.kind}


def distinct(values: Iterable[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(values))


def _null(value: NullValue | None) -> list[float | None] | None:
    if value is None:
        return None
    return [rounded(v, NULL_DIGITS) for v in (value.mean, value.sd, value.difference, value.z)]


def _row(row: MatrixRow, columns: Sequence[str], nulls: Sequence[str], thin: bool) -> dict[str, Any]:
    ref = row.ref
    return {
        "n": ref.name, "t": ref.tensor, "y": ref.layer, "r": ref.role, "k": ref.stack, "o": ref.module, "e": ref.expert,
        "a": ref.rows, "b": ref.cols, "M": row.n_eigenvalues, "d": ref.dtype, "s": row.status,
        "v": [rounded(row.values.get(name), VALUE_DIGITS) for name in columns],
        "z": [_null(row.null.get(name)) for name in nulls] if row.null else None,
        "h": _histogram(row.esd),
        "c": _curve(row.tail, thin),
    }  # fmt: skip


def _histogram(esd: Histogram | None) -> list[Any] | None:
    if esd is None or len(esd.edges) < 2:
        return None
    return [rounded(esd.edges[0], VALUE_DIGITS), rounded(esd.edges[-1], VALUE_DIGITS), list(esd.counts), esd.zeros]


def _curve(tail: TailCurve | None, thin: bool) -> list[Any] | None:
    if tail is None:
        return None
    kept = range(len(tail.ranks))
    if thin and len(kept) > THIN_POINTS:
        step = (len(kept) - 1) / (THIN_POINTS - 1)
        kept = sorted({round(i * step) for i in range(THIN_POINTS)})  # type: ignore[assignment]
    return [
        [tail.ranks[i] for i in kept],
        [rounded(tail.eigenvalues[i], CURVE_DIGITS) for i in kept],
        [rounded(tail.hill_alphas[i], CURVE_DIGITS) for i in kept],
    ]


def _circuit(row: CircuitRow) -> dict[str, Any]:
    names = [metric.name for metric in metrics.CIRCUIT_METRICS]
    return {
        "o": row.module, "y": row.layer, "k": row.stack, "h": row.head, "g": row.kv_head, "q": row.kind,
        "w": row.convention, "s": row.status,
        "v": [rounded(row.values.get(name), NULL_DIGITS) for name in names],
        "z": [_null(row.null.get(name)) for name in names] if row.null else None,
    }  # fmt: skip
