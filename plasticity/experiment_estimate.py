"""What an experiment will cost, before anything is run: parameters, FLOP, GPU-hours, memory. Rough, and says how.

FLOP: 6 N D for training, 2 N D for generating and scoring (N parameters, D tokens). An example, or a prompt with its response, is
taken to have `TOKENS` tokens; a GPU is an H100 (989 TFLOP/s in bf16), of which training gets 40% and generation 5%. Memory:
weights, gradients and both moments of Adam (16 bytes a parameter; 8 in pure bf16; 4 and a little with LoRA), no activations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plasticity.experiment import Experiment
from plasticity.experiment_plan import Base, Cell
from spectra.errors import SpectraError

TOKENS = 300
PEAK, TRAINING, GENERATING = 989e12, 0.40, 0.05
_BYTES = {"fp32": 16, "bf16-mixed": 16, "bf16": 8}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of one cell; None: not known before it runs (a checkpoint on the hub, the length of a local file)."""

    parameters: int | None
    tokens: int | None
    flop: float | None
    gpu_hours: float | None
    memory_gb: float | None


def estimate(experiment: Experiment, cell: Cell) -> Estimate:
    """The cost of a cell."""
    count = parameters(cell.base)
    if cell.kind == "base":
        return _base(cell.base, count)
    if cell.kind == "tune":
        return _tune(cell, count)
    if cell.kind == "before":
        tokens = _evaluation_tokens(cell.config["evaluate"], experiment.tasks_dir)
        return _cost(count, 0, tokens, None if count is None else 4 * count)
    return _cost(count, 0, 0, None if count is None else 4 * count)


def total(estimates: Sequence[Estimate]) -> tuple[float, int]:
    """GPU-hours of all, and of how many cells they are not known."""
    known = [one.gpu_hours for one in estimates if one.gpu_hours is not None]
    return sum(known), len(estimates) - len(known)


def check_memory(
    experiment: Experiment, cells: Sequence[Cell], estimates: Sequence[Estimate], available: float | None = None
) -> None:
    """Refuse an experiment with a cell that can never fit.

    Args:
        estimates: of the cells, in their order.
        available: GB; None: `resources.memory_gb`, else that of the GPU, else of this machine.

    Raises:
        SpectraError: names the largest cell, what it needs and what there is.
    """
    room = available or experiment.resources.memory_gb or memory_here()
    needs = [(found.memory_gb or 0.0, cell) for found, cell in zip(estimates, cells, strict=True)]
    most, cell = max(needs, key=lambda pair: pair[0])
    if most > room:
        raise SpectraError(
            f"Cell {cell.label!r} needs about {most:.1f} GB for weights, gradients and optimizer alone, and there are {room:.1f} "
            "GB. Set lora.rank, take a smaller model or another machine; resources.memory_gb says how much there is elsewhere."
        )


def memory_here() -> float:
    """GB of the GPU where there is one, else of this machine."""
    import os

    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory) / 1e9
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def parameters(base: Base) -> int | None:
    """Parameters of a base; None for one on the hub, which is not asked."""
    if base.key not in _COUNTED:
        _COUNTED[base.key] = _count(base)
    return _COUNTED[base.key]


_COUNTED: dict[str, int | None] = {}  # by key of the base: building a model to count takes a while


def _count(base: Base) -> int | None:
    if base.recipe is not None:
        from alphadecay.budget import budget

        return budget(base.recipe).parameters
    assert base.path is not None
    if not Path(base.path).exists():
        return None
    from math import prod

    from spectra.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(base.path)
    try:
        return sum(prod(info.shape) for name, info in checkpoint.tensors.items() if name not in checkpoint.aliases)
    finally:
        checkpoint.close()


def _base(base: Base, count: int | None) -> Estimate:
    if base.recipe is None or count is None:
        return Estimate(
            parameters=count, tokens=0, flop=0.0, gpu_hours=0.0, memory_gb=None if count is None else 4 * count / 1e9
        )
    from alphadecay.budget import budget

    tokens = budget(base.recipe).tokens
    return _cost(count, tokens, 0, _BYTES[base.recipe.train.precision] * count)


def _tune(cell: Cell, count: int | None) -> Estimate:
    known: Mapping[str, Any] = cell.config["finetune"]
    train, lora = known["train"], known["lora"]
    examples = train["steps"] * train["batch_size"] if train["steps"] is not None else None
    if examples is None:
        rows = _rows(cell.task, known["tasks_dir"], known["data"])
        rows = min(rows, known["limit"]) if rows is not None and known["limit"] is not None else rows
        examples = None if rows is None else int(rows * train["epochs"])
    trained = None if examples is None else examples * TOKENS
    evaluations = [cell.config["evaluate"], *cell.config["stability"].values()]
    scored = sum(_evaluation_tokens(one, known["tasks_dir"]) or 0 for one in evaluations)
    size = None if count is None else (4.5 if lora["rank"] else _BYTES[train["precision"]]) * count
    return _cost(count, trained, scored, size)


def _rows(task: str, folder: str | None, data: str | None) -> int | None:
    """Training rows: the paper's, else upstream's; None where local data are named."""
    from plasticity.tasks.registry import get

    if data is not None:
        return None
    header = get(task, Path(folder) if folder else None).header
    found = header.paper_rows.get("train")
    return found if found is not None else sum(source.rows or 0 for source in header.train) or None


def _evaluation_tokens(known: Mapping[str, Any], folder: str | None) -> int | None:
    from plasticity.tasks.registry import get

    header = get(known["task"], Path(folder) if folder else None).header
    questions = header.paper_rows.get("test") or sum(source.rows or 0 for source in header.test) or None
    if questions is None:
        return None
    questions = min(questions, known["limit"] or questions)
    each = 4 if header.kind == "cloze" else 1 if header.kind == "safety" else 1 + known["samples"]
    return int(questions) * each * TOKENS


def _cost(count: int | None, trained: int | None, scored: int | None, size: float | None) -> Estimate:
    memory = None if size is None else size / 1e9
    if count is None or trained is None or scored is None:
        return Estimate(parameters=count, tokens=None, flop=None, gpu_hours=None, memory_gb=memory)
    training, scoring = 6.0 * count * trained, 2.0 * count * scored
    hours = (training / (PEAK * TRAINING) + scoring / (PEAK * GENERATING)) / 3600
    return Estimate(
        parameters=count, tokens=trained + scored, flop=training + scoring, gpu_hours=hours, memory_gb=memory
    )
