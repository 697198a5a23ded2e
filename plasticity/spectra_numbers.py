"""An analysis of a base's weights in a few numbers, for tables, correlations and rankings; the rest is in its file."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spectra.types import Analysis

MEASURED = ("q", "k", "v", "o", "gate", "up", "down", "qkv_in")


def spectra_numbers(analysis: Analysis) -> dict[str, Any]:
    """Mean pseudo-rank of W_QK and W_VP over heads; mean and standard deviation of Hill alpha over attention and MLP matrices.

    None where there is none; `matrices`: how many have an alpha.
    """
    alphas = [
        float(alpha)
        for row in analysis.matrices
        if row.status == "ok" and row.ref.role in MEASURED and (alpha := row.values.get("alpha_hill")) is not None
    ]
    return {
        "pseudo_rank_qk": _circuits(analysis, "qk"),
        "pseudo_rank_vp": _circuits(analysis, "vp"),
        "alpha_mean": statistics.fmean(alphas) if alphas else None,
        "alpha_sd": statistics.stdev(alphas) if len(alphas) > 1 else None,
        "matrices": len(alphas),
    }


def _circuits(analysis: Analysis, kind: str) -> float | None:
    found = [c.values.get("pseudo_rank") for c in analysis.circuits if c.kind == kind and c.head is not None]
    known = [float(value) for value in found if value is not None]
    return statistics.fmean(known) if known else None
