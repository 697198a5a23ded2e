"""Track -> page."""

from __future__ import annotations

from spectra import __version__, metrics
from spectra.report import facts, track_verdict
from spectra.report.head import GlossaryGroup
from spectra.report.layout import render
from spectra.report.track_data import SERIES_DIGITS, followed_columns, payload
from spectra.track import Track

_SCRIPTS = ("track-charts.js",)


def render_track(track: Track) -> str:
    """The page of a track as text. The same `track` gives the same text."""
    common, own = facts.series(track.provenance, track.schema_version)
    circuit = tuple(metric for metric in metrics.CIRCUIT_METRICS if metric.name == "pseudo_rank")
    glossary = [GlossaryGroup(title="Metrics", metrics=tuple(followed_columns()))]
    if track.circuits:
        glossary.append(GlossaryGroup(title="Attention circuits", metrics=circuit))
    context = {
        "title": f"{track.sources[0]} to {track.sources[-1]}",
        "version": __version__,
        "first": track.sources[0],
        "last": track.sources[-1],
        "steps": list(zip(track.steps, track.sources, strict=True)),
        "matrices": len(track.matrices),
        "has_layers": any(place.layer is not None for place in track.places.values()),
        "has_circuits": bool(track.circuits),
        "headline": track_verdict.headline(track),
        "findings": track_verdict.findings(track),
        "not_said": track_verdict.NOT_SAID,
        "common": common,
        "own": own,
        "glossary": glossary,
        "digits": SERIES_DIGITS,
        "log_steps": track.steps[0] > 0,
    }
    return render("track", payload(track), context, _SCRIPTS)
