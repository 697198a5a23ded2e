"""The page in headless Chromium: no error, no request, and everything that can be pressed works."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spectra.analysis import analyze
from spectra.options import AnalysisOptions
from spectra.panel import FitOptions
from spectra.report import write_html
from spectra.types import Analysis
from tests.spectra.conftest import Save, llama_tensors
from tests.spectra.report.browser import Browser, choose, downloaded, find_chromium, quiet
from tests.spectra.report.conftest import CONTROL, IMG, SCRIPT, mixture

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no chromium")


def test_map_click_and_keys(browser: Browser, analysis: Analysis, page: Path) -> None:
    write_html(analysis, page)
    browser.open(page)
    browser.run("window.spectraReport.draw()")
    assert browser.run("document.querySelectorAll('#heat button').length") >= 8 * 7
    colours = "new Set([...document.querySelectorAll('#heat button')].map((b) => b.style.background)).size"
    assert browser.run(colours) > 10
    assert browser.run("document.querySelectorAll('#heat button.none').length") == 2  # the NaN and the zero matrix
    label = "model.layers.3.mlp.down_proj.weight"
    browser.run(
        f"[...document.querySelectorAll('#heat button')].find((b) => b.ariaLabel.startsWith('{label}')).click()"
    )
    assert browser.run("document.getElementById('panel-name').textContent") == label
    browser.wait("document.querySelectorAll('#esd .bars .point').length > 5")
    assert browser.run("document.querySelectorAll('#ccdf .scatterlayer .trace').length") >= 4
    assert browser.run("document.querySelectorAll('#hill .scatterlayer .trace').length") >= 4
    row = next(r for r in analysis.matrices if r.ref.name == label)
    assert f"{row.values['alpha_hill']:.3f}"[:4] in browser.run("document.getElementById('numbers').innerText")
    browser.run(
        f"[...document.querySelectorAll('#heat button')].find((b) => b.ariaLabel.startsWith('{label}')).focus()"
    )
    browser.press("ArrowLeft")
    browser.press("ArrowUp")
    browser.press("Enter")
    assert browser.run("document.getElementById('panel-name').textContent") == "model.layers.2.mlp.up_proj.weight"
    assert "degenerate" in browser.run("document.getElementById('esd').textContent")
    for mode in ("value", "z"):
        choose(browser, "map-mode", mode)
        assert browser.run(colours) > 5
    quiet(browser, page)


def test_table_sorts_filters_and_downloads(browser: Browser, analysis: Analysis, page: Path, tmp_path: Path) -> None:
    write_html(analysis, page)
    browser.open(page)
    first = "document.querySelector('#table tbody tr').cells[0].textContent"
    ok = [r for r in analysis.matrices if r.values["stable_rank"] is not None]
    for wanted in (min, max):
        browser.run(
            "[...document.querySelectorAll('#table thead button')].find((b) => b.dataset.column === 'stable_rank').click()"
        )
        assert browser.run(first) == wanted(ok, key=lambda r: r.values["stable_rank"] or 0.0).ref.name
    assert browser.run("document.querySelectorAll('#table tbody tr').length") == 50
    choose(browser, "row-name", "self_attn")
    choose(browser, "row-role", "q")
    assert browser.run("document.querySelectorAll('#table tbody tr').length") == 8
    rows = downloaded(browser, tmp_path)
    assert len(rows) == 8 and {r["role"] for r in rows} == {"q"} and float(rows[0]["null_alpha_hill_mean"]) > 1
    quiet(browser, page)


def test_hostile_names_stay_text(browser: Browser, analysis: Analysis, page: Path) -> None:
    write_html(mixture(analysis, 3), page)
    browser.open(page)
    for name in (IMG, SCRIPT, CONTROL):
        index = browser.run(f"window.spectraReport.find({json.dumps(name)})")
        browser.run(f"window.spectraReport.choose({index})")
        browser.run("window.spectraReport.draw()")
        shown = browser.run("document.getElementById('panel-name').textContent")
        assert shown == name or (name == CONTROL and "\x1b" not in shown and "\u202e" not in shown)
    assert browser.run("document.images.length") == 0
    assert browser.run("document.querySelectorAll('script').length") == 3
    quiet(browser, page)


@pytest.mark.parametrize("experts", [0, 100])
def test_everything_is_drawn(browser: Browser, analysis: Analysis, page: Path, experts: int) -> None:
    write_html(mixture(analysis, experts) if experts else analysis, page)
    browser.open(page)
    browser.run("window.spectraReport.draw()")
    plots = browser.run(
        "[...document.querySelectorAll('.plot')].filter((p) => !p.querySelector('.main-svg, .empty')).map((p) => p.id)"
    )
    assert plots == []
    browser.run("document.getElementById('theme').click()")
    assert browser.run("document.documentElement.dataset.theme") == "light"
    if experts:
        assert browser.run("document.querySelectorAll('#expert-plot .boxlayer .trace').length") > 0
        browser.run("document.querySelector('#table thead button').click()")
        choose(browser, "map-stack", "encoder")
        assert browser.run("document.querySelectorAll('#heat button').length") == 24
    quiet(browser, page)


def test_heads_by_keyboard(browser: Browser, analysis: Analysis, page: Path) -> None:
    write_html(analysis, page)
    browser.open(page)
    assert browser.run("document.querySelectorAll('#circuit-qk button').length") == 8 * 4
    browser.run("document.querySelector('#circuit-qk [tabindex=\"0\"]').focus()")
    for key in ("End", "ArrowDown", "ArrowDown", "ArrowLeft", "Enter"):
        browser.press(key)
    name = "W_QK of model.layers.6.self_attn, head 2 (k/v head 1)"
    assert browser.run("document.getElementById('circuit-name').textContent") == name
    assert name in browser.run("document.getElementById('circuit-pointed').textContent")
    row = next(r for r in analysis.circuits if (r.layer, r.head, r.kind) == (6, 2, "qk"))
    assert str(row.values["effective_rank"])[:4] in browser.run("document.getElementById('circuit-numbers').innerText")
    browser.press("Home")
    assert browser.run("document.activeElement.getAttribute('aria-label')").startswith(
        "W_QK of model.layers.0.self_attn, head 2"
    )
    quiet(browser, page)


def test_printing_opens_what_is_folded_and_closes_it_again(browser: Browser, analysis: Analysis, page: Path) -> None:
    write_html(analysis, page)
    browser.open(page)
    folded = "document.querySelectorAll('main details:not([open])').length"
    before = browser.run(folded)
    assert before > 0
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(folded) == 0 and browser.run("document.documentElement.dataset.theme") == "light"
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run(folded) == before
    quiet(browser, page)


@pytest.mark.slow
def test_lesser_analyses(browser: Browser, analysis: Analysis, page: Path, save: Save) -> None:
    plain = AnalysisOptions(workers=1, circuits=False, null=False, fit=FitOptions(fits=("gof",)))
    unknown = {f"thing{i}": value for i, value in enumerate(llama_tensors().values())}
    low = {"a.weight": np.outer(np.arange(1.0, 41.0), np.ones(30)).astype(np.float32)}
    for found in (
        replace(analysis, matrices=(), circuits=()),
        replace(analysis, matrices=analysis.matrices[:1], circuits=()),
        replace(analysis, matrices=tuple(replace(row, tail=None) for row in analysis.matrices)),
        analyze(save(llama_tensors(), name="plain"), options=plain),
        analyze(save(unknown, None, name="unknown"), options=AnalysisOptions(workers=1)),
        analyze(save(low, None, name="low"), options=AnalysisOptions(workers=1, null=False)),  # as the update of a LoRA
    ):
        write_html(found, page)
        browser.open(page)
        browser.run("window.spectraReport.draw()")
        undrawn = "[...document.querySelectorAll('.plot')].filter((p) => !p.querySelector('.main-svg, .empty')).length"
        assert browser.run(undrawn) == 0
        quiet(browser, page)


def test_light_dark_phone(browser: Browser, analysis: Analysis, page: Path, tmp_path: Path) -> None:
    write_html(analysis, page)
    browser.open(page)
    sizes = []
    for width, dark in ((1280, False), (1280, True), (390, False)):
        browser.screenshot(tmp_path / "shot.png", width, dark=dark)
        sizes.append((tmp_path / "shot.png").stat().st_size)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth + 1"), "the page scrolls sideways"
    assert len(set(sizes)) == 3
    quiet(browser, page)
