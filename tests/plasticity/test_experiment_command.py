"""`plasticity run` as a user meets it: what it shows of an experiment, and what its exit code says, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.plasticity_app import app
from plasticity import (
    experiment,
    experiment_cell,
    experiment_disk,
    experiment_estimate,
    experiment_plan,
    experiment_run,
)
from plasticity.experiment_plan import Cell
from spectra.errors import SpectraError
from tests.alphadecay.conftest import own_caches  # noqa: F401 -- a fixture for every test here

SMALL = "pretrain: {recipe: tiny, grid: {decay.base: [0.1, 1.0]}}\nspectra: {}\n"


def call(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def told(*words: object) -> str:
    return " ".join(call(*words).output.split())


def file_of(folder: Path, text: str = SMALL) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def planned(chosen: experiment.Experiment) -> tuple[experiment.Experiment, list[Cell]]:
    return chosen, experiment_plan.cells(chosen)


def test_a_shipped_experiment_is_shown_as_it_stands_and_its_copy_is_the_same_experiment(tmp_path: Path) -> None:
    found = call("run", "section_4", "--show")
    assert found.exit_code == 0 and found.stdout == (experiment.EXPERIMENTS / "section_4.yaml").read_text()
    copy = file_of(tmp_path, call("run", "demo", "--show").stdout)
    same = [[cell.key for cell in experiment_plan.cells(experiment.load(name))] for name in ("demo", str(copy))]
    assert same[0] == same[1]
    for words in (("demo", "--dry-run"), ("demo", "--out", tmp_path), ()):
        found = call("run", "--show", *words)
        assert found.exit_code == 2 and "name its RECIPE, and leave the other options out" in found.output


def test_an_experiment_is_no_recipe_and_what_is_not_there_is_said_in_a_sentence() -> None:
    assert "plasticity run section_4 --show prints its file" in told("recipes", "section_4")
    found = told("run", "nothere.yaml")
    assert "No experiment file nothere.yaml: there is nothing at that path." in found and "Errno" not in found


def test_a_plan_that_would_be_refused_ends_with_1_and_names_tasks_of_the_same_data_once(tmp_path: Path) -> None:
    assert call("run", file_of(tmp_path), "--dry-run").exit_code == 0
    tasks = "tasks: {safety: {reward_model: org/judge}, safety_300: {reward_model: org/judge}}\n"
    path = file_of(tmp_path, f"{SMALL}{tasks}")
    found = call("run", path, "--dry-run")
    said = " ".join(found.output.split())
    assert found.exit_code == 1 and said.count("a run is refused as it stands") == 1
    assert "the data of safety and safety_300 are not on the hub" in said
    assert "(tasks: {safety: {data: FOLDER}, safety_300: {data: FOLDER}}), or leave them out." in said
    assert "--show" not in said, "it is the user's own"
    assert call("run", path, "--dry-run", "--index", "0").exit_code == 0, "of that cell alone nothing is refused"
    assert "plasticity run section_4 --show > mine.yaml" in told("run", "section_4", "--out", tmp_path / "x")


def test_a_plan_says_how_each_cell_stands_in_a_folder_and_writes_nothing(tmp_path: Path) -> None:
    path, out = file_of(tmp_path), tmp_path / "out"
    found = call("run", path, "--dry-run", "--out", out)
    assert found.exit_code == 0 and not out.exists() and found.output.count("to do") == 4
    chosen = experiment.load(str(path))
    cells = experiment_plan.cells(chosen)
    experiment_run.begin(out, chosen, cells=cells)
    record = experiment_cell.failed(out, cells[1], "out of memory")
    folder = experiment_cell.folder(out, cells[0])
    folder.mkdir(parents=True)
    done = record | experiment_cell.about(cells[0]) | {"status": "done", "seconds": 1.0, "result": {}}
    (folder / experiment_cell.RECORD).write_text(json.dumps(done))
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    said = told("run", path, "--dry-run", "--out", out)
    assert "1 of 4 cells done in" in said and "1 failed (tried again)" in said and said.count("to do") == 2
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before
    other = file_of(tmp_path, SMALL.replace("0.1, 1.0", "1.0, 2.0"))
    found = call("run", other, "--dry-run", "--out", out)
    assert found.exit_code == 2 and "1, the first 'base tiny decay.base=0.1 seed=42'" in found.output
    assert "done cells that drop out of it: 1" in told("run", other, "--dry-run", "--out", out, "--changed")
    found = call("run", "demo", "--dry-run", "--out", out)
    assert found.exit_code == 2 and "holds the experiment 'mine', not 'demo'" in found.output


def test_disk_is_of_the_checkpoints_that_stay_and_the_papers_grid_takes_what_its_file_says() -> None:
    found = experiment_disk.disk(*planned(experiment.load("section_4")))
    assert 9.5e3 < found.kept_gb < 9.9e3 and found.unknown == 0
    text = "pretrain: {recipe: tiny, set: {train.save_every: 100, train.keep: 9, train.steps: 250}}\ntasks: [toy_arithmetic]\n"
    chosen, cells = planned(experiment.from_yaml(text, "x", "x"))
    count = experiment_estimate.parameters(cells[0].base)
    found = experiment_disk.disk(chosen, cells)
    assert count is not None and found.checkpoints == 3
    assert found.kept_gb == pytest.approx(36 * count / 1e9)
    tuned = cells[-1].config["finetune"]["train"]
    assert found.under_way_gb == pytest.approx(
        12 * count / 1e9 * min(tuned["keep"], -(-tuned["steps"] // tuned["save_every"]))
    )
    more = experiment_disk.disk(*planned(experiment.from_yaml(f"{text}finetune: {{keep: true}}\n", "x", "x")))
    assert more.under_way_gb == 0 and more.kept_gb == pytest.approx(found.kept_gb + found.under_way_gb)


def test_of_small_models_a_plan_says_that_gpu_time_is_arithmetic_alone(tmp_path: Path) -> None:
    said = told("run", file_of(tmp_path, f"{SMALL}resources: {{gpus: 0.5, threads: 2}}\n"), "--dry-run")
    assert "do not fill a GPU" in said and "each cell: CPU threads 2, GPUs 0.5 (resources)" in said
    assert "disk: about" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mine.yaml is empty: expected an experiment"),
        ("tasks: toy_arithmetic", r"mine\.yaml, tasks = 'toy_arithmetic': expected a form such as tasks: \[toy_arithmetic\]"),
        ("checkpoints: {a: b}\nspectra: {}", r"checkpoints\.a = 'b': .* checkpoints: \{a: \{path: FOLDER\}\}"),
        ("checkpoints: [a, b]\nspectra: {}", r"checkpoints = \['a', 'b'\]: .* checkpoints: \{a: \{path: FOLDER\}\}"),
        (f"{SMALL}spectra_: 1", "Unknown key 'spectra_'"),
        ("pretrain: {recipe: tiny}\nspectra: true", r"spectra = True: expected a form such as spectra: \{\}"),
        (f"{SMALL}finetune: {{seeds: 3}}", r"finetune\.seeds = 3: expected a list, such as seeds: \[1, 2, 3\]"),
        (f"{SMALL}finetune: {{grid: {{learning_rate: [1]}}}}", r"mine\.yaml, finetune\.grid\.learning_rate: .* mean 'train\.lr'"),
        (f"{SMALL}finetune: {{set: {{train.lrr: 1}}}}", r"finetune\.set\.train\.lrr: there is no such key\. .* 'train\.lr'"),
        (f"{SMALL}finetune: {{set: {{qqqq: 1}}}}", r"finetune\.set\.qqqq: there is no such key\. docs/recipes\.md"),
        ("pretrain: {recipe: tiny, grid: {wd: [1]}}\nspectra: {}", r"pretrain\.grid\.wd: .* mean 'decay\.base'"),
        ("pretrain: {recipe: tiny, variants: {a: {bs: 1}}}\nspectra: {}", r"variants\.a\.bs: .* mean 'train\.batch_size'"),
        ("pretrain: {recipe: tiny, set: {seed: 1}}\nspectra: {}", r"pretrain\.set\.seed"),
        ("pretrain: {recipe: tiny, grid: {train.lr: [1e-4, 0.0001]}}\nspectra: {}", r"grid\.train\.lr: the value 0\.0001 stands"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_said_by_its_place_with_what_is_expected(text: str, said: str) -> None:
    with pytest.raises(SpectraError, match=said):
        experiment.from_yaml(text, "mine.yaml", "mine")


def test_a_report_has_a_place_of_its_own_where_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    monkeypatch.setattr("plasticity.report.summary_file.is_stale", lambda _: False)
    monkeypatch.setattr("plasticity.report.write_html", lambda _, html: written.append(html))
    assert call("report", tmp_path).exit_code == 0
    assert call("report", tmp_path, "--html", tmp_path / "other.html").exit_code == 0
    assert written == [tmp_path / "report.html", tmp_path / "other.html"]


def test_probes_need_a_seed_and_help_names_the_model_that_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    found = call("probe", "--model", "org/base", "--seeds", "0")
    assert found.exit_code == 2 and "--seeds 0: expected how many, at least 1, or which, such as 4,5,6" in found.output
    assert "[default: HuggingFaceTB/SmolLM2-135M]" in told("probe", "--help")
    assert "[default: DIR/report.html]" in told("report", "--help"), "markup would swallow brackets"
