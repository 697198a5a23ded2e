"""`make demo`, as a newcomer runs it, and both of its pages in headless Chromium."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.spectra.report.browser import Browser, find_chromium, quiet

ROOT = Path(__file__).parents[1]
PAGES = ("smollm2", "plasticity")


@pytest.mark.slow  # minutes, unless it was run before
@pytest.mark.skipif(find_chromium() is None, reason="no chromium")
def test_the_demo_ends_with_two_pages_that_work(tmp_path: Path) -> None:
    done = subprocess.run(["make", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1] == "open demo/smollm2.html and demo/plasticity.html"
    counts = json.loads((ROOT / "demo" / "plasticity" / "summary.json").read_text())["counts"]
    assert counts["done"] == counts["cells"] > 10
    program = find_chromium()
    assert program is not None
    for name in PAGES:
        browser, page = Browser(program, tmp_path / name), ROOT / "demo" / f"{name}.html"
        try:
            browser.open(page)
            for width, dark in ((1280, False), (1280, True), (390, False)):
                shot = tmp_path / f"{name}-{width}-{'dark' if dark else 'light'}.png"
                browser.screenshot(shot, width, dark=dark)
                assert shot.stat().st_size > 50_000
            browser.run("window.spectraReport.draw()")
            assert browser.run("document.querySelectorAll('.main-svg').length") >= 3, "plots"
            assert browser.run("document.querySelectorAll('tbody tr').length") > 10, "rows of tables"
            quiet(browser, page)
        finally:
            browser.close()
