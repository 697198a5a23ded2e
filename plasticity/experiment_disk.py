"""The disk that the checkpoints of an experiment take, before anything is run: those that are kept, of bases and fine-tunings.

A checkpoint has the weights and both moments of Adam, each in the precision of training: 12 bytes a parameter, 6 in pure bf16; with
averaged weights (`train.ema`) 4 more. Not counted: adapters of LoRA, responses, answers, analyses, prepared corpora, and
the one more that is there while a checkpoint is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plasticity.experiment import Experiment
from plasticity.experiment_estimate import budget_of, parameters
from plasticity.experiment_plan import Base, Cell

__all__ = ["Disk", "checkpoints_kept", "disk"]

_BYTES = {"fp32": 4, "bf16-mixed": 4, "bf16": 2}  # a weight, or a moment of it


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Gigabytes of checkpoints."""

    kept_gb: float
    """Of bases that the experiment trains, and of fine-tunings with `finetune.keep`."""
    checkpoints: int
    """How many these are."""
    under_way_gb: float
    """Of the largest fine-tuning, while it runs; 0 where they are kept, and counted already."""
    unknown: int
    """Cells with checkpoints whose size is not known: of fine-tunings of models that are not on this machine."""


def disk(experiment: Experiment, cells: Sequence[Cell]) -> Disk:
    """What the checkpoints of these cells take, whether they are done or not."""
    kept, checkpoints, largest, unknown = 0.0, 0, 0.0, 0
    for cell in cells:
        if cell.kind == "base" and cell.base.recipe is not None:
            number = checkpoints_kept(cell.base)
            kept, checkpoints = kept + number * _base_bytes(cell.base), checkpoints + number
        elif cell.kind == "tune" and not cell.config["finetune"]["lora"]["rank"]:
            train, count = cell.config["finetune"]["train"], parameters(cell.base)
            if count is None:
                unknown += 1
                continue
            number = _number(train["steps"], train["save_every"], train["keep"])
            taken = number * _bytes(count, train)
            if experiment.finetune.keep:
                kept, checkpoints = kept + taken, checkpoints + number
            else:
                largest = max(largest, taken)
    return Disk(kept_gb=kept / 1e9, checkpoints=checkpoints, under_way_gb=largest / 1e9, unknown=unknown)


def checkpoints_kept(base: Base) -> int:
    """Checkpoints of a base that is trained, which stay; where its steps are not known, at most."""
    assert base.recipe is not None
    train = base.recipe.train
    return _number(budget_of(base).steps, train.save_every, train.keep)


def _number(steps: int | None, every: int, keep: int) -> int:
    if not every:
        return 1
    return keep if steps is None else min(keep, -(-steps // every))


def _base_bytes(base: Base) -> float:
    assert base.recipe is not None
    train, count = base.recipe.train, budget_of(base).parameters
    return _bytes(count, {"precision": train.precision}) + (4.0 * count if train.ema is not None else 0.0)


def _bytes(count: int, train: Mapping[str, Any]) -> float:
    return 3.0 * _BYTES[train["precision"]] * count
