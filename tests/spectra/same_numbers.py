"""Two analyses of one model under different names: are they the same matrices with the same numbers?"""

from __future__ import annotations

from typing import Any

import numpy as np

from spectra.options import AnalysisOptions
from spectra.types import Analysis

OPTIONS = AnalysisOptions(workers=1, null=False, null_cache=None, device="cpu")

Place = tuple[str, int | None, str, int | None, int, int]


def rows_by_place(analysis: Analysis) -> dict[Place, list[tuple[float, float]]]:
    """(stack, layer, role, expert, rows, cols) -> (Frobenius norm, Hill alpha) of each matrix there, in order."""
    found: dict[Place, list[tuple[float, float]]] = {}
    for row in analysis.matrices:
        ref = row.ref
        norm, alpha = row.values["frobenius_norm"], row.values["alpha_hill"]
        numbers = (float(norm or 0.0), float("nan") if alpha is None else float(alpha))
        found.setdefault((ref.stack, ref.layer, ref.role, ref.expert, ref.rows, ref.cols), []).append(numbers)
    return {place: sorted(numbers) for place, numbers in found.items()}


def circuits_by_place(analysis: Analysis) -> dict[tuple[Any, ...], list[float]]:
    """(stack, layer, kind, head, key/value head) -> Frobenius norms."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for c in analysis.circuits:
        place = (c.stack, c.layer, c.kind, c.head, c.kv_head)
        found.setdefault(place, []).append(float(c.values["frobenius_norm"] or 0.0))
    return {place: sorted(norms) for place, norms in found.items()}


def assert_same_numbers(one: Analysis, other: Analysis, rel: float = 1e-6) -> None:
    """The same matrices and circuits, whatever their tensors are called."""
    left, right = rows_by_place(one), rows_by_place(other)
    assert left.keys() == right.keys()
    for place, numbers in left.items():
        np.testing.assert_allclose(numbers, right[place], rtol=rel, equal_nan=True, err_msg=str(place))
    circuits, others = circuits_by_place(one), circuits_by_place(other)
    assert circuits.keys() == others.keys()
    for place, norms in circuits.items():
        np.testing.assert_allclose(norms, others[place], rtol=rel, err_msg=str(place))
