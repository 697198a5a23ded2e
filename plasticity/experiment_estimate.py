"""What an experiment will cost, before anything is run: parameters, FLOP, GPU-hours, memory. Rough, and says how.

FLOP: 6 N D for training, 2 N D for generating and reading (N parameters, D tokens). An example, or a prompt with its response, is
taken to have `TOKENS` tokens; a GPU is an H100 (989 TFLOP/s in bf16), of which training and reading get 40% and generation 5%. A
reward model reads every response once; one on the hub has the size that its name says (`8B`). Memory: weights, gradients and both
moments of Adam (16 bytes a parameter; 8 in pure bf16; 4 and a little with LoRA), or the model that is scored and its reward model
(4 bytes, on a GPU 2 of the latter), no activations. Not estimated: the time of probes and spectra, most of it a CPU's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity.experiment import Experiment
from plasticity.experiment_evaluation import elsewhere
from plasticity.experiment_plan import Base, Cell
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from alphadecay.budget import Budget
    from plasticity.tasks.base import Header

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
        return _tune(experiment, cell, count)
    size = None if count is None else 4 * count
    if cell.kind == "before":
        asked = cell.config["evaluate"]
        made = _cost(count, 0, _evaluation_tokens(asked, experiment.tasks_dir), size)
        return _rewarded(experiment, made, [asked], count)
    if cell.kind == "gap" and cell.base.recipe is not None and cell.base.recipe.data is not None:
        read = 2 * cell.config["gap"]["windows"] * cell.base.recipe.data.window  # of either side
        return _read(_cost(count, 0, 0, size), count, read)
    return _cost(count, 0, None, size)


def total(estimates: Sequence[Estimate]) -> tuple[float, int]:
    """GPU-hours of all, and of how many cells they are not known."""
    known = [one.gpu_hours for one in estimates if one.gpu_hours is not None]
    return sum(known), len(estimates) - len(known)


def check_memory(
    experiment: Experiment, cells: Sequence[Cell], estimates: Sequence[Estimate], available: float | None = None
) -> None:
    """Refuse an experiment with a cell that can never be done; arguments as of `refused`.

    Raises:
        SpectraError: names the largest cell, what it needs and what there is; or the task whose data are missing.
    """
    reasons = refused(experiment, cells, estimates, available)
    if reasons:
        worst = max(reasons, key=lambda number: (estimates[number].memory_gb or 0.0, -number))
        more = f" Cells refused besides: {len(reasons) - 1}." if len(reasons) > 1 else ""
        raise SpectraError(f"Cell {cells[worst].label!r} {reasons[worst]}{more}")


def refused(
    experiment: Experiment, cells: Sequence[Cell], estimates: Sequence[Estimate], available: float | None = None
) -> dict[int, str]:
    """Position in `cells` -> why that cell can never be done, to be read after its name; empty: all may.

    Args:
        estimates: of the cells, in their order.
        available: GB; None: `resources.memory_gb`, else that of the GPU, else of this machine.
    """
    room = available or experiment.resources.memory_gb or memory_here()
    lacking = elsewhere(experiment, dict.fromkeys(cell.task for cell in cells if cell.kind in {"before", "tune"}))
    made = {}
    for number, (cell, cost) in enumerate(zip(cells, estimates, strict=True)):
        needs = cost.memory_gb or 0.0
        missing = lacking.get(cell.task)
        if missing is not None:
            made[number] = f"is refused: {missing}"
        elif needs > room:
            made[number] = (
                f"needs about {_size(needs)} for weights, gradients and optimizer alone (or to be scored), and "
                f"there are {_size(room)}. Set lora.rank, take a smaller model or another machine; resources.memory_gb says how "
                "much there is elsewhere."
            )
    return made


def _size(gigabytes: float) -> str:
    return f"{gigabytes:.1f} GB" if gigabytes >= 0.1 else f"{1000 * gigabytes:.2g} MB"


def memory_here() -> float:
    """GB of the GPU where there is one, else of this machine."""
    import os

    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory) / 1e9
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def parameters(base: Base) -> int | None:
    """Parameters of a base; None for one on the hub, which is not asked."""
    if base.recipe is not None:
        return budget_of(base).parameters
    assert base.path is not None
    return _stored(base.path)


def budget_of(base: Base) -> Budget:
    """Counts of a base that is trained; those of equal architecture and length are counted once, for it takes a while."""
    from alphadecay.budget import budget

    recipe = base.recipe
    assert recipe is not None
    train = replace(recipe.train, lr=1.0, seed=0)
    known = (base.architecture, train)
    if known not in _BUDGETS:
        _BUDGETS[known] = budget(recipe)
    return _BUDGETS[known]


_BUDGETS: dict[tuple[str, Any], Budget] = {}
_STORED: dict[str, int | None] = {}


def _stored(path: str) -> int | None:
    """Parameters of a checkpoint here; None where there is none."""
    if path not in _STORED:
        _STORED[path] = _count(path) if Path(path).exists() else None
    return _STORED[path]


def _count(path: str) -> int:
    from math import prod

    from spectra.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(path)
    try:
        return sum(prod(info.shape) for name, info in checkpoint.tensors.items() if name not in checkpoint.aliases)
    finally:
        checkpoint.close()


def _base(base: Base, count: int | None) -> Estimate:
    if base.recipe is None or count is None:
        return Estimate(
            parameters=count, tokens=0, flop=0.0, gpu_hours=0.0, memory_gb=None if count is None else 4 * count / 1e9
        )
    tokens = budget_of(base).tokens
    return _cost(count, tokens, 0, _BYTES[base.recipe.train.precision] * count)


def _tune(experiment: Experiment, cell: Cell, count: int | None) -> Estimate:
    known: Mapping[str, Any] = cell.config["finetune"]
    train, lora = known["train"], known["lora"]
    examples = train["steps"] * train["batch_size"] if train["steps"] is not None else None
    if examples is None:
        rows = _rows(cell.task, known["tasks_dir"], known["data"])
        rows = min(rows, known["limit"]) if rows is not None and known["limit"] is not None else rows
        examples = None if rows is None else int(rows * train["epochs"])
    trained = None if examples is None else examples * TOKENS
    evaluations = [cell.config["evaluate"], *cell.config["stability"].values()]
    tokens = [_evaluation_tokens(one, known["tasks_dir"]) for one in evaluations]
    scored = sum(one or 0 for one in tokens) if None not in tokens else None
    size = None if count is None else (4.5 if lora["rank"] else _BYTES[train["precision"]]) * count
    return _rewarded(experiment, _cost(count, trained, scored, size), evaluations, count)


def _rewarded(
    experiment: Experiment, made: Estimate, asked: Sequence[Mapping[str, Any]], count: int | None
) -> Estimate:
    """With the reward models that score the responses."""
    for one in asked:
        if not _rewards(one, experiment.tasks_dir):
            continue
        size, questions = reward_parameters(one["reward_model"]), _questions(one, experiment.tasks_dir)
        read = None if questions is None else questions * max(1, one["samples"]) * TOKENS
        made = _read(made, size, read)
        if size is not None and count is not None and made.memory_gb is not None:
            both = (4 * count + (2 if experiment.resources.gpus else 4) * size) / 1e9
            made = replace(made, memory_gb=max(made.memory_gb, both))
    return made


def _rewards(known: Mapping[str, Any], folder: str | None) -> bool:
    """Whether a reward model has a part in an evaluation: of choices it has none, nor of greedy responses alone."""
    kind = _header(known["task"], folder).kind
    return known["reward_model"] is not None and (kind == "safety" or (kind == "generation" and known["samples"] > 0))


def reward_parameters(source: str) -> int | None:
    """Parameters of a reward model: of one on the hub as its name says; None: it does not."""
    if Path(source).expanduser().exists():
        return _stored(str(Path(source).expanduser()))
    sizes = re.findall(r"(?<![\w.])(\d+(?:\.\d+)?)[bB](?![a-zA-Z])", source.rpartition("/")[2])
    return int(1e9 * float(sizes[-1])) if sizes else None


def _read(made: Estimate, size: int | None, tokens: int | None) -> Estimate:
    """With tokens that a model of that size reads."""
    if size is None or tokens is None or made.flop is None or made.gpu_hours is None or made.tokens is None:
        return replace(made, tokens=None, flop=None, gpu_hours=None)
    flop = 2.0 * size * tokens
    hours = flop / (PEAK * TRAINING) / 3600
    return replace(made, tokens=made.tokens + tokens, flop=made.flop + flop, gpu_hours=made.gpu_hours + hours)


def _rows(task: str, folder: str | None, data: str | None) -> int | None:
    """Training rows: the paper's, else upstream's; None where local data are named."""
    if data is not None:
        return None
    header = _header(task, folder)
    found = header.paper_rows.get("train")
    return found if found is not None else sum(source.rows or 0 for source in header.train) or None


def _evaluation_tokens(known: Mapping[str, Any], folder: str | None) -> int | None:
    questions, header = _questions(known, folder), _header(known["task"], folder)
    each = 4 if header.kind == "cloze" else 1 if header.kind == "safety" else 1 + known["samples"]
    return None if questions is None else int(questions) * each * TOKENS


def _questions(known: Mapping[str, Any], folder: str | None) -> int | None:
    """Test rows: the paper's, else upstream's; of local data the limit."""
    if known["data"] is not None:
        found: int | None = known["limit"]
        return found
    header = _header(known["task"], folder)
    questions = header.paper_rows.get("test") or sum(source.rows or 0 for source in header.test) or None
    return None if questions is None else min(questions, known["limit"] or questions)


@cache
def _header(task: str, folder: str | None) -> Header:
    """Looked up once: an experiment has hundreds of cells."""
    from plasticity.tasks.registry import get

    return get(task, Path(folder) if folder else None).header


def _cost(count: int | None, trained: int | None, scored: int | None, size: float | None) -> Estimate:
    memory = None if size is None else size / 1e9
    if count is None or trained is None or scored is None:
        return Estimate(parameters=count, tokens=None, flop=None, gpu_hours=None, memory_gb=memory)
    training, scoring = 6.0 * count * trained, 2.0 * count * scored
    hours = (training / (PEAK * TRAINING) + scoring / (PEAK * GENERATING)) / 3600
    return Estimate(
        parameters=count, tokens=trained + scored, flop=training + scoring, gpu_hours=hours, memory_gb=memory
    )
