"""Writes docs/metrics.md from `spectra.metrics`; a test checks that the file is up to date.

Run: python docs/generate.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spectra.metrics import (
    CIRCUIT_METRICS,
    FIT_METRICS,
    SHAPE_METRICS,
    UNCERTAINTY_METRICS,
    UPDATE_METRICS,
    WEIGHTWATCHER_METRICS,
    Metric,
)

TARGET = Path(__file__).parent / "metrics.md"

INTRO = """# Metrics

Generated from `spectra/metrics.py` by `docs/generate.py`; edit there.

W has shape (rows, cols) = (out, in); M = min, N = max; s_1 >= ... >= s_M singular values; lambda_i = s_i^2 eigenvalues of the
smaller Gram matrix, **not divided by anything**. Other tools report lambda / N, square their norms without saying so, or use
natural logarithms: compare definitions before numbers.

A number that cannot be computed is null, and the status column beside it says why. "null" in the table: the metric is reported
beside i.i.d. Gaussian matrices of the same shape and Frobenius norm, as `mean`, `sd`, `difference` and `z`.
"""


def table(title: str, metrics: Sequence[Metric]) -> str:
    """One section."""
    lines = [
        f"## {title}",
        "",
        "| column | meaning | formula | unit | range | null | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for m in metrics:
        cells = (f"`{m.name}`", m.title, m.formula, m.unit, m.range, "yes" if m.null else "", m.source)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    cautions = [f"- `{m.name}`: {m.caution}" for m in metrics if m.caution]
    return "\n".join([*lines, "", *(["Cautions:", "", *cautions, ""] if cautions else [])])


def render() -> str:
    """The whole page."""
    sections = (
        ("Power-law exponents", FIT_METRICS),
        ("Norms, ranks, bulk", SHAPE_METRICS),
        ("With `--uncertainty`", UNCERTAINTY_METRICS),
        ("With `--profile weightwatcher-0.7.7`", WEIGHTWATCHER_METRICS),
        ("Attention circuits", CIRCUIT_METRICS),
        ("Updates B - A, with `spectra compare`", UPDATE_METRICS),
    )
    return INTRO + "\n" + "\n".join(table(title, metrics) for title, metrics in sections)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
