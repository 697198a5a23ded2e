"""Killed with SIGKILL and resumed, the run ends with the weights of one that was never killed, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from alphadecay import saves

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def run(out: Path, kills: int, seed: int = 0, processes: int = 1) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.alphadecay.killing", str(out), str(kills), str(seed), str(processes)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "exit 0" in done.stdout, done.stdout + done.stderr
    return done.stdout


def same(a: Path, b: Path) -> None:
    """Weights, optimizer state, schedule and the log of decays of two finished runs."""
    x, y = load_file(a / "checkpoint-40" / "model.safetensors"), load_file(b / "checkpoint-40" / "model.safetensors")
    assert x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)
    for name in ("optimizer.pt", "scheduler.pt"):
        states = [torch.load(run / "checkpoint-40" / name, weights_only=True) for run in (a, b)]
        assert equal(strip(states[0]), strip(states[1])), name
    logs = [[json.loads(line) for line in (run / "decay.jsonl").read_text().splitlines()] for run in (a, b)]
    assert strip(logs[0]) == strip(logs[1])
    histories = [
        json.loads((run / "checkpoint-40" / "trainer_state.json").read_text())["log_history"] for run in (a, b)
    ]
    assert [e["loss"] for e in histories[0] if "loss" in e] == [e["loss"] for e in histories[1] if "loss" in e]


def strip(data: Any) -> Any:
    """Without wall times."""
    if isinstance(data, dict):
        return {key: strip(value) for key, value in data.items() if key != "seconds"}
    return [strip(item) for item in data] if isinstance(data, list) else data


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Runs that were never killed, of one process and of two."""
    made = {processes: tmp_path_factory.mktemp(f"straight{processes}") / "run" for processes in (1, 2)}
    for processes, out in made.items():
        run(out, 0, processes=processes)
    return made


@pytest.mark.xdist_group("kill")
@pytest.mark.parametrize(
    ("processes", "kills"),
    [(1, 4), (2, 3), pytest.param(1, 10, marks=pytest.mark.slow), pytest.param(2, 10, marks=pytest.mark.slow)],
)
def test_killed_again_and_again(tmp_path: Path, straight: dict[int, Path], processes: int, kills: int) -> None:
    told = run(tmp_path / "killed", kills, seed=processes, processes=processes)
    assert "1: killed; newest 0" in told, told  # before the first checkpoint
    assert kills < 10 or told.count("killed during a save") >= 2, told
    same(straight[processes], tmp_path / "killed")
    left = sorted(path.name for path in (tmp_path / "killed").glob("checkpoint-*"))
    assert left == ["checkpoint-38", "checkpoint-40"]
    assert not (tmp_path / "killed" / saves.STAGING).exists()


@pytest.mark.xdist_group("kill")
def test_two_processes_train_as_one(straight: dict[int, Path]) -> None:
    """The same windows in the same steps: losses agree to six digits, decays too."""
    results = [json.loads((straight[processes] / "result.json").read_text()) for processes in (1, 2)]
    assert results[0]["eval_loss"] == pytest.approx(results[1]["eval_loss"], rel=2e-6)
    assert results[0]["provenance"]["processes"] == 1 and results[1]["provenance"]["processes"] == 2
