"""Template, styles, scripts, plotly.js and data in one text: what every page is made by. No request to anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from spectra.report.text import clean, embed_json

MARK = "<!doctype html>\n<!-- spectra report -->"
PACKAGE = "spectra.report"
LISTED = 12  # matrices listed under a finding before the rest is folded

# Before a page's own readings (what is read off a row, and in which modes) and after them.
_FIRST = ("core.js", "colours.js", "plots.js", "csv.js")
_SHARED = ("grid.js", "map.js", "selection.js", "depth.js", "table.js", "page.js")


def render(page: str, payload: Mapping[str, Any], context: Mapping[str, Any], scripts: Sequence[str] = ()) -> str:
    """The page as text: `<page>.html.j2`, `<page>-readings.js`, `scripts`, `<page>-main.js`."""
    names = (*_FIRST, f"{page}-readings.js", *_SHARED, *scripts, f"{page}-main.js")
    style, script = static("report.css"), "\n".join(static(name) for name in names)
    return assemble(template(f"{page}.html.j2"), payload, {**context, "listed": LISTED}, style=style, script=script)


def assemble(page: Any, payload: Mapping[str, Any], context: Mapping[str, Any], *, style: str, script: str) -> str:
    """A template filled, with plotly.js and the data in it; also for the pages of other packages."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    made: str = page.render(
        **context,
        style=Markup(style),
        script=Markup(script),
        plotly=Markup(get_plotlyjs()),
        data=Markup(embed_json(payload)),
    )
    return f"{MARK}\n{made}"


@cache
def template(name: str, package: str = PACKAGE) -> Any:
    """A template of `package`; it may extend and import those of this package."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(where, "templates") for where in dict.fromkeys((package, PACKAGE))]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def _shown(value: Any) -> Any:
    """Every string a template prints has its control characters made visible; markup is ours and stays."""
    return clean(value) if type(value) is str else value


@cache
def static(name: str, package: str = PACKAGE) -> str:
    """A script or style of `package`."""
    return (files(package) / "static" / name).read_text(encoding="utf-8")
