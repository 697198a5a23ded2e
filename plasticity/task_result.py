"""What an evaluation ends with: one JSON a (checkpoint, task, version, profile, seed). Names in it are part of the interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from plasticity.scores import ScoreValue
from spectra.errors import SpectraError

FORMAT, SCHEMA_VERSION = "plasticity.task", 1
NAME = "result.json"


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
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpectraError(
            f"Cannot make the folder {out}: {error.strerror or error}. Name another with --out."
        ) from error


def write_result(result: TaskResult, path: Path) -> None:
    """Write it whole, or not at all; raises `SpectraError` where it cannot be written."""
    from spectra.atomic import write_text

    made = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(result)}
    write_text(path, json.dumps(made, indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> TaskResult:
    """The result in a file, or in the folder of an evaluation.

    Raises:
        SpectraError: not there, not a result, or of another schema version.
    """
    where = path / NAME if path.is_dir() else path
    try:
        made: dict[str, Any] = json.loads(where.read_text(encoding="utf-8"))
        found = (made.pop("format"), made.pop("schema_version"))
    except OSError as error:
        raise SpectraError(
            f"Cannot read {where}: {error.strerror or error}. Name the {NAME} of plasticity evaluate, or its folder."
        ) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise SpectraError(
            f"{where} is not a result of plasticity evaluate. Name its {NAME}, or its folder."
        ) from error
    if found != (FORMAT, SCHEMA_VERSION):
        raise SpectraError(
            f"{where} has format {found[0]} version {found[1]}; this program reads {FORMAT} version {SCHEMA_VERSION}. "
            "Evaluate again with --resume: responses that are there are not generated again."
        )
    try:
        made["scores"] = _scores(made["scores"])
        made["parts"] = {
            name: Part(n_questions=part["n_questions"], scores=_scores(part["scores"]))
            for name, part in made["parts"].items()
        }
        made["files"] = tuple(made["files"])
        return TaskResult(**made)
    except (KeyError, TypeError, AttributeError) as error:
        raise SpectraError(f"{where} is damaged: {error}. Evaluate again with --resume.") from error


def _scores(made: Mapping[str, Any]) -> dict[str, ScoreValue]:
    return {
        name: ScoreValue(
            value=score["value"], ci95=None if score["ci95"] is None else tuple(score["ci95"]), n=score["n"]
        )
        for name, score in made.items()
    }
