"""Analysis -> page."""

from __future__ import annotations

from spectra.report import analysis_verdict, facts, head
from spectra.report.analysis_data import MANY_ROWS, THIN_POINTS, VALUE_DIGITS, payload
from spectra.report.layout import render
from spectra.types import Analysis

_SCRIPTS = ("analysis-panel.js", "analysis-charts.js", "circuits.js")


def render_analysis(analysis: Analysis) -> str:
    """The report of an analysis as text. The same `analysis` gives the same text."""
    context = {
        "title": str(analysis.provenance.get("source", "analysis")),
        "version": analysis.provenance["spectra"],
        "made": analysis.provenance,
        "matrices": len(analysis.matrices),
        "notes": analysis.notes,
        "headline": analysis_verdict.headline(analysis),
        "findings": analysis_verdict.findings(analysis),
        "not_said": analysis_verdict.NOT_SAID,
        "facts": facts.sections(analysis.provenance, analysis.schema_version),
        "coverage": head.coverage_sentence(analysis),
        "ledger": head.ledger(analysis),
        "glossary": head.glossary(analysis),
        "has_null": any(row.null for row in analysis.matrices),
        "has_circuits": bool(analysis.circuits),
        "has_experts": any(row.ref.expert is not None for row in analysis.matrices),
        "has_layers": any(row.ref.layer is not None for row in analysis.matrices),
        "digits": VALUE_DIGITS,
        "thinned": THIN_POINTS if len(analysis.matrices) > MANY_ROWS else 0,
    }
    return render("analysis", payload(analysis), context, _SCRIPTS)
