"""`summary.json` of an experiment's folder: read, and made anew where cells have ended since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spectra.errors import SpectraError

NAME = "summary.json"
_PARTS = (
    "experiment", "provenance", "counts", "failed", "warnings", "bases", "runs", "points", "loss", "statistics", "findings",
)  # fmt: skip


def read(folder: Path) -> dict[str, Any]:
    """The summary of an experiment.

    Raises:
        SpectraError: there is none, or it is not one of this version, or damaged.
    """
    from plasticity.experiment_results import read_summary

    made = read_summary(folder)
    missing = [part for part in _PARTS if part not in made]
    if missing:
        raise SpectraError(
            f"{folder / NAME} is damaged: it has no {', '.join(missing)}. Delete it; plasticity report makes it again."
        )
    return made


def is_stale(folder: Path) -> bool:
    """Whether there is no summary, or a cell has ended since it was written."""
    path = folder / NAME
    if not path.is_file():
        return True
    written = path.stat().st_mtime_ns
    return any(record.stat().st_mtime_ns > written for record in folder.glob("cells/*/cell.json"))
