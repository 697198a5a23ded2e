"""Analysis -> one self-contained HTML file: template, styles, scripts, plotly.js and data in one, no request to anywhere."""

from __future__ import annotations

import os
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from spectra.atomic import write_whole
from spectra.report import head, verdict
from spectra.report.data import MANY_ROWS, THIN_POINTS, VALUE_DIGITS, payload
from spectra.report.text import clean, embed_json
from spectra.types import Analysis

MARK = "<!doctype html>\n<!-- spectra report -->"
_SCRIPTS = ("core.js", "map.js", "panel.js", "charts.js", "table.js", "main.js")
_LISTED = 12  # matrices listed under a finding before the rest is folded


def write_html(analysis: Analysis, path: str | os.PathLike[str]) -> None:
    """Write the report of `analysis` to `path`, whole.

    Raises:
        SpectraError: the file cannot be written.
    """
    text = render_html(analysis)

    def write(staged: Path) -> None:
        with staged.open("w", encoding="utf-8", newline="\n") as f:
            f.write(text)

    write_whole(Path(path), write)


def render_html(analysis: Analysis) -> str:
    """The report as text. The same `analysis` gives the same text."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    template = _environment().get_template("report.html.j2")
    made: str = template.render(
        title=str(analysis.provenance.get("source", "analysis")),
        made=analysis.provenance,
        matrices=len(analysis.matrices),
        notes=analysis.notes,
        headline=verdict.headline(analysis),
        findings=verdict.findings(analysis),
        not_said=verdict.NOT_SAID,
        facts=head.facts(analysis),
        coverage=head.coverage_sentence(analysis),
        ledger=head.ledger(analysis),
        glossary=head.glossary(analysis),
        has_null=any(row.null for row in analysis.matrices),
        has_circuits=bool(analysis.circuits),
        has_experts=any(row.ref.expert is not None for row in analysis.matrices),
        has_layers=any(row.ref.layer is not None for row in analysis.matrices),
        listed=_LISTED,
        digits=VALUE_DIGITS,
        thinned=THIN_POINTS if len(analysis.matrices) > MANY_ROWS else 0,
        style=Markup(_static("report.css")),
        script=Markup("\n".join(_static(name) for name in _SCRIPTS)),
        plotly=Markup(get_plotlyjs()),
        data=Markup(embed_json(payload(analysis))),
    )
    return f"{MARK}\n{made}"


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("spectra.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """Every string a template prints has its control characters made visible; markup is ours and stays."""
    return clean(value) if type(value) is str else value


@cache
def _static(name: str) -> str:
    return (files("spectra.report") / "static" / name).read_text(encoding="utf-8")
