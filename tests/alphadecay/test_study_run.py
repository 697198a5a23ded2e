"""Studies as a user runs them: worker processes, a kill, a resume, a run that fails, a worker that dies, the report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alphadecay import study, study_plan, study_run

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-c", "from spectra_cli.plasticity_app import main; main()")
TEXT = """
description: A test
recipe:
  model:
    settings: {hidden_size: 32, intermediate_size: 48, num_attention_heads: 4, num_hidden_layers: 1, max_position_embeddings: 32}
  data: {source: embedded, vocab_size: 300, window: 32, max_tokens: 20000, validation: 0.1}
  train: {steps: 3, batch_size: 4, lr: 0.01, eval_every: 0, eval_windows: 8, save_every: 0}
  decay: {gap: 2}
tuning_seed: 0
seeds: [1]
reference: uniform
focus: alphadecay
arms:
  uniform: {decay.policy: uniform}
  alphadecay: {decay.policy: alphadecay}
parts:
  adamw:
    change: {}
    bases: {uniform: [0.1], alphadecay: [0.1]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "test.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def start(*args: object) -> subprocess.Popen[str]:
    command = [*PROGRAM, "study", *(str(arg) for arg in args)]
    env = os.environ | {"COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=ROOT)


def ended(*args: object) -> tuple[int, str, str]:
    process = start(*args)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def cells(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def until(condition: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_a_killed_study_goes_on_and_its_workers_stop(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(file, "--out", out, "--workers", 1)
    until(lambda: len(cells(out)) >= 1)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 60)
    before = cells(out)
    assert 1 <= len(before) < 4
    code, printed, said = ended(file, "--out", out, "--workers", 1)
    assert code == 0, said
    assert "4 runs done, 0 failed" in printed
    assert f"{len(before)} of 4 cells are done already" in said
    after = cells(out)
    assert len(after) == 4 and {name: after[name] for name in before} == before
    assert not list(out.rglob("*.tmp"))
    code, printed, said = ended("--report", out)
    assert code == 0 and printed.startswith("# test")
    assert "4 of 4 runs done." in (out / "results.md").read_text(encoding="utf-8")
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["provenance"]["threads"] == 1


def test_a_failed_run_is_recorded_stops_nothing_and_is_tried_again(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = TEXT.replace("{decay.policy: alphadecay}", "{decay.policy: alphadecay, train.warmup: 10}")
    file.write_text(text, encoding="utf-8")
    for workers in (2, 1):
        code, printed, said = ended(file, "--out", out, "--workers", workers)
        assert code == 1
        assert "2 runs done, 1 failed" in printed
        assert "failed: adamw alphadecay base 0.1 seed 0: train.warmup = 10" in said
    records = study_run.records(out)
    assert sorted(r["status"] for r in records) == ["done", "done", "failed"]
    assert next(r for r in records if r["status"] == "failed")["reason"].startswith("train.warmup = 10")
    _, printed, _ = ended("--report", out)
    assert "Failed: alphadecay, base 0.1, seed 0 (train.warmup = 10" in printed
    assert "no pairs yet" in printed


def test_a_worker_that_dies_is_a_failed_run_and_the_others_go_on(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    long = "{decay.policy: alphadecay, train.steps: 100000}"
    file.write_text(TEXT.replace("{decay.policy: alphadecay}", long), encoding="utf-8")
    process = start(file, "--out", out, "--workers", 1)
    assert process.stderr is not None
    while "begins: adamw alphadecay" not in process.stderr.readline():
        assert process.poll() is None
    until(lambda: cells(out))  # the worker has done something before
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "2 runs done, 1 failed" in printed
    (record,) = [one for one in study_run.records(out) if one["status"] == "failed"]
    assert record["arm"] == "alphadecay" and "exit code -9" in record["reason"]


def test_dry_run_and_list_write_nothing(file: Path, tmp_path: Path) -> None:
    code, printed, _ = ended(file, "--dry-run")
    assert code == 0 and "4 runs of 3 steps" in printed
    code, printed, _ = ended()
    assert code == 0 and "study_alphadecay_small" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.yaml"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["FILE"], "--out is missing"),
        (["FILE", "--out", "OUT", "--workers", "0"], "--workers 0"),
        (["FILE", "--out", "FILE"], "Cannot make the folder"),
        (["FILE", "--part", "sgd", "--out", "OUT"], "no part 'sgd'"),
        (["FILE", "--report", "OUT"], "--report DIR reads that folder alone"),
        (["--report", "OUT"], "holds no study"),
        (["nothing"], "No study 'nothing'"),
    ],
)
def test_what_is_wrong_is_said(args: list[str], said: str, file: Path, tmp_path: Path) -> None:
    places = {"FILE": str(file), "OUT": str(tmp_path / "out")}
    code, _, error = ended(*(places.get(arg, arg) for arg in args))
    assert code == 2 and error.startswith("error: ") and said in error
    assert error.count("\n") == 1


def test_a_report_of_nothing_says_so(file: Path, tmp_path: Path) -> None:
    study_run.begin(tmp_path, study.load(str(file)))
    code, _, error = ended("--report", tmp_path)
    assert code == 2 and "nothing to report" in error
    assert sum(study_plan.count(study.load(str(file)))) == 4
