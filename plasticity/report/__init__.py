"""The page of an experiment, made from its summary.json (and its recorded responses) alone; nothing is measured here."""

from __future__ import annotations

from plasticity.report.page import render_html, write_html

__all__ = ["render_html", "write_html"]
