"""What an evaluation ends with: one JSON a (checkpoint, task, version, profile, seed). Names in it are part of the interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plasticity.result_file import ResultFile
from plasticity.scores import ScoreValue
from spectra import atomic

NAME = "result.json"
FILE = ResultFile(
    name=NAME, format="plasticity.task", version=1, command="plasticity evaluate",
    remake="Evaluate again with --resume: responses that are there are not generated again",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part:
    """Scores over the questions of one share of a pooled test set."""

    n_questions: int
    scores: Mapping[str, ScoreValue]


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """Scores of a checkpoint on a task, and all that is needed to trust and repeat them.

    Attributes:
        checkpoint: `source`, `weights_sha256`, `config_sha256`, `tokenizer_sha256`, `parameters`, `revision` (of the hub); `base`:
            the same of an adapter's base; `served`, `verified`: whether a server had the weights, and whether they were
            looked at here; `trained`: the fine-tuning run that the checkpoint is of, where it says so; `remarks`.
        task, task_version, profile, seed: what was asked, and how.
        n_questions: how many.
        scores: name -> value, 95% interval by bootstrap over questions, and the number of questions it is over.
        parts: the same by part, of a pooled test set.
        baseline: score -> what guessing gets, where that is known.
        missing: score -> why it was not measured.
        counts: of `greedy` and `samples` the responses by how they ended (`finish`), without an answer (`no_answer`), comparisons
            that ran out of time (`undecided`), responses that go on with a turn of their own (`new_turns`), ...; of a cloze task
            the `likelihoods` scored, and those whose context was cut.
        data: what came of loading the questions (`plasticity.tasks.report.LoadReport`).
        settings: how responses were drawn and rewarded; of a cloze task what lm-eval was told.
        files: what else lies beside the result.
        provenance: versions, commit, device, precision, threads, seconds, time.
    """

    checkpoint: Mapping[str, Any]
    task: str
    task_version: int | str
    profile: str
    seed: int
    n_questions: int
    scores: Mapping[str, ScoreValue]
    parts: Mapping[str, Part] = field(default_factory=dict)
    baseline: Mapping[str, float | None] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


def make_folder(out: Path) -> None:
    """The folder of an evaluation, once its inputs are known to be good; raises `SpectraError` where it cannot be made."""
    atomic.make_folder(out, "Name another with --out.")


def write_result(result: TaskResult, path: Path) -> None:
    """Write it whole, or not at all; raises `SpectraError` where it cannot be written."""
    FILE.write(result, path)


def read_result(path: Path) -> TaskResult:
    """The result in a file, or in the folder of an evaluation.

    Raises:
        SpectraError: not there, not a result, of another schema version, or damaged.
    """
    made = FILE.read(path)
    with FILE.shaped(path):
        made["scores"] = _scores(made["scores"])
        made["parts"] = {
            name: Part(n_questions=part["n_questions"], scores=_scores(part["scores"]))
            for name, part in made["parts"].items()
        }
        made["files"] = tuple(made["files"])
        return TaskResult(**made)


def _scores(made: Mapping[str, Any]) -> dict[str, ScoreValue]:
    return {
        name: ScoreValue(
            value=score["value"], ci95=None if score["ci95"] is None else tuple(score["ci95"]), n=score["n"]
        )
        for name, score in made.items()
    }
