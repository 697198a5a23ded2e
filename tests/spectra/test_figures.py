"""Figures: drawn for whatever there is data for, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spectra.analysis import analyze
from spectra.errors import SpectraError
from spectra.options import AnalysisOptions
from spectra.track import track
from spectra.types import Analysis
from tests.spectra.conftest import LLAMA_CONFIG, llama_tensors

figures = pytest.importorskip("spectra.figures")
QUICK = AnalysisOptions(workers=1)


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyze(llama_tensors(layers=3), options=QUICK, config=LLAMA_CONFIG)


@pytest.mark.parametrize(
    ("form", "start"), [("pdf", b"%PDF"), pytest.param("svg", b"<?xml", marks=pytest.mark.slow), ("png", b"\x89PNG")]
)
def test_every_figure_in_every_format(analysis: Analysis, tmp_path: Path, form: str, start: bytes) -> None:
    written = figures.draw_analysis(analysis, tmp_path / "a", form)
    names = {p.stem for p in written}
    assert {"alpha", "heatmap", "circuits", "norms"} <= names
    assert sum(name.startswith("esd-") for name in names) == 8  # one of each role
    assert all(p.read_bytes().startswith(start) and p.stat().st_size > 2000 for p in written)
    again = figures.draw_analysis(analysis, tmp_path / "b", form)
    assert [p.read_bytes() for p in written] == [p.read_bytes() for p in again]


def test_the_esd_figure_shows_the_fits(analysis: Analysis, tmp_path: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    row = next(r for r in analysis.matrices if r.ref.name == name)
    written = figures.draw_analysis(analysis, tmp_path, "svg", [name])
    text = next(p for p in written if p.stem.startswith("esd-")).read_text()
    assert name in text and f"{row.values['alpha_hill']:.2f}" in text and "bulk edge" in text


def test_what_is_missing_is_left_out(tmp_path: Path) -> None:
    lone = analyze({"a$b.weight": np.random.default_rng(0).standard_normal((20, 30))}, options=QUICK)
    assert [p.name for p in figures.draw_analysis(lone, tmp_path, "png")] == ["esd-a_b.weight.png"]
    no_null = AnalysisOptions(workers=1, null=False, circuits=False)
    names = {
        p.stem for p in figures.draw_analysis(analyze(llama_tensors(layers=3), options=no_null), tmp_path / "n", "png")
    }
    assert "heatmap" in names and "circuits" not in names
    zero = analyze({"a.weight": np.zeros((20, 30))}, options=QUICK)
    with pytest.raises(SpectraError, match="nothing to draw"):
        figures.draw_analysis(zero, tmp_path / "z", "png")


def test_bad_input(analysis: Analysis, tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match="bmp"):
        figures.draw_analysis(analysis, tmp_path, "bmp")
    with pytest.raises(SpectraError, match="No matrix 'x'"):
        figures.draw_analysis(analysis, tmp_path, "pdf", ["x"])
    (tmp_path / "file").write_text("")
    with pytest.raises(SpectraError, match="Cannot make the folder"):
        figures.draw_analysis(analysis, tmp_path / "file", "pdf")


def test_a_track(analysis: Analysis, tmp_path: Path) -> None:
    doubled = {n: v * np.float32(2) for n, v in llama_tensors(layers=3).items()}
    later = analyze(doubled, options=QUICK, config=LLAMA_CONFIG)
    written = figures.draw_track(track([(0, analysis), (10, later)]), tmp_path, "svg")
    assert {p.stem for p in written} == {"trajectories", "circuits", "norms"}
    assert "training step" in written[0].read_text()


def test_a_notebook_shows_a_table_and_plots(analysis: Analysis) -> None:
    page = analysis._repr_html_()
    assert "Hill alpha" in page and page.count("data:image/png;base64") == 2 and "<script" not in page
    evil = {"<img src=x onerror=alert(1)>.weight": np.full((20, 30), np.nan)}
    shown = analyze(evil, options=QUICK)._repr_html_()
    assert "<img src=x" not in shown and "non_finite" in shown
    assert len(repr(analysis)) < 200
