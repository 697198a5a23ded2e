"""Figures for papers (matplotlib): pure functions Analysis or Track -> Figure. Nothing that computes imports them."""

from spectra.figures.draw import FORMATS, draw_analysis, draw_track

__all__ = ["FORMATS", "draw_analysis", "draw_track"]
