"""The page of an analysis: how long it takes to make and to come alive in headless Chromium, against plotly.js alone."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import spectra
from benchmarks import tensors
from benchmarks.measure import Line, Result, log
from benchmarks.model import CONFIG
from benchmarks.settings import Settings
from spectra.options import AnalysisOptions
from spectra.report import write_html
from spectra.types import Analysis
from tests.spectra.report.browser import Browser, find_chromium

MANY = 3000  # matrices of the large page, as a mixture of experts has


def run(settings: Settings) -> Result:
    """Milliseconds until the page can be used, over those of a page that holds nothing but plotly.js."""
    program = find_chromium()
    if program is None:
        raise RuntimeError("This benchmark needs chromium.")
    options = AnalysisOptions(workers=1, device="cpu", null_cache=None)
    analysis = spectra.analyze(dict(tensors.read_all(settings)), options=options, config=CONFIG)
    lines, details = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bare = _median(program, _bare(folder / "bare.html"), folder, settings)
        for title, found in (("SmolLM2-135M", analysis), (f"{MANY} matrices", _many(analysis))):
            page = folder / "page.html"
            write_html(found, page)
            ready = _median(program, page, folder, settings)
            megabytes = page.stat().st_size / 1e6
            log(f"{title}: {ready:.0f} ms, {megabytes:.1f} MB")
            details[title] = {"milliseconds": ready, "megabytes": megabytes}
            lines.append(
                Line(
                    what=f"until the page of {title} is ready",
                    ours=f"{ready:.0f} ms",
                    other=f"{bare:.0f} ms",
                    value=ready / bare,
                )
            )
            if found is analysis:
                lines.append(
                    Line(
                        what=f"size of the page of {title}",
                        ours="",
                        other="",
                        value=megabytes,
                        unit="MB",
                        target="<= 8",
                    )
                )
    return Result(
        name="report",
        title="Page of an analysis in headless Chromium, against a page with plotly.js alone",
        lines=lines,
        notes=("Ready: map, selected matrix and table drawn; charts are drawn when they come near the screen.",),
        details=details,
    )


def _many(analysis: Analysis) -> Analysis:
    """The same matrices as experts, until there are `MANY`."""
    rows = []
    for i in range(MANY):
        row = analysis.matrices[i % len(analysis.matrices)]
        rows.append(replace(row, ref=replace(row.ref, name=f"{row.ref.name}[expert {i}]", expert=i)))
    return replace(analysis, matrices=tuple(rows))


def _bare(path: Path) -> Path:
    from plotly.offline import get_plotlyjs

    end = "<script>window.spectraReport = { milliseconds: performance.now() };</script>"
    path.write_text(f"<!doctype html>\n<script>{get_plotlyjs()}</script>{end}", encoding="utf-8")
    return path


def _median(program: str, page: Path, folder: Path, settings: Settings) -> float:
    """Over fresh browsers."""
    found = []
    for i in range(settings.repetitions):
        browser = Browser(program, folder / f"profile-{page.stem}-{i}")
        try:
            browser.open(page)
            found.append(float(browser.run("window.spectraReport.milliseconds")))
        finally:
            browser.close()
    return statistics.median(found)
