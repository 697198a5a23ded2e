"""Any result -> one self-contained HTML file."""

from __future__ import annotations

import os
from pathlib import Path

from spectra.atomic import write_whole
from spectra.compare import Comparison
from spectra.report.analysis_page import render_analysis
from spectra.report.compare_page import render_comparison
from spectra.report.track_page import render_track
from spectra.track import Track
from spectra.types import Analysis

Result = Analysis | Comparison | Track


def render_html(found: Result) -> str:
    """The page of an analysis, a comparison or a track as text. The same result gives the same text."""
    if isinstance(found, Comparison):
        return render_comparison(found)
    if isinstance(found, Track):
        return render_track(found)
    return render_analysis(found)


def write_html(found: Result, path: str | os.PathLike[str]) -> None:
    """Write the page of `found` to `path`, whole.

    Raises:
        SpectraError: the file cannot be written.
    """
    text = render_html(found)

    def write(staged: Path) -> None:
        with staged.open("w", encoding="utf-8", newline="\n") as f:
            f.write(text)

    write_whole(Path(path), write)
