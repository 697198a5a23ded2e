"""`spectra compare`: two paths -> Comparison, and Comparison -> JSON. The arithmetic is in `compare.py`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spectra.analysis import Listener, analyze
from spectra.atomic import write_text
from spectra.checkpoint import open_checkpoint
from spectra.checkpoint.base import Checkpoint
from spectra.compare import Comparison, compare, verdict
from spectra.errors import SpectraError
from spectra.options import AnalysisOptions
from spectra.results import is_result, read_json
from spectra.serialize import finite
from spectra.types import Analysis


def compare_paths(a: str, b: str, *, workers: int = 0, listener: Listener | None = None) -> Comparison:
    """Compare two checkpoints, or analysis.json files of checkpoints; between two checkpoints, the updates too.

    Raises:
        SpectraError: either cannot be read, or they have no matrix in common.
    """
    analyses = []
    for path in (a, b):
        if listener is not None:
            listener.message(f"reading {path}")
        analyses.append(_analysis(path, workers, listener))
    if is_result(a) or is_result(b):
        return compare(analyses[0], analyses[1])
    with ExitStack() as stack:
        opened: list[Checkpoint] = []
        for path in (a, b):
            opened.append(open_checkpoint(path))
            stack.callback(opened[-1].close)
        return compare(
            analyses[0],
            analyses[1],
            (opened[0], opened[1]),
            workers=workers,
            progress=listener.progress if listener is not None else None,
        )


def _analysis(path: str, workers: int, listener: Listener | None) -> Analysis:
    if is_result(path):
        return read_json(Path(path).expanduser())
    return analyze(path, options=AnalysisOptions(workers=workers, circuits=False), listener=listener)


def comparison_to_dict(found: Comparison) -> dict[str, Any]:
    """The content of a comparison's JSON: provenance of both, verdict, one object a pair, what has no counterpart."""
    pairs = []
    for pair in found.pairs:
        made: dict[str, Any] = {
            "name_a": pair.a.name,
            "name_b": pair.b.name,
            "layer": pair.a.layer,
            "role": pair.a.role,
            "rows": pair.a.rows,
            "cols": pair.a.cols,
            "differences": {name: finite(value) for name, value in pair.differences.items()},
            "update": None,
        }
        if pair.update is not None:
            update = asdict(pair.update)
            update["values"] = {name: finite(value) for name, value in update["values"].items()}
            made["update"] = {name: finite(value) for name, value in update.items()}
        pairs.append(made)
    return {
        "schema_version": found.schema_version,
        "provenance": dict(found.provenance),
        "verdict": verdict(found),
        "pairs": pairs,
        "only_a": list(found.only_a),
        "only_b": list(found.only_b),
    }


def write_comparison(found: Comparison, path: Path) -> None:
    """Write a comparison's JSON whole.

    Raises:
        SpectraError: the file cannot be written.
    """
    try:
        text = json.dumps(comparison_to_dict(found), allow_nan=False, indent=1)
    except ValueError as error:  # a number that is none escaped the guards above
        raise SpectraError(f"The comparison holds a number that JSON has not ({error}); please report this.") from error
    write_text(path, text + "\n")
