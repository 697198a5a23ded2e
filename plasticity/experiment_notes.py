"""What is worth knowing of a plan before it is run: what is asked of the hub, checkpoints that are not kept, numbers for Slurm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plasticity.experiment import Experiment
from plasticity.experiment_estimate import budget_of
from plasticity.experiment_plan import Base, Cell

_MEASURES = ("before", "probe", "gap", "spectra")
_GROUPS = (("bases", ("base",)), ("their measures", _MEASURES), ("fine-tuning", ("tune",)))


def notes(experiment: Experiment, cells: Sequence[Cell]) -> list[str]:
    """A line each; none where there is nothing to say."""
    bases = [cell.base for cell in cells if cell.kind == "base"]
    return [*_hub(experiment, bases), *_forgotten(experiment, bases), *_numbers(cells)]


def _hub(experiment: Experiment, bases: Sequence[Base]) -> list[str]:
    """Names that are taken for hub ids: one that was meant for a folder shows."""
    made = []
    ids = [f"{base.label} ({base.hub_id})" for base in bases if base.hub_id is not None]
    if ids:
        made.append(f"from the hub: {', '.join(ids)}")
    asked = (experiment.evaluate.reward_model, *(task.reward_model for task in experiment.tasks.values()))
    models = dict.fromkeys(name for name in asked if name is not None and not Path(name).expanduser().exists())
    if models:
        made.append(f"reward models from the hub: {', '.join(models)}")
    return made


def _forgotten(experiment: Experiment, bases: Sequence[Base]) -> list[str]:
    """Bases of which `spectra: {every: true}` will see the newest checkpoints alone."""
    if experiment.spectra is None or not experiment.spectra.every:
        return []
    few: dict[tuple[str, int, int], int] = {}
    for base in bases:
        if base.recipe is None:
            continue
        train, steps = base.recipe.train, budget_of(base).steps
        if steps is None:
            continue
        saved = -(-steps // train.save_every) if train.save_every else 1
        if saved > train.keep:
            key = (str(base.axes["recipe"]), train.keep, saved)
            few[key] = few.get(key, 0) + 1
    return [
        f"spectra: {{every: true}} sees the last {keep} of {saved} checkpoints of {recipe} (bases: {count}): set train.keep: "
        f"{saved}, or a larger train.save_every"
        for (recipe, keep, saved), count in few.items()
    ]


def _numbers(cells: Sequence[Cell]) -> list[str]:
    """Which numbers are which: arrays of Slurm, one after the other, so that no task waits for its base."""
    parts = []
    for name, kinds in _GROUPS:
        found = [number for number, cell in enumerate(cells) if cell.kind in kinds]
        if found:
            parts.append(f"{found[0]}-{found[-1]} {name}")
    return [f"numbers (--index): {', '.join(parts)}"]
