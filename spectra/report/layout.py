"""Template, styles, scripts, plotly.js and data in one text: what every page is made by. No request to anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from spectra.report.text import clean, embed_json

MARK = "<!doctype html>\n<!-- spectra report -->"
LISTED = 12  # matrices listed under a finding before the rest is folded

# Before a page's own readings (what is read off a row, and in which modes) and after them.
_FIRST = ("core.js", "colours.js", "plots.js")
_SHARED = ("grid.js", "map.js", "selection.js", "depth.js", "table.js", "page.js")


def render(page: str, payload: Mapping[str, Any], context: Mapping[str, Any], scripts: Sequence[str] = ()) -> str:
    """The page as text: `<page>.html.j2`, `<page>-readings.js`, `scripts`, `<page>-main.js`."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    names = (*_FIRST, f"{page}-readings.js", *_SHARED, *scripts, f"{page}-main.js")
    made: str = (
        _environment()
        .get_template(f"{page}.html.j2")
        .render(
            **context,
            listed=LISTED,
            style=Markup(_static("report.css")),
            script=Markup("\n".join(_static(name) for name in names)),
            plotly=Markup(get_plotlyjs()),
            data=Markup(embed_json(payload)),
        )
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
