"""Spectra of a base's checkpoints, and what they say over training; which checkpoints are no longer there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.tracking import step_of

if TYPE_CHECKING:
    from alphadecay.config import TrainConfig


def spectra_of(last: str, train: TrainConfig | None, where: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Analyse a base's checkpoints into the folder `where`; what a record says of them.

    Args:
        last: the checkpoint that the base is.
        train: how it was trained, where all its checkpoints are asked for; None: the last one alone.

    Raises:
        SpectraError: a checkpoint cannot be read.
    """
    from spectra.tracking import track_paths, write_track

    paths, missing = [last], list[int]()
    if train is not None:
        known = {step_of(str(path)): str(path) for path in Path(last).parent.glob("checkpoint-*")}
        steps = sorted(step for step in known if step is not None)
        paths = [known[step] for step in steps]
        asked = saved_steps(train, step_of(last) or 0)
        missing = [step for step in asked if step not in known]
        if missing:
            say(
                f"{len(missing)} of the {len(asked)} checkpoints that train.save_every and train.keep ask for are not there (steps "
                f"{', '.join(map(str, missing))}), for the base was trained before they asked for them: not analysed"
            )
    made: dict[str, Any] = {
        "final": _analysed(last, where / "analysis.json"), "steps": [step_of(path) for path in paths], "missing": missing,
        "track": None,
    }  # fmt: skip
    if len(paths) > 1:
        write_track(track_paths(paths, keep=where / "analyses"), where / "track.json")
        made["track"] = where / "track.json"
    return made


def saved_steps(train: TrainConfig, last: int) -> list[int]:
    """Steps of the checkpoints that a run keeps that ends with the step `last`."""
    steps = [*range(train.save_every, last, train.save_every), last] if train.save_every else [last]
    return steps[-train.keep :]


def _analysed(path: str, out: Path) -> dict[str, Any]:
    """Final spectra in a few numbers; the rest is in the file."""
    import spectra
    from plasticity.spectra_numbers import spectra_numbers

    analysis = spectra.analyze(path)
    spectra.write_json(analysis, out)
    return spectra_numbers(analysis)
