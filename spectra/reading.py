"""Any result on disk -> what it is: an analysis, a comparison or a track, told apart by what the file holds."""

from __future__ import annotations

from pathlib import Path

from spectra import comparing, results, tracking
from spectra.compare import Comparison
from spectra.track import Track
from spectra.types import Analysis


def read_result(path: Path) -> Analysis | Comparison | Track:
    """Read what `spectra analyze`, `compare` or `track` wrote with --out.

    Raises:
        SpectraError: the file is missing, or none of the three of this version.
    """
    made = results.read_object(path)
    if "pairs" in made:
        return comparing.comparison_from_object(made, path)
    if "steps" in made:
        return tracking.track_from_object(made, path)
    return results.from_object(made, path)
