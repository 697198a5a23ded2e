"""An experiment's folder as `plasticity run` leaves it, written by hand: nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plasticity import experiment, experiment_cell, experiment_plan, experiment_run
from plasticity.experiment_plan import Cell
from plasticity.probe_result import BestLayer, Layer, ProbeResult, SeedFit, TaskProbe, write_result
from plasticity.scores import mean_score
from spectra.track import Place, Track
from spectra.tracking import write_track
from spectra.types import SCHEMA_VERSION

TOKENIZER = "t" * 64
CLOZE = frozenset({"piqa", "winogrande", "hellaswag"})
Flags = Callable[[Cell], list[int]]


def write(out: Path, text: str, *, flags: Flags, measured: Callable[[Cell], Mapping[str, Any]]) -> list[Cell]:
    """Every cell done.

    Args:
        flags: right or wrong, by question, of a `before` or `tune` cell.
        measured: numbers of a base, and `stability` of a `tune` cell: flags by question, the same for all benchmarks.
    """
    found = experiment.from_yaml(text, "test", "test")
    experiment_run.begin(out, found)
    cells = experiment_plan.cells(found)
    for cell in cells:
        result = _RESULTS[cell.kind](out, cell, flags, measured(cell))
        record(out, cell, {"status": "done", "seconds": 2.0, "result": result})
    return cells


def record(out: Path, cell: Cell, more: Mapping[str, Any]) -> None:
    """A cell's record."""
    where = experiment_cell.folder(out, cell)
    where.mkdir(parents=True, exist_ok=True)
    (where / "cell.json").write_text(json.dumps(experiment_cell.about(cell) | dict(more)), encoding="utf-8")


def answers(where: Path, flags: list[int], task: str, tokenizer: str = TOKENIZER) -> dict[str, Any]:
    """`answers.jsonl` and `result.json` of an evaluation: one sample a question, right where the greedy answer is."""
    where.mkdir(parents=True, exist_ok=True)
    about = {"checkpoint": {"tokenizer_sha256": tokenizer}, "provenance": {"commit": "abc"}}
    (where / "result.json").write_text(json.dumps(about), encoding="utf-8")
    values = [float(flag) for flag in flags]
    if task in CLOZE:
        told = [{"task": task, "id": f"q{n}", "metrics": {"acc": value}} for n, value in enumerate(values)]
        (where / "answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in told), encoding="utf-8")
        return {"scores": {"acc": vars(mean_score(values))}, "n_questions": len(flags)}
    lines = [
        {
            "id": f"q{n}", "part": "", "question_sha256": f"{task}{n}", "gold": "1",
            "greedy": {"answer": "1", "correct": bool(flag)}, "samples": [{"answer": "1", "correct": bool(flag)}] * 2,
            "majority": {"answer": "1", "correct": bool(flag)},
        }
        for n, flag in enumerate(flags)
    ]  # fmt: skip
    (where / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    made = {
        "greedy": mean_score(values),
        "pass@2": mean_score(values),
        "correct_ratio": mean_score([v for v in values if v]),
    }
    return {"scores": {name: vars(score) for name, score in made.items()}, "n_questions": len(flags)}


def _base(out: Path, cell: Cell, flags: Flags, numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {"checkpoint": "bases/x", "parameters": 1000, "eval_loss": numbers["loss"], "provenance": {"commit": "abc"}}


def _before(out: Path, cell: Cell, flags: Flags, numbers: Mapping[str, Any]) -> dict[str, Any]:
    where = experiment_cell.folder(out, cell) / "scores"
    return answers(where, flags(cell), cell.task, numbers.get("tokenizer", TOKENIZER))


def _tune(out: Path, cell: Cell, flags: Flags, numbers: Mapping[str, Any]) -> dict[str, Any]:
    where = experiment_cell.folder(out, cell)
    made = answers(where / "scores", flags(cell), cell.task, numbers.get("tokenizer", TOKENIZER))
    kept = numbers.get("stability", [1, 0, 1, 0])
    stability = {task: answers(where / "stability" / task, kept, task) for task in cell.config["stability"]}
    return made | {"train_loss": 1.0, "steps": 2, "stability": stability}


def _probe(out: Path, cell: Cell, flags: Flags, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """`probe`: of all tasks, or by task; a task that is not in it is not there."""
    told = numbers["probe"]
    wanted = told if isinstance(told, Mapping) else dict.fromkeys(cell.task.split(","), told)
    return {"results": {task: _probed(out, cell, task, test, numbers) for task, test in wanted.items()}}


def _probed(out: Path, cell: Cell, of: str, test: float, numbers: Mapping[str, Any]) -> str:
    path = experiment_cell.folder(out, cell) / "probe" / of / "probe.json"
    path.parent.mkdir(parents=True)
    fit = SeedFit(
        seed=0, c=1.0, train_accuracy=1.0, validation_accuracy=test, test_accuracy=test, status="ok", iterations=1,
        not_converged=0,
    )  # fmt: skip
    layer = Layer(
        layer=0, train_accuracy=1.0, train_accuracy_sd=None, validation_accuracy=test, validation_accuracy_sd=None,
        test_accuracy=test, test_accuracy_sd=None, test_accuracy_ci95=(0.0, 1.0), c=(1.0,),
        status=numbers.get("converged", "ok"), seeds=(fit,),
    )  # fmt: skip
    best = BestLayer(
        layer=0, validation_accuracy=test, test_accuracy=test, test_accuracy_sd=None, test_accuracy_ci95=(0.0, 1.0)
    )
    task = TaskProbe(
        task=of, task_version=1, classes=("a", "b"), majority=0.5, majority_class="a", n_train=1, n_validation=1,
        n_test=1, best_layer=best, layers=(layer,), counts={}, data={},
    )  # fmt: skip
    checkpoint = {"tokenizer_sha256": numbers.get("tokenizer", TOKENIZER)}
    write_result(ProbeResult(checkpoint=checkpoint, seeds=(0,), tasks=(task,), profiles={}), path)
    return str(path.relative_to(out))


def _gap(out: Path, cell: Cell, flags: Flags, numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {"gap": numbers["gap"], "ci95": [0.0, 1.0], "train_loss": 1.0, "val_loss": 1.0 + numbers["gap"]}


def _spectra(out: Path, cell: Cell, flags: Flags, numbers: Mapping[str, Any]) -> dict[str, Any]:
    path = experiment_cell.folder(out, cell) / "track.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Place(stack="", layer=3, role="q", module="model.layers.3.attn", expert=None, rows=8, cols=8)
    series = {"qk": (1.0, numbers["rank"]), "vp": (1.0, None)}
    made = Track(
        schema_version=SCHEMA_VERSION, provenance={}, steps=(2, 4), sources=("a", "b"), places={"w": place}, matrices={},
        roles={}, circuits={"model.layers.3.attn": series}, norms={"embed": (0.5, 0.25)},
    )  # fmt: skip
    write_track(made, path)
    final = {
        "pseudo_rank_qk": numbers["rank"],
        "pseudo_rank_vp": 1.0,
        "alpha_mean": 3.0,
        "alpha_sd": 0.5,
        "matrices": 4,
    }
    return {"final": final, "steps": [2, 4], "track": str(path.relative_to(out))}


_RESULTS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "base": _base, "before": _before, "tune": _tune, "probe": _probe, "gap": _gap, "spectra": _spectra,
}  # fmt: skip
