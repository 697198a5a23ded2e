"""Comparison -> page."""

from __future__ import annotations

from spectra import __version__, metrics
from spectra.compare import Comparison
from spectra.report import compare_verdict, facts
from spectra.report.analysis_data import VALUE_DIGITS
from spectra.report.compare_data import compared_columns, payload
from spectra.report.head import GlossaryGroup
from spectra.report.layout import render


def render_comparison(comparison: Comparison) -> str:
    """The page of a comparison as text. The same `comparison` gives the same text."""
    a, b = comparison.provenance["a"], comparison.provenance["b"]
    updates = any(pair.update is not None for pair in comparison.pairs)
    glossary = [GlossaryGroup(title="Metrics of A, B and their difference", metrics=tuple(compared_columns()))]
    if updates:
        glossary.insert(0, GlossaryGroup(title="Updates", metrics=metrics.UPDATE_METRICS))
    context = {
        "title": f"{a.get('source', 'A')} and {b.get('source', 'B')}",
        "version": __version__,
        "a": a,
        "b": b,
        "pairs": len(comparison.pairs),
        "only_a": len(comparison.only_a),
        "only_b": len(comparison.only_b),
        "updates": updates,
        "has_layers": any(pair.a.layer is not None for pair in comparison.pairs),
        "headline": compare_verdict.headline(comparison),
        "findings": compare_verdict.findings(comparison),
        "not_said": compare_verdict.NOT_SAID,
        "sides": facts.sides(a, b, comparison.schema_version),
        "glossary": glossary,
        "digits": VALUE_DIGITS,
    }
    return render("compare", payload(comparison), context)
