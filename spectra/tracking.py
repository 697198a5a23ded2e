"""`spectra track`: paths -> (step, Analysis) pairs, one checkpoint at a time, analysed ones not redone -> Track -> JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from spectra.analysis import Listener, analyze
from spectra.atomic import make_folder, write_text
from spectra.checkpoint import open_checkpoint
from spectra.errors import SpectraError
from spectra.options import AnalysisOptions
from spectra.results import is_result, read_json, read_object, write_json
from spectra.track import Place, Track, track
from spectra.types import SCHEMA_VERSION, Analysis


def step_of(path: str) -> int | None:
    """Training step of a checkpoint: from `trainer_state.json`, else the last number in its name; None where neither says."""
    place = Path(path).expanduser()
    state = place / "trainer_state.json" if place.is_dir() else place.parent / "trainer_state.json"
    if state.is_file():
        try:
            step = json.loads(state.read_text(encoding="utf-8")).get("global_step")
        except (OSError, ValueError, AttributeError):
            step = None
        if isinstance(step, int) and not isinstance(step, bool):
            return step
    found = re.findall(r"\d+", re.sub(r"-\d{5}-of-\d{5}", "", place.name.removesuffix(".json").split(".")[0]))
    return int(found[-1]) if found else None


def track_paths(
    paths: Sequence[str],
    *,
    steps: Sequence[int] | None = None,
    keep: Path | None = None,
    options: AnalysisOptions | None = None,
    listener: Listener | None = None,
) -> Track:
    """Analyse a series of checkpoints (or read analysis.json files) and follow it over training.

    Args:
        steps: training steps in the order of `paths`, where neither `trainer_state.json` nor names tell.
        keep: folder in which analyses are kept; a checkpoint found there, unchanged, is not analysed again.

    Raises:
        SpectraError: a path cannot be read, steps are unknown or repeated, or nothing is in common.
    """
    if steps is not None and len(steps) != len(paths):
        raise SpectraError(f"--steps names {len(steps)} steps for {len(paths)} checkpoints. Give one each.")
    known = list(steps) if steps is not None else [step_of(path) for path in paths]
    for path, step in zip(paths, known, strict=True):
        if step is None:
            raise SpectraError(
                f"{path}: no trainer_state.json and no number in its name. Say the steps: --steps 100,200,..."
            )
    if keep is not None:
        make_folder(keep)
    chosen = options or AnalysisOptions()
    series = []
    for path, step in zip(paths, known, strict=True):
        series.append((int(step or 0), _analysis(path, keep, chosen, listener)))
    return track(series)


def _analysis(path: str, keep: Path | None, options: AnalysisOptions, listener: Listener | None) -> Analysis:
    if is_result(path):
        return read_json(Path(path).expanduser())
    kept = keep / f"{_key(path, options)}.json" if keep is not None else None
    if kept is not None and kept.exists():
        if listener is not None:
            listener.message(f"{path}: analysed before")
        return read_json(kept)
    if listener is not None:
        listener.message(f"analysing {path}")
    found = analyze(path, options=options, listener=listener)
    if kept is not None:
        write_json(found, kept)
    return found


def _key(path: str, options: AnalysisOptions) -> str:
    """Names an analysis by all that decides it: the checkpoint's identity, its config, the options."""
    checkpoint = open_checkpoint(path)
    try:
        deciding = [checkpoint.identity(), dict(checkpoint.config), options.deciding()]
    finally:
        checkpoint.close()
    return hashlib.sha256(json.dumps(deciding, sort_keys=True, default=str).encode()).hexdigest()[:32]


def read_track(path: Path) -> Track:
    """Read what `write_track` wrote.

    Raises:
        SpectraError: the file is missing or no track.
    """
    return track_from_object(read_object(path), path)


def track_from_object(found: Mapping[str, Any], path: Path) -> Track:
    """What was read from `path` as a Track.

    Raises:
        SpectraError: it is no track of this version.
    """
    names = {field.name for field in fields(Track)}
    if set(found) != names or found.get("schema_version") != SCHEMA_VERSION:
        raise SpectraError(f"{path} is no track of this version. Expected a file written by spectra track --out.")
    made = dict(found) | {"steps": tuple(found["steps"]), "sources": tuple(found["sources"])}
    made["places"] = {name: Place(**place) for name, place in made["places"].items()}
    made["norms"] = {group: tuple(series) for group, series in made["norms"].items()}
    for table in ("matrices", "roles", "circuits"):
        made[table] = {k: {c: tuple(series) for c, series in columns.items()} for k, columns in made[table].items()}
    return Track(**made)


def write_track(found: Track, path: Path) -> None:
    """Write a track's JSON whole."""
    write_text(path, json.dumps(asdict(found), allow_nan=False) + "\n")
