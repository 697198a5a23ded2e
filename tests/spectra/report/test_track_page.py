"""The page of a track: what it says, and what can be pressed."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace
from pathlib import Path

import pytest

from spectra.report import render_html, write_html
from spectra.report.track_verdict import change, relative
from spectra.track import Track
from spectra.tracking import read_track, write_track
from tests.spectra.report.browser import Browser, choose, click, downloaded, find_chromium, quiet
from tests.spectra.report.conftest import IMG, SCRIPT
from tests.spectra.report.test_report import parse

chromium = pytest.mark.skipif(find_chromium() is None, reason="no chromium")
Q = "model.layers.3.self_attn.q_proj.weight"


def test_names_are_text(followed: Track) -> None:
    found = parse(render_html(followed))
    assert sum(tag == "script" for tag, _ in found.tags) == 3
    assert not any(key.startswith("on") or key == "src" for _, attributes in found.tags for key in attributes)
    assert {IMG, SCRIPT} <= {row["n"] for row in json.loads(found.data)["rows"]}
    assert SCRIPT in found.text  # it is missing at the first step


def test_the_same_page_of_the_same_track(followed: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = render_html(followed)
    write_track(followed, tmp_path / "t.json")
    again = read_track(tmp_path / "t.json")

    def refuse(*args: object, **more: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(builtins, "open", refuse)
    assert render_html(again) == first


def test_changes() -> None:
    assert change((1.0, None, 3.0)) == 2.0 and change((None, 1.0)) is None
    assert relative((-2.0, 1.0)) == 1.5 and relative((0.0, 1.0)) is None


def test_what_it_says(followed: Track) -> None:
    text = parse(render_html(followed)).text
    assert "4 checkpoints, step 100 to 1,000" in text
    assert "Missing at some step" in text and "none at step 100" in text
    ends = followed.roles["q"]["stable_rank"]
    assert f"q moved farthest: {ends[0]:.4g} to {ends[-1]:.4g}" in text
    for made in followed.provenance.values():
        assert made["analysed_sha256"] in text and made["source"] in text
    assert "how the loss moved" in text and "different conventions" not in text
    other = {step: {**made, "precision": f"float{step}"} for step, made in followed.provenance.items()}
    assert "different conventions" in parse(render_html(replace(followed, provenance=other))).text


def test_nothing_changed(followed: Track) -> None:
    same = replace(
        followed,
        matrices={n: {c: (s[1],) * 4 for c, s in columns.items()} for n, columns in followed.matrices.items()},
        roles={r: {c: (s[1],) * 4 for c, s in columns.items()} for r, columns in followed.roles.items()},
        norms=dict.fromkeys(followed.norms, (0.5,) * 4),
    )
    text = parse(render_html(same)).text
    assert "No median by role changed" in text and "Largest single changes" not in text and "gained most" not in text


@chromium
def test_trajectories(browser: Browser, followed: Track, page: Path) -> None:
    write_html(followed, page)
    browser.open(page)
    browser.run("window.spectraReport.draw()")
    lines = "document.querySelectorAll('#{} .scatterlayer .trace').length"
    assert browser.run(lines.format("role-plot")) == len(followed.roles)
    for kind in ("qk", "vp"):
        assert browser.run(lines.format(f"circuit-{kind}")) == 3  # first, middle, last
    click(browser, "#circuit-layers button", "all")
    browser.run("window.spectraReport.draw()")
    assert browser.run(lines.format("circuit-qk")) == 4
    click(browser, "#circuit-layers button", "none")
    browser.run("window.spectraReport.draw()")
    assert "No layer is ticked" in browser.run("document.getElementById('circuit-qk').textContent")
    click(browser, "#norm-groups button", "all")
    browser.run("window.spectraReport.draw()")
    assert browser.run(lines.format("norm-plot")) == len(followed.norms)
    click(browser, "#heat button", Q)
    assert browser.run("document.getElementById('panel-name').textContent") == Q
    choose(browser, "map-metric", "stable_rank")
    browser.run("window.spectraReport.draw()")
    assert browser.run("document.getElementById('one-metric').value") == "stable_rank"
    assert browser.run(lines.format("one-plot")) == 2
    first = followed.matrices[Q]["stable_rank"][0]
    assert str(first)[:4] in browser.run("document.getElementById('numbers').innerText")
    browser.run("document.querySelector('#heat [aria-selected=\"true\"]').focus()")
    browser.press("ArrowLeft")
    browser.press("Enter")
    assert browser.run("document.getElementById('panel-name').textContent") == Q.replace("3", "2")
    for axis in ("log", "linear"):
        choose(browser, "step-axis", axis)
        browser.run("window.spectraReport.draw()")
        assert browser.run(f"document.getElementById('role-plot').layout.xaxis.type === {json.dumps(axis)}")
    choose(browser, "role-mode", "relative")
    browser.run(f"window.spectraReport.choose(window.spectraReport.find({json.dumps(SCRIPT)}))")
    assert "no number at the first step" in browser.run("document.getElementById('numbers').innerText")
    assert browser.run("document.images.length") == 0
    quiet(browser, page)


@chromium
def test_table(browser: Browser, followed: Track, page: Path, tmp_path: Path) -> None:
    write_html(followed, page)
    browser.open(page)
    choose(browser, "row-columns", "stable_rank")
    click(browser, "#table thead button", "change")
    assert ".q_proj." in browser.run("document.querySelector('#table tbody tr').cells[0].textContent")
    choose(browser, "row-role", "q")
    assert browser.run("document.querySelectorAll('#table tbody tr').length") == 4
    rows = downloaded(browser, tmp_path)
    assert len(rows) == 4
    for row in rows:
        series = followed.matrices[row["name"]]["stable_rank"]
        assert float(row["stable_rank_change"]) == pytest.approx(change(series), rel=1e-4)
    quiet(browser, page)


@pytest.mark.slow
@chromium
def test_lesser_tracks_and_widths(browser: Browser, followed: Track, page: Path, tmp_path: Path) -> None:
    unknown = {name: replace(place, layer=None) for name, place in followed.places.items()}
    from_zero = replace(followed, steps=(0, *followed.steps[1:]))
    for found in (followed, replace(followed, circuits={}), replace(followed, places=unknown), from_zero):
        write_html(found, page)
        browser.open(page)
        for width, dark in ((1280, False), (1280, True), (390, False)):
            browser.screenshot(tmp_path / "shot.png", width, dark=dark)
            assert browser.run("document.documentElement.scrollWidth <= innerWidth + 1"), "the page scrolls sideways"
        undrawn = "[...document.querySelectorAll('.plot')].filter((p) => !p.querySelector('.main-svg, .empty')).length"
        assert browser.run(undrawn) == 0
        quiet(browser, page)
