"""Resuming over a result: the same evaluation replaces it, another one leaves all files as they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plasticity import evaluate_cloze
from plasticity.evaluate import default_out, evaluate
from plasticity.evaluate_config import EvaluateConfig
from plasticity.evaluate_previous import previous
from plasticity.identity import files
from plasticity.scores import ScoreValue
from plasticity.task_result import TaskResult, read_result
from spectra.errors import SpectraError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    return folder


def stub(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[Path]:
    """In the place of lm-eval: a result of the files that are there, and one file beside it."""
    asked: list[Path] = []

    def made(config: EvaluateConfig, task: Any, out: Path, say: Any) -> TaskResult:
        asked.append(out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "answers.jsonl").write_text(json.dumps(changes, default=vars))
        found = TaskResult(
            checkpoint={"source": config.model, "tokenizer_sha256": "t", "revision": None, **files(config.model)},
            task=config.task, task_version=1, profile=config.profile, seed=config.seed, n_questions=4,
            scores={"acc": ScoreValue(value=0.5, ci95=None, n=4)}, data={"fingerprint": "d"}, files=("answers.jsonl",),
        )  # fmt: skip
        return replace(found, **changes)

    monkeypatch.setattr(evaluate_cloze, "evaluate", made)
    return asked


def test_only_the_same_evaluation_replaces_a_result(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = EvaluateConfig(task="arc_easy", model=str(model)), tmp_path / "out"
    asked = stub(monkeypatch)
    evaluate(config, out, resume=True)
    assert asked == [out]
    stub(monkeypatch, scores={"acc": ScoreValue(value=0.75, ci95=None, n=4)})
    assert evaluate(config, out, resume=True).scores["acc"].value == 0.75
    assert {path.name for path in out.iterdir()} == {"answers.jsonl", "result.json"}
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert b"0.75" in before["answers.jsonl"]

    asked = stub(monkeypatch)
    for given, said in (
        ({"task": "hellaswag"}, r"task \(arc_easy there, hellaswag here\)"),
        ({"seed": 3}, r"seed \(0 there, 3 here\)"),
    ):
        with pytest.raises(SpectraError, match=said):
            evaluate(replace(config, **given), out, resume=True)
    for name, content in (("model.safetensors", "other"), ("config.json", '{"rope_theta": 5}')):
        was = (model / name).read_bytes()
        (model / name).write_text(content)
        with pytest.raises(SpectraError, match=r"(weights|config)_sha256"):
            evaluate(config, out, resume=True)
        (model / name).write_bytes(was)
    assert asked == []  # all seen before any work
    for changes, said in (
        ({"data": {"fingerprint": "e"}}, r"data \(d there, e here\)"),
        ({"n_questions": 3}, r"questions \(4 there, 3 here\)"),
        ({"task_version": 2}, "task_version"),
    ):
        stub(monkeypatch, **changes)
        with pytest.raises(SpectraError, match=said):
            evaluate(config, out, resume=True)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_result_of_an_older_version_is_made_anew_and_a_file_of_others_is_not_touched(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(monkeypatch)
    config, path = EvaluateConfig(task="arc_easy", model=str(model)), tmp_path / "result.json"
    path.write_text('{"accuracy": 1}')
    with pytest.raises(SpectraError, match="is not a result of plasticity evaluate"):
        evaluate(config, tmp_path, resume=True)
    path.write_text(json.dumps({"format": "plasticity.task", "schema_version": 0}))
    assert previous(tmp_path) is None
    evaluate(config, tmp_path, resume=True)
    assert read_result(path).n_questions == 4


def test_versions_name_what_compared_answers(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import version

    from plasticity import evaluate_generation

    config = EvaluateConfig(task="arc_easy", model=str(model))
    stub(monkeypatch)
    assert "math_verify" not in evaluate(config, tmp_path / "cloze").provenance["libraries"]
    monkeypatch.setattr(
        evaluate_generation,
        "evaluate",
        lambda config, task, out, resume, say: evaluate_cloze.evaluate(config, task, out, say),
    )
    made = evaluate(replace(config, task="toy_arithmetic"), tmp_path / "generation")
    assert made.provenance["libraries"]["math_verify"] == version("math-verify")


def test_the_default_folder_of_a_model_here_has_its_name(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model)
    named = default_out(EvaluateConfig(task="arc_easy", model="."))
    assert named == Path("evaluations") / f"{model.parent.name}-model" / "arc_easy"
    assert default_out(EvaluateConfig(task="arc_easy", model=str(model))) == named
