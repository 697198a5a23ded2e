"""Track -> what the page's scripts draw from: plain lists, short keys, rounded.

A row: n name, t tensor (the name: a track keeps no more), y layer, r role, k stack, o module, e expert, a rows, b cols,
s status; u one series over `steps` for each of `columns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spectra import metrics
from spectra.metrics import Metric
from spectra.report.analysis_data import describe, distinct
from spectra.report.text import rounded
from spectra.track import FOLLOWED, Track
from spectra.types import ROLES

SERIES_DIGITS = 6  # of every value on the page; the JSON of the track has them exactly
COMPLETE, GAPS = "at every step", "missing at some step"


def payload(track: Track) -> dict[str, Any]:
    """Everything the scripts of the page need, ready for `text.embed_json`."""
    layers = {place.module: (place.layer, place.stack) for place in track.places.values()}
    return {
        "steps": list(track.steps),
        "columns": [describe(metric) for metric in followed_columns()],
        "roles": [role for role in ROLES if role in track.roles],
        "stacks": distinct(place.stack for place in track.places.values()),
        "rows": [_row(track, name) for name in track.matrices],
        "role_series": {role: [_series(columns[name]) for name in FOLLOWED] for role, columns in track.roles.items()},
        "circuits": [
            {"o": module, "y": layers.get(module, (None, ""))[0], "k": layers.get(module, (None, ""))[1],
             "qk": _series(kinds["qk"]), "vp": _series(kinds["vp"])}
            for module, kinds in track.circuits.items()
        ],
        "norms": [{"g": group, "u": _series(series)} for group, series in track.norms.items()],
    }  # fmt: skip


def followed_columns() -> list[Metric]:
    """The columns that are followed, as metrics."""
    return [metrics.BY_NAME[name] for name in FOLLOWED]


def _series(values: Sequence[float | None]) -> list[float | None]:
    return [rounded(value, SERIES_DIGITS) for value in values]


def _row(track: Track, name: str) -> dict[str, Any]:
    place, columns = track.places[name], track.matrices[name]
    here = [any(columns[column][i] is not None for column in FOLLOWED) for i in range(len(track.steps))]
    return {
        "n": name, "t": name, "y": place.layer, "r": place.role, "k": place.stack, "o": place.module, "e": place.expert,
        "a": place.rows, "b": place.cols, "s": COMPLETE if all(here) else GAPS,
        "u": [_series(columns[column]) for column in FOLLOWED],
    }  # fmt: skip
