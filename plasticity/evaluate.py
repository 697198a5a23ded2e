"""Score a checkpoint on a task, and leave one JSON with all that is needed to trust the scores.

Generation tasks: responses (`generate`), answers (`grading`), rewards (`reward`), scores. Cloze tasks: lm-eval (`cloze`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plasticity.evaluate_config import LM_EVAL, EvaluateConfig
from plasticity.task_result import NAME, TaskResult, read_result, write_result
from spectra.errors import SpectraError

Say = Callable[[str], None]


def evaluate(
    config: EvaluateConfig, out: Path | None = None, *, resume: bool = False, message: Say | None = None
) -> TaskResult:
    """Evaluate, and write `result.json` and what it is made of into the folder `out` (None: `default_out(config)`).

    Args:
        resume: go on where an earlier, killed evaluation with the same configuration was; what is there is not generated again.
        message: is told of progress.

    Raises:
        SpectraError: model, task, data and engine do not go together; the folder holds another evaluation.
    """
    from plasticity import evaluate_cloze, evaluate_generation, evaluate_previous
    from plasticity.tasks.registry import get

    began = time.perf_counter()
    say = message or (lambda _: None)
    task = None if config.lm_eval else get(config.task, Path(config.tasks_dir) if config.tasks_dir else None)
    folder = out if out is not None else default_out(config)
    if not resume and (folder / NAME).exists():
        raise SpectraError(
            f"{folder} already holds an evaluation. Name another folder with --out, or --resume to score what is there again."
        )
    there = evaluate_previous.previous(folder)
    if there is not None:
        evaluate_previous.check_asked(there, config, folder)
    judged = task is not None and task.header.kind != "cloze"
    if task is None or not judged:
        made = evaluate_previous.fresh(folder, lambda out: evaluate_cloze.evaluate(config, task, out, say), there)
    else:
        made = evaluate_generation.evaluate(config, task, folder, resume, say)
        if there is not None:
            evaluate_previous.check_same(there, made, folder)
    seconds = time.perf_counter() - began
    result = dataclasses.replace(made, provenance=_provenance(made.provenance, config, seconds, judged))
    write_result(result, folder / NAME)
    return read_result(folder)  # what is shown is what is in the file


def default_out(config: EvaluateConfig) -> Path:
    """`evaluations/<model>/<task>`, with profile and seed where they are not the usual ones."""
    path = Path(config.model).expanduser()
    path = path.resolve() if path.exists() else path
    local = [part for part in path.parts[-2:] if part not in {"/", "..", "."}]
    model = "-".join(local) if path.exists() else config.model
    name = config.task.replace(LM_EVAL, "lm-eval-")
    name += f"-{config.profile}" if config.profile != "default" else ""
    name += f"-seed{config.seed}" if config.seed else ""
    return Path("evaluations") / re.sub(r"[^\w.-]+", "-", model).strip("-.") / re.sub(r"[^\w.-]+", "-", name)


def _provenance(found: Mapping[str, Any], config: EvaluateConfig, seconds: float, judged: bool) -> dict[str, Any]:
    """Versions of all that is in use; `judged`: by comparing answers, for which worker processes import math-verify."""
    import sys
    from importlib.metadata import PackageNotFoundError, version

    from spectra.provenance import now, software

    versions = software()
    for name in ("transformers", "tokenizers", "datasets", "peft", "lm_eval"):
        if name in sys.modules:
            versions["libraries"][name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    if judged:
        with contextlib.suppress(PackageNotFoundError):
            versions["libraries"]["math_verify"] = version("math-verify")
    return {
        **versions, **found, "config": dataclasses.asdict(config), "seconds": round(seconds, 3), "finished_at": now(),
    }  # fmt: skip
