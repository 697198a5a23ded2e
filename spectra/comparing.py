"""`spectra compare`: two paths -> Comparison, and Comparison <-> JSON. The arithmetic is in `compare.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spectra.analysis import Listener, analyze
from spectra.atomic import write_text
from spectra.checkpoint import open_checkpoint
from spectra.checkpoint.base import Checkpoint
from spectra.compare import Comparison, Pair, compare, verdict
from spectra.errors import SpectraError
from spectra.options import AnalysisOptions
from spectra.results import is_result, read_json, read_object
from spectra.serialize import finite, ref_from_dict
from spectra.types import SCHEMA_VERSION, Analysis
from spectra.update import Update


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
            "a": asdict(pair.a),
            "b": asdict(pair.b),
            "values_a": _finite(pair.values_a),
            "values_b": _finite(pair.values_b),
            "differences": _finite(pair.differences),
            "update": None,
        }
        if pair.update is not None:
            update = asdict(pair.update)
            made["update"] = _finite(update | {"values": _finite(update["values"])})
        pairs.append(made)
    return {
        "schema_version": found.schema_version,
        "provenance": dict(found.provenance),
        "verdict": verdict(found),
        "pairs": pairs,
        "only_a": list(found.only_a),
        "only_b": list(found.only_b),
    }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: finite(value) for name, value in values.items()}


def comparison_from_object(made: Mapping[str, Any], path: Path) -> Comparison:
    """The inverse of `comparison_to_dict`, of what was read from `path`.

    Raises:
        SpectraError: it is no comparison of this version.
    """
    try:
        if made["schema_version"] != SCHEMA_VERSION:
            raise KeyError("schema_version")
        return Comparison(
            schema_version=made["schema_version"],
            provenance=made["provenance"],
            pairs=tuple(
                Pair(
                    a=ref_from_dict(pair["a"]),
                    b=ref_from_dict(pair["b"]),
                    values_a=pair["values_a"],
                    values_b=pair["values_b"],
                    differences=pair["differences"],
                    update=Update(**pair["update"]) if pair["update"] is not None else None,
                )
                for pair in made["pairs"]
            ),
            only_a=tuple(made["only_a"]),
            only_b=tuple(made["only_b"]),
        )
    except (KeyError, TypeError) as error:
        raise SpectraError(
            f"{path} is no comparison of this version (field {error}). Expected a file written by spectra compare --out."
        ) from error


def read_comparison(path: Path) -> Comparison:
    """Read what `write_comparison` wrote; equal to what was written.

    Raises:
        SpectraError: the file is missing or no comparison.
    """
    return comparison_from_object(read_object(path), path)


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
