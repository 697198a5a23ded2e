"""Reports: pure functions Analysis, Comparison or Track -> HTML. They read results; nothing that computes imports them."""

from __future__ import annotations

from spectra.report.page import render_html, write_html

__all__ = ["render_html", "write_html"]
