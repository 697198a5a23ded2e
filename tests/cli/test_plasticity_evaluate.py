"""`plasticity evaluate` as a user runs it: output, files, exit codes; and the whole way from nothing to a score."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest
from spectra_cli import evaluate_terminal

from plasticity.scores import ScoreValue
from plasticity.task_result import TaskResult
from tests.cli.test_plasticity import env, plasticity, refused  # noqa: F401 -- a fixture


def test_what_is_printed_is_in_the_file(env: dict[str, str], tmp_path: Path) -> None:  # noqa: F811
    from alphadecay.data import DataConfig, prepare
    from tests.alphadecay.conftest import tiny_llama

    tiny_llama(vocab_size=400, max_position_embeddings=160).save_pretrained(tmp_path / "base")
    prepare(DataConfig(vocab_size=400, window=32, max_tokens=2000)).tokenizer.save_pretrained(tmp_path / "base")
    asked = ("evaluate", "--task", "toy_arithmetic", "--model", tmp_path / "base", "--limit", 6, "--samples", 2)
    found = plasticity(env, *asked, "--max-tokens", 8, "--out", tmp_path / "out")
    assert found.returncode == 0, found.stderr
    made = json.loads((tmp_path / "out" / "result.json").read_text())
    for name, score in made["scores"].items():
        line = next(line for line in found.stdout.splitlines() if line.startswith(name))
        if score["value"] is not None:
            assert f"{score['value']:.4f}" in line and line.split()[-1] == str(score["n"])
    assert "rm@2, orm_score: no reward model was named" in found.stdout
    assert f"wrote {tmp_path / 'out' / 'result.json'}" in found.stdout.replace("\n", "")
    assert "6 of 6 questions" in found.stderr and "6 of 6" not in found.stdout
    refused(plasticity(env, *asked, "--max-tokens", 8, "--out", tmp_path / "out"), "--resume")


def test_remarks_of_a_result_and_a_run_that_says_little_of_itself(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What a reader must know is printed: made-up turns, empty texts with rewards, cut contexts, and how little a run says."""
    counts = {
        "responses": 8, "finish": {"stop": 8}, "notes": {}, "questions_too_long": 0, "no_answer": 1, "undecided": 2, "new_turns": 3,
        "answers_after_new_turn": 1, "rewards_truncated": 0, "rewards_of_no_text": 4,
    }  # fmt: skip
    made = TaskResult(
        checkpoint={"source": "m", "trained": {"task": None, "examples": None}}, task="t", task_version=1, profile="default",
        seed=0, n_questions=4, scores={}, counts={"samples": counts, "likelihoods": {"scored": 64, "contexts_cut": 5}},
        settings={"lm_eval": {"max_length": 2048}},
    )  # fmt: skip
    evaluate_terminal.print_result(made, tmp_path)
    said = capsys.readouterr().out
    for line in (
        "fine-tuned on a task that it does not name\n",
        "samples: 2 comparisons of answers ran out of time and count as not equal",
        "samples: 3 responses go on with a new turn, Human:, of their own; the answer of 1 is from after it",
        "samples: 4 responses without text got a reward like any other",
        "5 of 64 likelihoods are of contexts cut to fit into 2,048 tokens",
    ):
        assert line in said


def test_which_rows_were_scored_and_which_were_not_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    counts = {
        "responses": 50, "finish": {"stop": 37, "too_long": 13}, "notes": {}, "questions_too_long": 13, "no_answer": 13,
        "undecided": 0,
    }  # fmt: skip
    data = {"source": ("sst2/dev.jsonl",), "rows_read": 50, "kept": 50, "dropped": {}}
    made = TaskResult(
        checkpoint={"source": "m"}, task="t", task_version=1, profile="default", seed=0, n_questions=50, scores={},
        counts={"greedy": counts, "samples": counts}, data=data, settings={},
    )  # fmt: skip
    evaluate_terminal.print_result(made, tmp_path)
    said = capsys.readouterr().out
    assert said.count("\n13 of 50 questions were not asked (prompt too long) and count as wrong\n") == 1
    assert "\ndata: 50 rows of sst2/dev.jsonl\n" in said
    some = data | {"source": tuple("abcde"), "rows_read": 872, "dropped": {"beyond the limit of 50": 822}}
    score = ScoreValue(value=1.0, ci95=None, n=37)
    evaluate_terminal.print_result(dataclasses.replace(made, data=some, scores={"harmfulness": score}), tmp_path)
    said = capsys.readouterr().out
    assert "\ndata: 872 rows of a, b, c and 2 more read, 50 kept; 822 beyond the limit of 50\n" in said
    assert "not asked (prompt too long) and have no score" in said


def test_an_unknown_task_names_the_nearest(env: dict[str, str], tmp_path: Path) -> None:  # noqa: F811
    refused(plasticity(env, "evaluate", "--task", "metamath", "--out", tmp_path / "x", "--quiet"), "metamathqa")


@pytest.mark.slow
def test_from_nothing_to_a_score(env: dict[str, str], tmp_path: Path) -> None:  # noqa: F811
    """Pretrained, fine-tuned and scored before and after, with the control from random weights beside it (issue 5, Shows 1)."""
    del env["OMP_NUM_THREADS"]
    started = time.monotonic()
    done = plasticity(env, "pretrain", "--preset", "tiny", "--out", tmp_path / "base", "--quiet")
    assert done.returncode == 0, done.stderr
    checkpoint = max((tmp_path / "base").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    tune = ("finetune", "--task", "toy_arithmetic", "--model", checkpoint, "--quiet", "--out")
    for name, more in (("tuned", ()), ("scratch", ("--from-scratch",))):
        done = plasticity(env, *tune, tmp_path / name, *more)
        assert done.returncode == 0, done.stderr
    scores = {}
    for name, model in (("before", checkpoint), ("tuned", tmp_path / "tuned" / "checkpoint-400"),
                        ("scratch", tmp_path / "scratch" / "checkpoint-400")):  # fmt: skip
        out = tmp_path / f"{name}-scores"
        done = plasticity(
            env, "evaluate", "--task", "toy_arithmetic", "--model", model, "--samples", 0, "--out", out, "--quiet"
        )
        assert done.returncode == 0, done.stderr
        scores[name] = json.loads((out / "result.json").read_text())
    assert time.monotonic() - started < 1200  # 4 minutes on two idle cores
    values = {name: made["scores"]["greedy"]["value"] for name, made in scores.items()}
    assert values["before"] < 0.05 and values["tuned"] > 0.6
    assert scores["tuned"]["checkpoint"]["trained"]["overlap_with_test"] == 0
    assert scores["scratch"]["checkpoint"]["trained"]["from_scratch"] is True
    assert scores["tuned"]["n_questions"] == 500
