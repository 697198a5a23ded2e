"""The page of a comparison: what it says, and what can be pressed."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace
from pathlib import Path

import pytest

from spectra.analysis import analyze
from spectra.checkpoint import open_checkpoint
from spectra.compare import Comparison, compare, verdict
from spectra.comparing import read_comparison, write_comparison
from spectra.report import render_html, write_html
from spectra.report.text import clean
from tests.spectra.conftest import Save, llama_tensors
from tests.spectra.report.browser import Browser, choose, click, downloaded, find_chromium, quiet
from tests.spectra.report.conftest import CONTROL, IMG, QUICK, SCRIPT
from tests.spectra.report.test_report import parse

chromium = pytest.mark.skipif(find_chromium() is None, reason="no chromium")
UP, DOWN = "model.layers.1.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight"


def test_names_are_text(comparison: Comparison) -> None:
    found = parse(render_html(comparison))
    assert sum(tag == "script" for tag, _ in found.tags) == 3
    assert not any(tag in ("img", "b") and "src" in attributes for tag, attributes in found.tags)
    assert not any(key.startswith("on") or key == "src" for _, attributes in found.tags for key in attributes)
    assert IMG in {row["n"] for row in json.loads(found.data)["rows"]}
    assert SCRIPT in found.text and clean(CONTROL) in found.text and "\x1b" not in found.text


def test_the_same_page_of_the_same_comparison(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = render_html(comparison)
    write_comparison(comparison, tmp_path / "c.json")
    again = read_comparison(tmp_path / "c.json")
    for name in ("a", "b"):
        (tmp_path / name / "model.safetensors").unlink()

    def refuse(*args: object, **more: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(builtins, "open", refuse)
    assert render_html(again) == first


def test_what_it_says(comparison: Comparison) -> None:
    text = parse(render_html(comparison)).text
    for line in verdict(comparison):
        assert line[1:] in text
    for side in ("a", "b"):
        assert comparison.provenance[side]["analysed_sha256"] in text and comparison.provenance[side]["source"] in text
    assert "1 only in A" in text and "1 only in B" in text and "NaN or infinite" in text
    assert "which of A and B is better" in text and "rank of the update" in text
    data = json.loads(parse(render_html(comparison)).data)
    names = [column["name"] for column in data["columns"]]
    row = next(row for row in data["rows"] if row["n"] == UP)
    assert row["v"][names.index("update_rank")] == 2 and row["s"] == "ok"
    assert row["q"][0] - row["p"][0] == pytest.approx(row["v"][0], abs=1e-8)


def test_analyses_alone(save: Save) -> None:
    tensors = llama_tensors()
    a = analyze(save(tensors, name="a"), options=QUICK)
    b = analyze(save({"module." + name: 2 * value for name, value in tensors.items()}, name="b"), options=QUICK)
    text = parse(render_html(compare(a, b))).text
    assert "the updates B − A need the checkpoints" in text and "Matched by place" in text
    assert "update_rank" not in text and "module.model.embed_tokens.weight" in text


@chromium
def test_map_pair_and_depth(browser: Browser, comparison: Comparison, page: Path) -> None:
    write_html(comparison, page)
    browser.open(page)
    browser.run("window.spectraReport.draw()")
    assert browser.run("document.querySelectorAll('#heat button').length") == 3 * 7 + 2
    assert browser.run("document.querySelectorAll('#heat button.none').length") == 1  # NaN: no update
    assert browser.run("document.getElementById('map-metric').value") == "update_relative_norm"
    click(browser, "#heat button", UP)
    assert browser.run("document.getElementById('panel-name').textContent") == UP
    numbers = browser.run("document.getElementById('update-numbers').innerText")
    assert "rank of the update\t2" in numbers
    browser.run("document.querySelector('#heat [aria-selected=\"true\"]').focus()")
    browser.press("ArrowLeft")
    browser.press("ArrowDown")
    browser.press("Enter")
    assert browser.run("document.getElementById('panel-name').textContent") == DOWN
    assert "non_finite" in browser.run("document.getElementById('update-numbers').innerText")
    for metric in ("alpha_hill", "update_rank", "update_overlap", "frobenius_norm"):
        for section in ("map", "depth"):
            choose(browser, f"{section}-metric", metric)
        assert browser.run("document.querySelectorAll('#depth-plot .scatterlayer .trace').length") >= 6
    shown = browser.run("document.getElementById('heat-scale').innerText")
    low, high = (float(part.replace("−", "-")) for part in shown.replace("≤", "").replace("≥", "").split()[:2])
    assert low == -high  # differences: zero in the middle
    browser.run(f"window.spectraReport.choose(window.spectraReport.find({json.dumps(IMG)}))")
    assert browser.run("document.getElementById('panel-name').textContent") == IMG
    assert browser.run("document.images.length") == 0
    quiet(browser, page)


@chromium
def test_table(browser: Browser, comparison: Comparison, page: Path, tmp_path: Path) -> None:
    write_html(comparison, page)
    browser.open(page)
    choose(browser, "row-columns", "update")
    click(browser, "#table thead button", "update_rank")
    click(browser, "#table thead button", "update_rank")
    first = browser.run("document.querySelector('#table tbody tr').cells[0].textContent")
    assert first in (UP, "model.layers.2.self_attn.q_proj.weight")
    choose(browser, "row-status", "ok")
    assert browser.run("document.querySelectorAll('#table tbody tr').length") == 2
    choose(browser, "row-name", "up_proj")
    (row,) = downloaded(browser, tmp_path)
    assert row["name"] == row["name_b"] == UP and row["update_rank"] == "2"
    assert float(row["alpha_hill_b"]) - float(row["alpha_hill_a"]) == pytest.approx(
        float(row["alpha_hill_difference"]), abs=1e-7
    )
    quiet(browser, page)


@pytest.mark.slow
@chromium
def test_lesser_comparisons_and_widths(browser: Browser, comparison: Comparison, page: Path, tmp_path: Path) -> None:
    bare = [replace(pair, update=None) for pair in comparison.pairs]
    unknown = [replace(pair, a=replace(pair.a, layer=None, role="other")) for pair in bare]
    for pairs in (comparison.pairs, bare, bare[:1], unknown):
        write_html(replace(comparison, pairs=tuple(pairs)), page)
        browser.open(page)
        for width, dark in ((1280, False), (1280, True), (390, False)):
            browser.screenshot(tmp_path / "shot.png", width, dark=dark)
            assert browser.run("document.documentElement.scrollWidth <= innerWidth + 1"), "the page scrolls sideways"
        quiet(browser, page)


@chromium
def test_a_real_checkpoint_with_itself(browser: Browser, stories: Path, page: Path) -> None:
    found = analyze(stories, options=QUICK)
    write_html(compare(found, found, (open_checkpoint(stories), open_checkpoint(stories)), workers=1), page)
    assert "0 of 36 matrices changed" in parse(page.read_text(encoding="utf-8")).text
    assert page.stat().st_size < 8_000_000
    browser.open(page)
    browser.run("window.spectraReport.draw()")
    assert browser.run("document.querySelectorAll('#heat button').length") == 36
    quiet(browser, page)
