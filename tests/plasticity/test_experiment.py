"""Experiments: cells and their addresses, runs that are resumed, failed, killed, numbered, on Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from plasticity import experiment, experiment_estimate, experiment_plan, experiment_run, experiment_state
from plasticity.experiment import Experiment
from plasticity.experiment_cell import record_of
from spectra.errors import SpectraError
from tests.alphadecay.conftest import own_caches  # noqa: F401 -- a fixture for every test here

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
name: small
pretrain:
  - recipe: tiny
    set:
      train.steps: 4
      train.batch_size: 4
      train.save_every: 2
      train.eval_every: 0
      train.eval_windows: 4
      train.spectra_every: 0
      model.settings.hidden_size: 32
      model.settings.intermediate_size: 48
      model.settings.num_hidden_layers: 2
      data.max_tokens: 20000
      data.window: 64
      data.vocab_size: 300
    grid: {decay.base: [0, 0.1]}
finetune: {set: {train.steps: 2, train.batch_size: 4}, from_scratch: true}
tasks: [toy_arithmetic]
evaluate: {samples: 2, limit: 4, max_tokens: 4}
spectra: {}
"""


def small(**changes: str) -> Experiment:
    text = SMALL
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return experiment.from_yaml(text, "small.yaml", "small")


def keys(chosen: Experiment) -> dict[str, str]:
    return {cell.label: cell.key for cell in experiment_plan.cells(chosen)}


@pytest.mark.parametrize("name", experiment.names())
def test_shipped_experiments_are_whole_and_read_back(name: str) -> None:
    found = experiment.load(name)
    assert experiment.from_yaml(experiment.to_yaml(found), name, name) == found


def test_the_papers_grids_have_the_papers_numbers_of_cells() -> None:
    kinds = {}
    for name in ("appendix_e1", "appendix_e2", "section_4"):
        kinds[name] = [cell.kind for cell in experiment_plan.cells(experiment.load(name))]
    assert (kinds["appendix_e1"].count("base"), kinds["appendix_e1"].count("tune")) == (9, 54)
    assert (kinds["appendix_e2"].count("base"), kinds["appendix_e2"].count("tune")) == (4, 216)
    assert (kinds["section_4"].count("base"), kinds["section_4"].count("tune")) == (10 + 10 + 3 + 5 + 4, 32 * 15)


def test_a_cell_is_addressed_by_what_decides_it_and_nothing_else() -> None:
    before = keys(small())
    more = keys(small(grid=("[0, 0.1]", "[0, 0.1, 1.0]")))
    assert {label: more[label] for label in before} == before  # an experiment may grow
    limit = keys(small(limit=("limit: 4", "limit: 5")))
    same = {label for label in before if limit[label] == before[label]}
    assert same == {label for label in before if label.startswith(("base", "spectra"))}
    steps = keys(small(steps=("train.steps: 2,", "train.steps: 3,")))
    assert {label for label in before if steps[label] != before[label]} == {
        label for label in before if label.startswith("tune")
    }
    longer = keys(small(base=("train.steps: 4", "train.steps: 5")))
    control = {key for label, key in before.items() if "from scratch" in label}  # its weights are of no base
    assert len(control) == 1 and set(longer.values()) & set(before.values()) == control


def test_given_checkpoints_and_data_are_part_of_the_address(tmp_path: Path) -> None:
    data, folder = tmp_path / "d.jsonl", tmp_path / "ckpt"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"1")
    data.write_text('{"question": "1?", "response": "1", "answer": "1"}\n')
    text = f"checkpoints: {{a: {{path: {folder}, axes: {{decay.base: 0.1}}}}}}\ntasks: {{toy_arithmetic: {{data: {data}}}}}\n"

    def found() -> dict[str, str]:
        return keys(experiment.from_yaml(text, "x", "x"))

    first = found()
    data.write_text('{"question": "2?", "response": "2", "answer": "2"}\n')
    second = found()
    assert first["base a"] == second["base a"] and first["before a toy_arithmetic"] != second["before a toy_arithmetic"]
    (folder / "model.safetensors").write_bytes(b"12")
    assert found()["base a"] != first["base a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks: [toy_arithmetic]", "no base checkpoint"),
        ("checkpoints: {a: {path: x}}", "asks nothing"),
        ("checkpoints: {a: {path: x}}\ngap: {}", "gap needs bases that it trains"),
        ("checkpoints: {a: {pth: x}}\ntasks: [race]", "Unknown key 'pth'"),
        ("pretrain: {recipe: tiny, grid: {decay.base: []}}\ntasks: [race]", "grid is empty"),
        ("pretrain: {recipe: tiny, seeds: [1, 1]}\ntasks: [race]", "all different"),
        ("pretrain: {recipe: tiny, sweep: nope}\nspectra: {}", "has no sweep"),
        ("pretrain: {recipe: tinny}\nspectra: {}", "tiny"),
        ("pretrain: {recipe: tiny}\ntasks: [rase]", "Did you mean 'race'.*A task of yours: the key tasks_dir: of the experiment"),
        ("pretrain: {recipe: tiny}\ntasks: [race]\ntasks_dir: no/such", "the key tasks_dir: .* no/such"),
        ("checkpoints: {a: {path: /no/such}}\ntasks: [race]", "checkpoints.a.path: there is nothing at /no/such"),
        ("checkpoints: {a: {path: ./such}}\nspectra: {}", "there is nothing at ./such"),
        ("checkpoints: {a: {path: runs/a/checkpoint-9}}\nspectra: {}", "there is nothing at runs/a/checkpoint-9"),
        ("pretrain: {recipe: tiny}\ntasks: {race: {data: /no/such}}", "No data at"),
        ("pretrain: [{recipe: tiny}, {recipe: tiny}]\nspectra: {}", "Two bases"),
        ("pretrain: {recipe: tiny, set: {decay.bas: 1}}\nspectra: {}", r"set\.decay\.bas: .* 'decay\.base'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(SpectraError, match=said):
        experiment_plan.cells(experiment.from_yaml(text, "x.yaml", "x"))


def test_a_runs_folder_is_no_checkpoint(tmp_path: Path) -> None:
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    chosen = experiment.from_yaml(f"checkpoints: {{a: {{path: {tmp_path}}}}}\nspectra: {{}}", "x.yaml", "x")
    with pytest.raises(SpectraError, match=r"is a run, expected a checkpoint\. Its newest is .*checkpoint-10\."):
        experiment_plan.cells(chosen)


def test_samples_are_drawn_where_a_score_needs_them(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import dataclasses\nfrom plasticity.tasks import toy_arithmetic as toy\n"
        "class Mine(toy.ToyArithmetic):\n"
        "    header = dataclasses.replace(toy.ToyArithmetic.header, name='mine', scores=('greedy',))\n"
    )
    text = f"checkpoints: {{a: {{path: a/b}}}}\ntasks: [toy_arithmetic, mine]\ntasks_dir: {tmp_path}\n"
    cells = experiment_plan.cells(experiment.from_yaml(text, "x", "x"))
    assert {c.task: c.config["evaluate"]["samples"] for c in cells if c.kind == "before"} == {
        "toy_arithmetic": 16,
        "mine": 0,
    }
    cells = experiment_plan.cells(experiment.from_yaml(text + "evaluate: {samples: 3}", "x", "x"))
    assert {c.config["evaluate"]["samples"] for c in cells if c.kind == "before"} == {3}


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SpectraError, match="is not empty and holds no experiment"):
        experiment_run.begin(tmp_path, small())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "notes.txt").rename(tmp_path / "cells")  # killed before the recipe was written: gone on with
    (tmp_path / "cells").unlink()
    (tmp_path / "cells").mkdir()
    experiment_run.begin(tmp_path, small())
    experiment_run.begin(tmp_path, small())


@pytest.mark.parametrize(
    ("seconds", "hours", "said"),
    [
        (1.0, {}, "about 1 s left without before, spectra, tune"),
        (60.0, {"base": 2.0, "before": 1.0, "tune": 4.0}, "about 8 min left without spectra"),
        (1.0, dict.fromkeys(("base", "before", "spectra", "tune"), 1.0), "about 8 s left"),
    ],
)
def test_how_long_the_rest_takes(seconds: float, hours: dict[str, float], said: str) -> None:
    """Of nine cells (two of each kind, three fine-tuned) one base is done; others take what they cost, or it is not known."""
    cells = experiment_plan.cells(small())
    one = next(cell for cell in cells if cell.kind == "base")
    cost = {cell.key: hours[cell.kind] for cell in cells if cell.kind in hours}
    state = experiment_state.State(done={one.key}, seconds={one.key: seconds}, hours=cost)
    record = {"status": "done", "label": "x", "seconds": seconds}
    assert experiment_state.sentence(record, cells, state, 1).endswith(said)


def test_measures_of_a_killed_cell_are_made_again_or_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill left beside no record must not keep the cell from being done."""
    from types import SimpleNamespace

    import plasticity.gap
    import plasticity.probe
    from plasticity import experiment_cell

    asked: list[Any] = []
    made = SimpleNamespace(gap=0.1, ci95=None, train_loss=1.0, val_loss=1.1)

    def gap(config: Any, out: Path, *, replace: bool, message: Any) -> Any:
        asked.append(replace)
        return made

    monkeypatch.setattr(plasticity.gap, "gap", gap)
    monkeypatch.setattr(plasticity.probe, "probe", lambda config, out, message: asked.append(config.tasks))
    monkeypatch.setattr(experiment_cell, "checkpoint_of", lambda out, cell: "here")
    text = "pretrain: {recipe: tiny}\nprobe: {tasks: [sst2, ag_news]}\ngap: {}"
    chosen = experiment.from_yaml(text, "x", "x")
    for cell in experiment_plan.cells(chosen):
        if cell.kind in {"gap", "probe"}:
            where = experiment_cell.folder(tmp_path, cell)
            (where / "probe" / "sst2").mkdir(parents=True)
            (where / "probe" / "sst2" / "probe.json").write_text("{}")
            experiment_cell.run(experiment_cell.Job(experiment=chosen, cell=cell, out=tmp_path), lambda _: None)
    assert asked == [("ag_news",), True]


def test_a_cell_that_can_never_fit_is_refused_with_the_estimate() -> None:
    chosen = experiment.load("section_4")
    known = [cell for cell in experiment_plan.cells(chosen) if cell.kind == "base"]
    cells = [cell for cell in known if cell.axes["decay.base"] == 0.1 and cell.axes["recipe"].startswith("llama2_")]
    costs = [experiment_estimate.estimate(chosen, cell) for cell in cells]
    with pytest.raises(SpectraError, match=r"llama2_4b.* needs about 64\.0 GB .* there are 10\.0 GB"):
        experiment_estimate.check_memory(chosen, cells, costs, available=10.0)
    experiment_estimate.check_memory(chosen, cells, costs, available=70.0)


def test_an_experiment_from_beginning_to_end_and_again(tmp_path: Path) -> None:
    chosen = small(tune=("train.steps: 2,", "train.steps: 2, lora.rank: 0,"))
    cells, heard = experiment_plan.cells(chosen), list[str]()
    experiment_run.begin(tmp_path, chosen)
    done = experiment_run.run(chosen, cells, tmp_path, workers=1, say=heard.append)
    assert (done.finished, done.failed, done.blocked) == (len(cells), 0, 0), heard
    records = {cell.label: record_of(tmp_path, cell) for cell in cells}
    tuned = [record for record in records.values() if record is not None and record["kind"] == "tune"]
    assert len(tuned) == 3 and {record["axes"].get("start") for record in tuned} == {None, "from scratch"}
    for record in tuned:
        assert set(record["result"]["scores"]) == {"greedy", "maj@2", "pass@2", "correct_ratio"}
        assert json.loads((tmp_path / record["result"]["result"]).read_text())["scores"] == record["result"]["scores"]
    assert not list((tmp_path / "tuned").iterdir())  # scored and not kept
    spectra = next(record for record in records.values() if record is not None and record["kind"] == "spectra")
    assert spectra["result"]["steps"] == [2, 4] and (tmp_path / spectra["result"]["track"]).is_file()
    standing = [json.loads(line)["state"] for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert standing == ["done"] * len(cells)
    heard.clear()
    again = experiment_run.run(chosen, cells, tmp_path, workers=1, say=heard.append)
    assert again.finished == len(cells) and heard == [f"{len(cells)} of {len(cells)} cells are done already"]
    with pytest.raises(SpectraError, match="holds the experiment 'small'"):
        experiment_run.begin(tmp_path, experiment.load("demo"))


def test_a_failed_base_blocks_its_cells_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    text = f"checkpoints: {{a: {{path: {tmp_path / 'broken'}}}}}{SMALL.partition('finetune')[0]}spectra: {{}}\n"
    text = text.replace("[0, 0.1]", "[0]")
    chosen = experiment.from_yaml(text, "x.yaml", "small")
    cells, heard = experiment_plan.cells(chosen), list[str]()
    experiment_run.begin(tmp_path / "out", chosen)
    done = experiment_run.run(chosen, cells, tmp_path / "out", workers=1, say=heard.append)
    assert (done.finished, done.failed, done.blocked) == (2, 1, 1), heard
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert "no tokenizer" in next(line["reason"] for line in lines if line["state"] == "failed")
    assert "its base failed" in next(line["reason"] for line in lines if line["state"] == "blocked")


def test_one_cell_by_its_number_and_the_base_that_it_needs(tmp_path: Path) -> None:
    chosen = small()
    cells = experiment_plan.cells(chosen)
    experiment_run.begin(tmp_path, chosen)
    number = next(i for i, cell in enumerate(cells) if cell.kind == "spectra")
    experiment_run.run_one(chosen, cells, number, tmp_path, say=lambda _: None)
    done = experiment_state.state_of(tmp_path, cells).done
    assert done == {cells[number].key, cells[number].needs}
    with pytest.raises(SpectraError, match="numbered from 0"):
        experiment_run.run_one(chosen, cells, len(cells), tmp_path, say=lambda _: None)


def results(out: Path, chosen: Experiment) -> dict[str, Any]:
    """What an experiment found, without times."""
    found = {}
    for cell in experiment_plan.cells(chosen):
        record = record_of(out, cell)
        assert record is not None and record["status"] == "done", cell.label
        result = dict(record["result"])
        for name in ("provenance", "finetune_seconds"):
            result.pop(name, None)
        found[cell.label] = result
    return found


@pytest.mark.slow
def test_killed_five_times_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Twelve cells, killed -9 with all their workers at random times (issue 6, Shows 2), up to five times.

    Each kill falls a while after the call has begun to work: on a machine that is fast the cells may be done before the fifth.
    """
    import random

    grid = "grid: {decay.base: [0, 0.1]}"
    chosen = small(
        seeds=(grid, f"{grid}\n    seeds: [1, 2]"),
        spectra=("spectra: {}", ""),
        scratch=("from_scratch: true", "from_scratch: false"),
    )
    cells = experiment_plan.cells(chosen)
    assert len(cells) == 12
    (tmp_path / "x.yaml").write_text(experiment.to_yaml(chosen))
    experiment_run.begin(tmp_path / "straight", chosen)
    experiment_run.run(chosen, cells, tmp_path / "straight", workers=1, say=lambda _: None)
    command = [sys.executable, "-c", "from spectra_cli.plasticity_app import main; main()", "run", str(tmp_path / "x.yaml"),
               "--out", str(tmp_path / "killed"), "--workers", "2", "--quiet"]  # fmt: skip
    dice, kills, manifest = random.Random(3), 0, tmp_path / "killed" / "manifest.jsonl"
    while True:
        before = manifest.stat().st_mtime_ns if manifest.exists() else 0
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
        while process.poll() is None and (not manifest.exists() or manifest.stat().st_mtime_ns == before):
            time.sleep(0.05)  # until it has handed out cells
        try:
            process.wait(timeout=dice.uniform(0, 20) if kills < 5 else 600)
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(0.5)
    assert process.returncode == 0
    assert kills >= 1, "it was done before the first kill: give the cells more to do"
    assert results(tmp_path / "killed", chosen) == results(tmp_path / "straight", chosen)


@pytest.mark.slow
def test_two_ray_workers_find_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from plasticity import experiment_ray

    chosen = small()
    cells = experiment_plan.cells(chosen)
    heard: list[str] = []
    for name, given in (("here", {}), ("ray", {"engine": "ray", "address": "local"})):
        experiment_run.begin(tmp_path / name, chosen)
        done = experiment_run.run(chosen, cells, tmp_path / name, workers=2, say=heard.append, **given)  # type: ignore[arg-type]
        assert done.finished == len(cells)
    begun = [line for line in heard if f": {experiment_ray.BEGINS}" in line]
    assert {line.partition(":")[0] for line in begun} == {cell.label for cell in cells}
    assert results(tmp_path / "here", chosen) == results(tmp_path / "ray", chosen)
