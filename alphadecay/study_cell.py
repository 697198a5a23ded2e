"""One cell of a study: train it on one thread, measure the final weights, and say everything about it as plain data."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.errors import SpectraError

from . import fields
from .study_plan import Cell

if TYPE_CHECKING:
    from .train import TrainResult

SCHEMA_VERSION = 1
Say = Callable[[str], None]


def about(cell: Cell) -> dict[str, Any]:
    """What names a cell in its record, whether it ends well or not."""
    recipe = fields.plain(cell.recipe)
    return {
        "schema_version": SCHEMA_VERSION,
        "key": cell.key,
        "part": cell.part,
        "arm": cell.arm,
        "base": cell.base,
        "seed": cell.seed,
        "phase": cell.phase,
        "order_seed": cell.seed,
        "recipe": {key: value for key, value in recipe.items() if key not in ("name", "description", "source")},
    }


def run(cell: Cell, say: Say) -> dict[str, Any]:
    """Train a cell in a temporary folder and return its record; checkpoints are not kept.

    The loop is that of `alphadecay.train`. The seed decides initial weights and data order; corpus, split and validation windows
    are the same in every cell (`data.seed`), so that arms pair over seeds.

    Raises:
        SpectraError: the recipe cannot be run, or its loss is not finite.
    """
    from alphadecay.budget import budget
    from alphadecay.callback import LOG
    from alphadecay.data_windows import order
    from alphadecay.objective import objective
    from alphadecay.train import train

    started = time.perf_counter()
    task = objective(cell.recipe, lambda _: None)
    windows = task.train
    task = replace(task, order=lambda epoch: order(windows, cell.seed, epoch))
    count = budget(cell.recipe, len(windows))
    with tempfile.TemporaryDirectory(prefix="study-") as folder:
        out = Path(folder)
        ended = train(cell.recipe, out, message=say, task=task)
        log = out / LOG
        decays = _decays(ended, log.read_text(encoding="utf-8").splitlines() if log.is_file() else [])
    if ended.eval_loss is None:
        raise SpectraError("The run has no finite validation loss. Set train.eval_windows above 0, or lower train.lr.")
    return about(cell) | {
        "status": "done",
        "eval": {name.removeprefix("eval_"): value for name, value in ended.eval_metrics.items()},
        "train_loss": ended.train_loss,
        "parameters": count.parameters,
        "steps": count.steps,
        "tokens": count.tokens,
        "seconds": round(time.perf_counter() - started, 1),
        "alphas": {"hill": alphas(task.model), "hill_null_corrected": alphas(task.model, null_corrected=True)},
        "decay": decays,
        "provenance": ended.provenance,
    }


def alphas(model: Any, *, null_corrected: bool = False) -> dict[str, Any]:
    """Hill alphas of a model's modules as they are now: each, their spread, and the mean of every role.

    `sd` is over modules (n - 1); modules without an alpha are left out and counted in `without`.
    """
    from alphadecay.measure import Measurer
    from alphadecay.modules import find_modules, unwrap
    from alphadecay.scores import Meter, ScoreOptions

    plain = unwrap(model)
    modules = find_modules(plain)
    meter = Meter(ScoreOptions(null_corrected=null_corrected), modules)
    scores = Measurer(modules, dict(plain.named_parameters()), meter, 1).now()
    found = {name: score.value for name, score in scores.items() if score.value is not None}
    roles: dict[str, list[float]] = {}
    for module in modules:
        if module.name in found:
            roles.setdefault(module.role, []).append(found[module.name])
    return {
        **_spread(found.values()),
        "without": len(modules) - len(found),
        "roles": {role: statistics.fmean(values) for role, values in roles.items()},
        "modules": found,
    }


def _spread(values: Iterable[float]) -> dict[str, float | int | None]:
    held: Sequence[float] = list(values)
    return {
        "n": len(held),
        "mean": statistics.fmean(held) if held else None,
        "sd": statistics.stdev(held) if len(held) > 1 else None,
        "min": min(held) if held else None,
        "max": max(held) if held else None,
    }


def _decays(ended: TrainResult, lines: Sequence[str]) -> dict[str, Any]:
    """Decays of the tuned modules (of all parameters, where a policy tunes none) at the end, and their range over the run."""
    last = list(ended.decays.values()) or [ended.base_decay]
    logged = [record["decay"] for record in map(json.loads, lines) if "decay" in record]
    over = [value for value in [*logged, *last] if math.isfinite(value)]
    return {"last": _spread(last), "least": min(over), "greatest": max(over), "others": ended.base_decay}
