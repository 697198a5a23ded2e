"""Running cells: workers that die, folders that are shared, what kills leave, one cell by its number. No model is made."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from spectra_cli import run_terminal
from spectra_cli.plasticity_app import app
from typer.testing import CliRunner

from alphadecay import locks, worker_gpus
from alphadecay.crew import Crew
from plasticity import (
    experiment,
    experiment_cell,
    experiment_estimate,
    experiment_plan,
    experiment_run,
    experiment_state,
)
from plasticity.experiment_cell import Job, record_of
from plasticity.experiment_estimate import Estimate
from plasticity.experiment_plan import Cell
from spectra import provenance
from spectra.errors import SpectraError

from .cells_of_tests import cell, end, tries, work

TEXT = "name: mine\ncheckpoints: {a: {path: owner/name}}\nspectra: {}\n"
CHOSEN = experiment.from_yaml(TEXT, "mine.yaml", "mine")


def begun(out: Path, cells: Sequence[Cell], **more: Any) -> Path:
    experiment_run.begin(out, CHOSEN, cells=cells, **more)
    return out


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def states(out: Path) -> list[str]:
    return [line["state"] for line in lines(out)]


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of this file's cells, which imports no torch."""
    monkeypatch.setattr(experiment_run, "_crew", lambda *_: Crew[Job](work, workers=1))
    monkeypatch.setattr(experiment_run, "LOOK_SECONDS", 0.05)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment_cell, "_KINDS", dict.fromkeys(experiment_cell._KINDS, end))


@pytest.mark.usefixtures("crew")
def test_a_cell_that_kills_its_worker_costs_two_of_them_and_no_other_cell(tmp_path: Path) -> None:
    cells, heard = [cell(name) for name in ("die", "a", "die once", "raise", "b")], list[str]()
    begun(tmp_path, cells)
    done = experiment_run.run(CHOSEN, cells, tmp_path, workers=1, say=heard.append)
    assert (done.finished, done.failed, done.blocked) == (3, 2, 0), heard
    assert [tries(tmp_path, one) for one in cells] == [2, 1, 2, 1, 1]
    assert states(tmp_path) == ["failed", "done", "done", "failed", "done"]
    assert lines(tmp_path)[0]["reason"] == "its worker died (exit code -9)"
    assert lines(tmp_path)[3]["reason"] == "RuntimeError: CUDA out of memory"
    ends = [line.split(",")[0].split(";")[0] for line in heard if line.startswith(("done", "failed"))]
    assert [line.split("base ")[1].split(":")[0] for line in ends] == [
        "die", "a", "die once", "raise", "b", "die", "die once",
    ]  # fmt: skip
    again = experiment_state.state_of(tmp_path, cells)
    assert [one.task for one in experiment_state.ready([*cells, cell("new")], again, ())] == ["new", "die", "raise"]


@pytest.mark.usefixtures("crew")
@pytest.mark.parametrize("finished", [True, False])
def test_a_cell_that_another_process_is_at_is_left_for_later(finished: bool, tmp_path: Path) -> None:
    cells, heard = [cell("a"), cell("b"), cell("c")], list[str]()
    begun(tmp_path, cells)
    first = experiment_cell.folder(tmp_path, cells[0])
    first.mkdir()
    holding = threading.Event()

    def other() -> None:
        with locks.held(first / ".lock", None):
            holding.set()
            while record_of(tmp_path, cells[2]) is None:
                threading.Event().wait(0.01)
            if finished:
                made = experiment_cell.about(cells[0]) | {"status": "done", "seconds": 1.0, "result": {}}
                (first / "cell.json").write_text(json.dumps(made))

    thread = threading.Thread(target=other)
    thread.start()
    assert holding.wait(30)
    done = experiment_run.run(CHOSEN, cells, tmp_path, workers=1, say=heard.append)
    thread.join(30)
    assert done.finished == 3 and states(tmp_path) == ["done"] * 3
    assert [tries(tmp_path, one) for one in cells] == [0 if finished else 1, 1, 1]
    told = [line for line in heard if line.startswith("elsewhere")]
    assert len(told) == 1 and f"gap base a: process {os.getpid()} on " in told[0] and told[0].endswith("is at it")


@pytest.mark.usefixtures("in_process")
def test_a_failure_never_takes_the_place_of_a_done_record_or_of_work_under_way(tmp_path: Path) -> None:
    one = cell("a")
    made = experiment_cell.run(Job(experiment=CHOSEN, cell=one, out=tmp_path), lambda _: None)
    assert {"spectra", "commit", "libraries", "host", "finished_at"} <= set(made["provenance"])
    assert experiment_cell.failed(tmp_path, one, "lost") == made == record_of(tmp_path, one)
    other = cell("b")
    experiment_cell.folder(tmp_path, other).mkdir()
    with locks.held(experiment_cell.folder(tmp_path, other) / ".lock", None):
        assert experiment_cell.failed(tmp_path, other, "lost")["status"] == "failed"
        assert record_of(tmp_path, other) is None
    experiment_cell.failed(tmp_path, other, "lost")
    assert experiment_state.state_of(tmp_path, [one, other]).failed_before == {other.key: "lost"}


def test_cells_done_before_say_how_long_the_rest_takes(tmp_path: Path) -> None:
    cells = [cell(name) for name in "abc"]
    experiment_cell.folder(tmp_path, cells[0]).mkdir(parents=True)
    made = experiment_cell.about(cells[0]) | {"status": "done", "seconds": 90.0, "result": {}}
    (experiment_cell.folder(tmp_path, cells[0]) / "cell.json").write_text(json.dumps(made))
    state = experiment_state.state_of(tmp_path, cells)
    assert state.seconds == {cells[0].key: 90.0}
    assert experiment_state.sentence(made, cells, state, 1).endswith("1 of 3 cells, about 3 min left")
    state.hours = {one.key: hours for one, hours in zip(cells, (1.0, 1.0, 5.0), strict=True)}
    assert experiment_state.sentence(made, cells, state, 3).endswith("1 of 3 cells, about 3 min left")
    state.hours = {cells[0].key: 1.0, cells[1].key: 2.0}  # of the third nothing is known but its kind
    assert experiment_state.sentence(made, cells, state, 1).endswith("1 of 3 cells, about 4 min left")


@pytest.fixture
def tuning(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Fine-tuning that writes a run's files, and scoring that writes a file; whether each fine-tuning went on."""
    from types import SimpleNamespace

    import alphadecay.saves
    import plasticity.finetune
    import plasticity.finetune_config

    resumed: list[bool] = []

    def finetune(_: Any, out: Path, *, resume: bool, message: Any) -> Any:
        resumed.append(resume)
        (out / "checkpoint-400").mkdir(parents=True, exist_ok=True)
        (out / "finetune.json").touch()
        return SimpleNamespace(train_loss=1.0, steps=400, seconds=1.0, checkpoint=out / "checkpoint-400")

    def scored(job: Job, known: Any, model: str, out: Path, say: Any) -> dict[str, Any]:
        stale = sorted(path.name for path in out.glob("*"))
        out.mkdir(parents=True, exist_ok=True)
        (out / "answers").touch()
        return {"found": stale}

    monkeypatch.setattr(plasticity.finetune, "finetune", finetune)
    monkeypatch.setattr(plasticity.finetune_config, "from_values", dict)
    monkeypatch.setattr(experiment_cell, "_scored", scored)
    monkeypatch.setattr(alphadecay.saves, "newest", lambda out, say: max(out.glob("checkpoint-*"), default=None))
    return resumed


def tune(out: Path) -> Job:
    """A job of fine-tuning."""
    base = experiment_plan.Base(label="base", axes={}, key="b" * 64, path="nowhere")
    config = {"finetune": {}, "evaluate": {}, "stability": {"piqa": {}}}
    return Job(experiment=CHOSEN, cell=Cell(kind="tune", base=base, config=config, key="c" * 64), out=out)


def test_a_kill_while_a_checkpoint_is_deleted_costs_nothing(
    tuning: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tune(tmp_path)
    real = experiment_cell.shutil.rmtree

    def killed(path: Path, ignore_errors: bool = False) -> None:
        if (path / "finetune.json").exists():
            (path / "finetune.json").unlink()
            raise KeyboardInterrupt
        real(path, ignore_errors=ignore_errors)

    with monkeypatch.context() as patch:
        patch.setattr(experiment_cell.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            experiment_cell.run(job, lambda _: None)
    assert [path.name for path in (tmp_path / "tuned").iterdir()] == [f".deleting-{job.cell.id}"]
    record = record_of(tmp_path, job.cell)
    assert record is not None and record["status"] == "done"
    experiment_run._clear(tmp_path, [job.cell])
    assert not list((tmp_path / "tuned").iterdir())
    (tmp_path / "tuned" / job.cell.id / "checkpoint-400").mkdir(parents=True)  # killed before it was renamed
    experiment_run._clear(tmp_path, [job.cell])
    assert not list((tmp_path / "tuned").iterdir()) and tuning == [False]


@pytest.mark.parametrize(
    ("left", "resumed", "kept"),
    [
        (("finetune.json", "checkpoint-400/x"), True, ["answers"]),
        (("finetune.json", "checkpoint-200/x"), True, []),  # trained on: another model, bit for bit
        (("checkpoint-400/x",), False, []),  # what an earlier version left of a deletion that was killed
        (("finetune.json",), False, []),
        ((), False, []),
    ],
)
def test_scores_are_of_the_model_that_is_there(
    left: tuple[str, ...], resumed: bool, kept: list[str], tuning: list[bool], tmp_path: Path
) -> None:
    job = tune(tmp_path)
    for name in left:
        path = tmp_path / "tuned" / job.cell.id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("scores", "stability/piqa"):
        (experiment_cell.folder(tmp_path, job.cell) / name).mkdir(parents=True)
        (experiment_cell.folder(tmp_path, job.cell) / name / "answers").touch()
    made = experiment_cell.run(job, lambda _: None)
    assert tuning == [resumed]
    assert made["result"]["found"] == kept == made["result"]["stability"]["piqa"]["found"]


def test_files_of_other_jobs_and_of_slurm_are_no_strangers(tmp_path: Path) -> None:
    for name in (".recipe.yaml.4711.tmp", "slurm-1_0.out", "job.err", "job.log", ".nfs1"):
        (tmp_path / name).touch()
    threads = [threading.Thread(target=begun, args=(tmp_path, [cell("a")])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert experiment_run.experiment_of(tmp_path) == CHOSEN
    (tmp_path / "recipe.yaml").unlink()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SpectraError, match="is not empty and holds no experiment"):
        begun(tmp_path, [])


@pytest.mark.usefixtures("in_process")
def test_an_experiment_may_grow_and_loses_no_done_cell_unasked(tmp_path: Path) -> None:
    a, b, c = cell("a"), cell("b"), cell("c")
    begun(tmp_path, [a, b])
    for one in (a, b):
        experiment_cell.run(Job(experiment=CHOSEN, cell=one, out=tmp_path), lambda _: None)
    begun(tmp_path, [a, b, c])
    for _ in range(2):
        with pytest.raises(SpectraError, match=r"1, the first 'gap base b'\. .*another --out, or give --changed"):
            begun(tmp_path, [a, c])
    begun(tmp_path, [a, c], changed=True)
    assert states(tmp_path) == ["done", "pending"]
    begun(tmp_path, [a, c])  # what was given up once is not asked for again
    with pytest.raises(SpectraError, match="'gap base a'"):
        begun(tmp_path, [c])


def test_the_command_refuses_before_it_makes_a_folder_and_runs_one_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base, cells, seen = cell("base", kind="base"), list[Cell](), list[Any]()
    cells += [base, cell("raise", needs=base.key), cell("fine", needs=base.key)]
    cost = Estimate(parameters=1, tokens=1, flop=1.0, gpu_hours=1.0, memory_gb=1.0)
    monkeypatch.setattr(experiment, "load", lambda _: CHOSEN)
    monkeypatch.setattr(experiment_plan, "cells", lambda _: cells)
    monkeypatch.setattr(experiment_estimate, "estimate", lambda *_: cost)
    monkeypatch.setattr(
        experiment_estimate, "check_memory", lambda _, asked, costs, room: seen.append((asked, len(costs)))
    )
    monkeypatch.setattr(experiment_cell, "_KINDS", dict.fromkeys(experiment_cell._KINDS, end))

    def call(*words: str) -> Any:
        return CliRunner().invoke(app, ["run", "mine.yaml", *words])

    for words, said in (
        (("--out", "x", "--index", "3"), "there are 3 cells, numbered from 0"),
        (("--dry-run", "--index", "3"), "there are 3 cells, numbered from 0"),
        (("--out", "x", "--engine", "slurm"), "expected local or ray"),
        (("--out", "x", "--workers", "0"), "expected at least 1"),
        (("--out", "x", "--address", "a:1"), "give --engine ray"),
        (("--out", "x", "--index", "0", "--workers", "2"), "leave out --workers"),
        (("--out", "x", "--index", "0", "--engine", "ray"), "leave out --workers"),
    ):
        found = call(*words)
        assert found.exit_code == 2 and said in found.output, found.output
    assert not (tmp_path / "x").exists() and not seen
    listed = call("--dry-run", "--index", "2").output
    assert "numbers (--index): 0-" in call("--dry-run").output
    assert "gap base fine" in listed and "gap base raise" not in listed
    failed = call("--out", "x", "--index", "1")
    assert failed.exit_code == 1 and "failed: gap base raise: RuntimeError: CUDA out of memory" in failed.output
    assert seen == [([base, cells[1]], 2)] and states(tmp_path / "x") == ["done", "failed", "pending"]
    fine = call("--out", "x", "--index", "2")
    told = " ".join(fine.output.split())
    assert fine.exit_code == 0 and "done: gap base fine, 0 s; report with: plasticity report" in told
    assert states(tmp_path / "x") == ["done", "failed", "done"]


@pytest.mark.parametrize(
    ("devices", "seen", "said"),
    [
        (["0", "1", "2"], ["0", "1"], []),
        ([], [], ["no GPU here: cells run on the CPU, though they ask for 1 (resources.gpus)"]),
    ],
)
def test_local_workers_have_the_gpus_that_cells_ask_for(
    devices: list[str], seen: list[str], said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = experiment.from_yaml(f"{TEXT}resources: {{gpus: 1}}\n", "mine.yaml", "mine")
    monkeypatch.setattr(worker_gpus, "visible", lambda: devices)
    monkeypatch.setattr(experiment_run, "Crew", {Job: lambda *_, **given: given})
    heard: list[str] = []
    made = experiment_run._crew(chosen, tmp_path, "local", None, 2, heard.append)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in made["environments"]] == seen and heard == said


def test_the_loss_of_a_given_checkpoint_is_that_of_its_run_where_it_is_the_last(tmp_path: Path) -> None:
    ended = {"checkpoint": "checkpoint-9", "eval_loss": 2.5, "eval_metrics": {"perplexity": 12.2}}
    (tmp_path / "result.json").write_text(json.dumps(ended))
    assert experiment_cell._of_run(tmp_path / "checkpoint-9")["eval_loss"] == 2.5
    assert experiment_cell._of_run(tmp_path / "checkpoint-5") == {"eval_loss": None}
    (tmp_path / "result.json").write_text("{")
    assert experiment_cell._of_run(tmp_path / "checkpoint-9") == {"eval_loss": None}


def test_a_plan_says_what_a_run_would_refuse_each_reason_once(capsys: pytest.CaptureFixture[str]) -> None:
    missing, cells = "is refused: its data are not there.", [cell(name) for name in "abc"]
    run_terminal.print_refused(cells, {0: missing, 1: missing, 2: "needs about 9.0 GB."})
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("a run is refused as it stands: ") == 2
    assert f"Cell {cells[0].label!r} {missing} (1 more cells alike)" in told and f"{cells[2].label!r} needs" in told


@pytest.mark.usefixtures("in_process")
def test_a_base_that_failed_is_tried_once_for_the_tasks_of_an_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = cell("raise", kind="base")
    cells = [base, cell("a", needs=base.key)]
    begun(tmp_path, cells)

    def run() -> str:
        made = experiment_run.run_one(CHOSEN, cells, 1, tmp_path, say=lambda _: None)
        assert states(tmp_path) == ["failed", "blocked"]
        return str(made["reason"])

    assert run() == run() == "RuntimeError: CUDA out of memory" and tries(tmp_path, base) == 2
    monkeypatch.setenv(experiment_cell.ARRAY, "7")
    assert run() == run() == "RuntimeError: CUDA out of memory" and tries(tmp_path, base) == 3
    monkeypatch.setenv(experiment_cell.ARRAY, "8")
    path = experiment_cell.folder(tmp_path, base) / "cell.json"

    real = locks.held

    def waits(lock: Path, waiting: Any) -> Any:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"reason": "theirs", "pid": -1}))
        return real(lock, waiting)

    monkeypatch.setattr(locks, "held", waits)  # another task was at it, and failed meanwhile
    assert run() == "theirs" and tries(tmp_path, base) == 3


@pytest.mark.usefixtures("in_process")
def test_the_record_on_disk_says_which_code_was_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_noted", {"commit": "then", "sources": "5" * 64})
    one = cell("a")
    experiment_cell.run(Job(experiment=CHOSEN, cell=one, out=tmp_path), lambda _: None)
    record = record_of(tmp_path, one)
    assert record is not None
    assert (record["provenance"]["commit"], record["provenance"]["sources"]) == ("then", "5" * 64)


def test_checkpoints_that_are_asked_for_too_late_are_told(tmp_path: Path) -> None:
    job = tune(tmp_path)
    begun(tmp_path, [job.cell])
    experiment_cell.folder(tmp_path, job.cell).mkdir()
    made = experiment_cell.about(job.cell) | {"status": "done", "seconds": 1.0, "result": {"kept": None}}
    (experiment_cell.folder(tmp_path, job.cell) / "cell.json").write_text(json.dumps(made))
    heard: list[str] = []
    experiment_run.run(CHOSEN, [job.cell], tmp_path, say=heard.append)
    assert len(heard) == 1
    keeping = replace(CHOSEN, finetune=replace(CHOSEN.finetune, keep=True))
    experiment_run.run(keeping, [job.cell], tmp_path, say=heard.append)
    assert "those of 1 fine-tuning cells that are done are deleted" in heard[1]


def test_spectra_name_the_checkpoints_that_are_no_longer_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alphadecay.config import TrainConfig
    from plasticity import experiment_spectra
    from spectra import tracking

    analysed: list[str] = []
    monkeypatch.setattr(experiment_spectra, "_analysed", lambda *_: {})
    monkeypatch.setattr(tracking, "track_paths", lambda paths, keep: analysed.extend(paths))
    monkeypatch.setattr(tracking, "write_track", lambda *_: None)
    for step in (15, 22):
        (tmp_path / f"checkpoint-{step}").mkdir()
    heard: list[str] = []
    for keep, missing in ((2, [20]), (9, [5, 10, 20])):
        train = TrainConfig(lr=1e-3, steps=22, save_every=5, keep=keep)
        made = experiment_spectra.spectra_of(str(tmp_path / "checkpoint-22"), train, tmp_path, heard.append)
        assert made["steps"] == [15, 22] and made["missing"] == missing
    assert len(heard) == 2 and "3 of the 5 checkpoints" in heard[1] and "(steps 5, 10, 20)" in heard[1]
