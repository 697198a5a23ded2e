"""Cells of an interrupted experiment whose folder has moved, or that were begun under other versions, are done all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alphadecay import saves
from plasticity import experiment_cell, experiment_plan
from plasticity.experiment import Experiment
from plasticity.experiment_cell import Job, record_of
from plasticity.experiment_plan import Cell
from tests.alphadecay.conftest import own_caches  # noqa: F401 -- a fixture for every test here

from .test_experiment import small


def planned(*, rank: int) -> tuple[Experiment, Cell, Cell]:
    """An experiment that keeps what it fine-tunes, its base, and its fine-tuning."""
    chosen = small(
        grid=("[0, 0.1]", "[0]"),
        scratch=("from_scratch: true", "keep: true"),
        steps=("train.steps: 2,", f"train.steps: 2, train.save_every: 1, train.keep: 2, lora.rank: {rank},"),
    )
    cells = {cell.kind: cell for cell in experiment_plan.cells(chosen)}
    return chosen, cells["base"], cells["tune"]


def run(chosen: Experiment, cell: Cell, out: Path) -> tuple[dict[str, Any], list[str]]:
    """The record of a cell that is done, and what it said."""
    heard: list[str] = []
    record = experiment_cell.run(Job(experiment=chosen, cell=cell, out=out), heard.append)
    assert record["status"] == "done"
    return record["result"], heard


def interrupted(out: Path, cell: Cell, *left: str) -> None:
    """As if a kill had come before the record was written; `left`: files that were not there yet."""
    for name in ("cell.json", *left):
        (experiment_cell.folder(out, cell) / name).unlink()


def other_version(path: Path) -> None:
    """Give a file of responses the header of another version of a library."""
    header, *records = path.read_text().splitlines()
    known = json.loads(header)
    known["header"]["engine"]["transformers"] = "0.1"
    path.write_text("\n".join([json.dumps(known), *records]) + "\n")


@pytest.mark.parametrize("rank", [0, 2])
def test_a_cell_goes_on_where_its_folder_has_moved(rank: int, tmp_path: Path) -> None:
    chosen, base, tune = planned(rank=rank)
    before, after = tmp_path / "before", tmp_path / "after"
    half, _ = run(chosen, base, before)
    (before / "bases" / base.id / "checkpoint-4" / saves.MARKER).unlink()
    interrupted(before, base)
    moved = before.rename(after)
    whole, heard = run(chosen, base, moved)
    assert any("checkpoint-4 is passed over" in line for line in heard)
    assert (whole["eval_loss"], whole["checkpoint"]) == (half["eval_loss"], half["checkpoint"])

    first, _ = run(chosen, tune, moved)
    interrupted(moved, tune, "scores/result.json")
    weights = next((moved / "tuned" / tune.id / "checkpoint-2").glob("*.safetensors"))
    trained = weights.stat().st_mtime_ns
    again, heard = run(chosen, tune, moved.rename(before))
    assert any("scored anew, for what was begun" in line and "engine.model" in line for line in heard)
    weights = before / weights.relative_to(after)
    assert weights.stat().st_mtime_ns == trained
    assert again["scores"] == first["scores"] and again["train_loss"] == first["train_loss"]


def test_what_was_begun_otherwise_begins_anew(tmp_path: Path) -> None:
    chosen, base, tune = planned(rank=0)
    run(chosen, base, tmp_path)
    first, _ = run(chosen, tune, tmp_path)
    interrupted(tmp_path, tune, "scores/result.json")
    other_version(experiment_cell.folder(tmp_path, tune) / "scores" / "greedy.jsonl")
    again, heard = run(chosen, tune, tmp_path)
    assert any("scored anew" in line and '"0.1" there' in line for line in heard)
    assert again["scores"] == first["scores"]

    interrupted(tmp_path, tune)
    data = tmp_path / "tuned" / tune.id / "data.json"
    data.write_text(json.dumps(json.loads(data.read_text()) | {"fingerprint": "0" * 64}))
    again, heard = run(chosen, tune, tmp_path)
    assert any("fine-tuned anew" in line and "other data" in line for line in heard)
    assert again["scores"] == first["scores"]
    record = record_of(tmp_path, tune)
    assert record is not None and (tmp_path / str(record["result"]["kept"])).is_dir()
