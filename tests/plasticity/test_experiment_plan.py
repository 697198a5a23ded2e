"""Plans of experiments: what addresses a cell, where inputs are, what is refused before anything runs, what it will cost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from plasticity import experiment, experiment_estimate, experiment_notes, experiment_plan
from plasticity.experiment_plan import Cell
from spectra.errors import SpectraError
from tests.alphadecay.conftest import own_caches  # noqa: F401 -- a fixture for every test here

TINY = "pretrain: {recipe: tiny"
OWN_TASK = """
import dataclasses
from plasticity.tasks import toy_arithmetic as toy
class Mine(toy.ToyArithmetic):
    header = dataclasses.replace(toy.ToyArithmetic.header, name='mine')
"""


def planned(text: str) -> list[Cell]:
    return experiment_plan.cells(experiment.from_yaml(text, "x.yaml", "x"))


def keys(text: str) -> dict[str, str]:
    return {cell.label: cell.key for cell in planned(text)}


def checkpoint(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    return folder


def older(path: Path) -> None:
    """As if it had been written long before it is hashed, so that its hash is noted."""
    os.utime(path, (1_000_000_000, 1_000_000_000))


def test_a_corpus_is_its_content_and_not_its_path(tmp_path: Path) -> None:
    for name in ("c.txt", "d.txt"):
        (tmp_path / name).write_text("a text\n\nanother text\n")
    text = TINY + f", set: {{data.source: {tmp_path / 'NAME'}}}}}\nspectra: {{}}"
    there = keys(text.replace("NAME", "c.txt"))
    assert keys(text.replace("NAME", "d.txt")) == there
    older(tmp_path / "c.txt")
    assert keys(text.replace("NAME", "c.txt")) == there
    (tmp_path / "c.txt").write_text("a text\n\nanother one\n")
    assert not set(keys(text.replace("NAME", "c.txt")).values()) & set(there.values())


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors"])
def test_a_given_checkpoint_is_its_files(tmp_path: Path, name: str) -> None:
    folder = checkpoint(tmp_path / "a")
    text = f"checkpoints: {{a: {{path: {folder}}}}}\nspectra: {{}}"
    first = keys(text)
    for file in folder.iterdir():
        older(file)
    assert keys(text) == first  # touched
    shutil.copytree(folder, tmp_path / "b")
    assert keys(text.replace(str(folder), str(tmp_path / "b"))) == first
    (folder / name).write_text('{"more": 1}')
    assert not set(keys(text).values()) & set(first.values())


def test_a_gguf_file_is_its_bytes(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    found = [keys(f"checkpoints: {{a: {{path: {tmp_path / name}}}}}\nspectra: {{}}") for name in ("a.gguf", "b.gguf")]
    assert found[0] == found[1]


def test_a_task_of_the_users_is_its_file_and_data_their_content(tmp_path: Path) -> None:
    for folder in ("tasks", "again"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(OWN_TASK)
        (tmp_path / folder / "rows.jsonl").write_text("{}\n")
    text = TINY + "}\ntasks: {mine: {data: FOLDER/rows.jsonl}}\ntasks_dir: FOLDER\n"
    first = keys(text.replace("FOLDER", str(tmp_path / "tasks")))
    assert keys(text.replace("FOLDER", str(tmp_path / "again"))) == first
    (tmp_path / "tasks" / "mine.py").write_text(OWN_TASK + "# another prompt\n")
    changed = keys(text.replace("FOLDER", str(tmp_path / "tasks")))
    assert {label for label in first if first[label] != changed[label]} == {label for label in first if "mine" in label}


def test_a_local_reward_model_is_its_files_and_counts_where_it_is_used(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "reward")
    text = TINY + f"}}\ntasks: [race, piqa]\nevaluate: {{reward_model: {folder}}}"
    first = keys(text)
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    changed = keys(text)
    differ = {label for label in first if first[label] != changed[label]}
    assert differ == {label for label in first if "race" in label}  # choices are scored without one
    assert {c.config["evaluate"]["reward_model"] for c in planned(text) if c.kind == "before"} == {str(folder)}


@pytest.mark.parametrize("change", ["log_every: 7", "keep: 9", "save_every: 77", "report_to: [tensorboard]"])
def test_what_changes_no_weight_changes_no_cell_but_the_spectra_of_every_checkpoint(change: str) -> None:
    text = (
        TINY
        + ", set: {train.steps: 4}}\ntasks: [toy_arithmetic]\nspectra: {every: EVERY}\nfinetune: {set: {train.steps: 2}}"
    )
    changed = text.replace("train.steps: 4", f"train.steps: 4, train.{change}")
    changed = changed.replace("train.steps: 2", f"train.steps: 2, train.{change}")
    last = text.replace("EVERY", "false")
    assert keys(changed.replace("EVERY", "false")) == keys(last)
    first, then = keys(text.replace("EVERY", "true")), keys(changed.replace("EVERY", "true"))
    kept = change.startswith(("keep", "save"))
    assert {label for label in first if first[label] != then[label]} == {
        label for label in first if kept and label.startswith("spectra")
    }


def test_a_recipe_edited_and_another_folder_change_nothing_once_an_experiment_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alphadecay import recipes

    (tmp_path / "elsewhere").mkdir()
    checkpoint(tmp_path / "runs" / "a" / "checkpoint-5")
    checkpoint(tmp_path / "reward")
    (tmp_path / "c.txt").write_text("a text\n\nanother text\n")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.py").write_text(OWN_TASK)
    (tmp_path / "own.yaml").write_text(recipes.to_yaml(recipes.override(recipes.load("tiny"), ["data.source=c.txt"])))
    (tmp_path / "tune.yaml").write_text("extends: table6\ntrain: {steps: 3}\n")
    text = """
checkpoints: {a: {path: runs/a/checkpoint-5}}
pretrain:
  - {recipe: own.yaml}
  - {recipe: tiny, variants: {b: {data.source: c.txt, train.steps: 9}}}
  - {recipe: llama2_0.5b_20x, sweep: table_3}
finetune: {recipe: tune.yaml, by_base: {tiny: table6}}
tasks: {mine: {data: rows.jsonl}}
tasks_dir: tasks
evaluate: {reward_model: reward}
probe: {tasks: [sst2], data: {sst2: rows.jsonl}}
spectra: {}
"""
    monkeypatch.chdir(tmp_path)
    first = experiment.from_yaml(text, "x.yaml", "x")
    known = {cell.label: cell.key for cell in experiment_plan.cells(first)}
    written = experiment.to_yaml(first)
    for name in ("own.yaml", "tune.yaml"):
        (tmp_path / name).unlink()
    presets = tmp_path / "presets"
    shutil.copytree(recipes.PRESETS, presets)
    for path in presets.glob("*.yaml"):
        path.write_text(path.read_text().replace("warmup: 0.1", "warmup: 0.2"))
    monkeypatch.setattr(recipes, "PRESETS", presets)
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = experiment.from_yaml(written, "recipe.yaml", "x")
    assert again == first
    assert {cell.label: cell.key for cell in experiment_plan.cells(again)} == known


def test_a_control_for_every_architecture_and_no_more(tmp_path: Path) -> None:
    text = """
pretrain:
  - {recipe: tiny, grid: {model.settings.num_hidden_layers: [2, 3], decay.base: [0, 0.1]}, seeds: [1, 2]}
finetune: {from_scratch: true, set: {train.steps: 2}}
tasks: [toy_arithmetic]
"""
    controls = [cell for cell in planned(text) if cell.axes.get("start") == experiment_plan.SCRATCH]
    assert sorted(cell.axes["model.settings.num_hidden_layers"] for cell in controls) == [2, 3]
    for name in ("a", "b"):
        checkpoint(tmp_path / name, name.encode())
    text = f"checkpoints: {{a: {{path: {tmp_path / 'a'}}}, b: {{path: {tmp_path / 'b'}}}}}\n"
    text += "finetune: {from_scratch: true}\ntasks: [toy_arithmetic]\n"
    assert sum("start" in cell.axes for cell in planned(text)) == 1
    (tmp_path / "b" / "config.json").write_text('{"model_type": "gpt2"}')
    assert sum("start" in cell.axes for cell in planned(text)) == 2


def test_stability_is_measured_untuned_whatever_before_says_and_on_the_tasks_own_data(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    text = TINY + f"}}\ntasks: {{race: {{}}, piqa: {{data: {tmp_path / 'rows.jsonl'}}}}}\n"
    text += "evaluate: {before: BEFORE, stability: [piqa, hellaswag]}"
    for before, tasks in (("false", ["piqa", "hellaswag"]), ("true", ["race", "piqa", "hellaswag"])):
        cells = planned(text.replace("BEFORE", before))
        assert [cell.task for cell in cells if cell.kind == "before"] == tasks
    tuned = next(cell for cell in cells if cell.kind == "tune")
    assert tuned.config["stability"]["piqa"]["data"] == str(tmp_path / "rows.jsonl")


def test_a_gap_of_a_given_base_whose_run_recorded_its_windows(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "run" / "checkpoint-4")
    facts: dict[str, Any] = {"inputs": {}, "tokenizer": {}, "split": {}}
    facts |= {"order": {"seed": 1, "steps": 4, "batch_size": 2}, "fingerprint": "1"}
    (tmp_path / "run" / "data.json").write_text(json.dumps(facts))
    text = f"checkpoints: {{a: {{path: {folder}}}, b: {{path: org/name}}}}\ngap: {{}}"
    assert [cell.base.label for cell in planned(text) if cell.kind == "gap"] == ["a"]
    first = keys(text)
    (tmp_path / "run" / "data.json").write_text(json.dumps(facts | {"fingerprint": "2"}))
    assert {label for label, key in keys(text).items() if key != first[label]} == {"gap a"}
    (tmp_path / "run" / "data.json").write_text(json.dumps({"task": "race"}))  # of a fine-tuning run
    with pytest.raises(SpectraError, match="gap needs bases that it trains"):
        planned(text)


def test_bases_come_first_and_fine_tuning_last() -> None:
    kinds = [cell.kind for cell in experiment_plan.cells(experiment.load("demo"))]
    order = ["base" if kind == "base" else "tune" if kind == "tune" else "measure" for kind in kinds]
    assert order == sorted(order, key=["base", "measure", "tune"].index)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resources: {threads: 0}", r"resources\.threads = 0: expected at least 1"),
        ("resources: {threads: -2}", r"resources\.threads = -2"),
        ("resources: {gpus: -1}", r"resources\.gpus = -1: expected at least 0"),
        ("resources: {memory_gb: 0}", r"resources\.memory_gb = 0: expected more than 0 GB"),
        ("evaluate: {samples: -1}", r"evaluate\.samples = -1: expected at least 0"),
        ("evaluate: {limit: 0}", r"evaluate\.limit = 0: expected at least 1"),
        ("evaluate: {max_tokens: 0}", r"evaluate\.max_tokens = 0"),
        ("evaluate: {profile: evlom}", r"evaluate\.profile = 'evlom'.* Did you mean 'evolm'"),
        ("evaluate: {stability: [piqa, piqa]}", r"evaluate\.stability names piqa twice"),
        ("evaluate: {reward_model: ./no/such}", r"evaluate\.reward_model: there is nothing at ./no/such"),
        ("probe: {tasks: [sst3]}", r"probe\.tasks: unknown probe task 'sst3'.* Did you mean 'sst2'"),
        ("probe: {tasks: []}", r"probe\.tasks is empty"),
        ("probe: {tasks: [sst2], seeds: 0}", r"probe\.seeds = 0: expected at least 1"),
        ("probe: {tasks: [sst2], limit: 3}", r"probe\.limit = 3: expected at least 4"),
        ("probe: {tasks: [sst2], data: {sst3: x}}", r"probe\.data\.sst3: .* Did you mean 'sst2'"),
        ("probe: {tasks: [sst2], data: {sst2: no/such}}", r"probe\.data\.sst2: No data at no/such"),
        ("gap: {windows: 0}", r"gap\.windows = 0: expected at least 1"),
        ("finetune: {by_base: {tini: table6}}", r"finetune\.by_base\.tini: there is no such base\. Did you mean 'tiny'"),
        ("finetune: {recipe: table7}", r"No fine-tuning recipe 'table7'"),
        ("axis: decay.bsae", r"axis = 'decay\.bsae': no base has it\. Did you mean 'decay\.base'"),
        ("finetune: {set: {train.seed: 7}}", r"finetune\.set\.train\.seed: use finetune\.seeds, such as .*\[7\]"),
        ("finetune: {set: {seed: 7}}", r"finetune\.set\.seed: use finetune\.seeds"),
        ("finetune: {grid: {train.lr: 1e-4}}", r"finetune\.grid\.train\.lr = 0\.0001: expected a list of values, such as \[0"),
        ("finetune: {grid: {train.lr: []}}", "the grid is empty"),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(text: str, said: str) -> None:
    with pytest.raises(SpectraError, match=said):
        planned(f"{TINY}}}\ntasks: [race]\n{text}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pretrain: {recipe: tiny, set: {train.seed: 7}}\ntasks: [race]", r"pretrain\.set\.train\.seed: use pretrain\.seeds"),
        ("pretrain: {recipe: tiny, variants: {a: 3}}\ntasks: [race]", r"pretrain\.variants\.a = 3: expected a mapping"),
        ("pretrain: {recipe: tiny, variants: {a: {train.seed: 3}}}\ntasks: [race]", r"variants\.a\.train\.seed: use"),
        ("pretrain: {recipe: tiny, variants: {a: {train.lr: 1}}, grid: {train.lr: [2]}}\ntasks: [race]", r"train\.lr: it is set"),
        ("pretrain: {recipe: vit_tiny}\ngap: {}", "gap needs bases that it trains itself on texts"),
        ("pretrain: {recipe: vit_tiny}\ntasks: [race]\nprobe: {tasks: [sst2]}", "tasks and probe of texts cannot be asked of 'vit"),
        ("pretrain: {recipe: tiny, set: {data.source: ./no/c.txt}}\nspectra: {}", r"No data source './no/c.txt'"),
        ("pretrain: {recipe: tiny, set: {data.tokenizer: no/such/one}}\nspectra: {}", r"data\.tokenizer: there is nothing at no/"),
        ("pretrain: {recipe: tiny, set: {model.init_from: ./no}}\nspectra: {}", r"model\.init_from: there is nothing at ./no"),
        ("pretrain: {recipe: tiny, grid: {train.lr: 1e-4}}\ntasks: [race]", "expected a list of values"),
        ("pretrain: {recipe: tiny, grid: {train.seed: [1]}}\ntasks: [race]", r"use pretrain\.seeds"),
        ("pretrain: {recipe: tiny}\ntasks: [race, race]", "tasks names race twice"),
        ("pretrain: {recipe: tiny}\ntasks: [safety]", r"tasks\.safety is scored by a reward model, and none is named"),
        ("checkpoints: {a: {path: runs/nope}}\ntasks: [race]", r"checkpoints\.a\.path: there is nothing at runs/nope"),
        ("checkpoints: {a: {path: org/name/}}\ntasks: [race]", "there is nothing at org/name/"),
        ("checkpoints: {a: {path: org/checkpoint-9}}\ntasks: [race]", "there is nothing at org/checkpoint-9"),
        ("checkpoints: {a: {path: models/small.gguf}}\ntasks: [race]", "there is nothing at models/small.gguf"),
        ("checkpoints: {a: {path: ~/such}}\ntasks: [race]", "there is nothing at ~/such"),
    ],
)  # fmt: skip
def test_an_experiment_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(SpectraError, match=said):
        planned(text)


def test_a_folder_here_is_no_owner_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "checkpoints: {a: {path: mine/nope}}\nspectra: {}"
    assert [cell.base.hub_id for cell in planned(text)] == ["mine/nope"] * 2
    (tmp_path / "mine").mkdir()
    with pytest.raises(SpectraError, match="nothing at mine/nope"):
        planned(text)


def test_probes_take_as_many_texts_as_the_command_does() -> None:
    from plasticity.probe_config import LIMIT

    probe = experiment.from_yaml(f"{TINY}}}\nprobe: {{tasks: [sst2]}}", "x", "x").probe
    assert probe is not None and probe.limit == LIMIT


def costs(text: str) -> tuple[list[Cell], list[experiment_estimate.Estimate]]:
    cells = planned(text)
    return cells, [experiment_estimate.estimate(experiment.from_yaml(text, "x", "x"), cell) for cell in cells]


def test_a_reward_model_costs_time_and_memory() -> None:
    text = TINY + "}\ntasks: [race]\nfinetune: {set: {train.steps: 2}}\nresources: {gpus: 1}\n"
    more = text + "evaluate: {reward_model: org/Reward-8B-v0.2}"
    unknown = text + "evaluate: {reward_model: org/judge}"
    for number, cell in enumerate(planned(text)):
        without, known, asked = (costs(one)[1][number] for one in (text, more, unknown))
        if cell.kind == "base":
            assert without == known == asked
            continue
        assert without.gpu_hours is not None and known.gpu_hours is not None and known.memory_gb is not None
        assert known.gpu_hours > 2 * without.gpu_hours and known.memory_gb > 16
        assert asked.gpu_hours is None  # its size is not known: not free


@pytest.mark.parametrize(
    ("name", "billions"),
    [("Skywork/Skywork-Reward-Llama-3.1-8B-v0.2", 8), ("a/b-0.5b", 0.5), ("70b/judge", None), ("a/bbb", None)],
)
def test_the_size_of_a_model_on_the_hub_is_in_its_name(name: str, billions: float | None) -> None:
    assert experiment_estimate.reward_parameters(name) == (None if billions is None else int(billions * 1e9))


def test_what_is_not_estimated_is_not_called_nothing() -> None:
    cells, found = costs(TINY + "}\nprobe: {tasks: [sst2]}\ngap: {windows: 8}\nspectra: {}")
    hours = {cell.kind: cost.gpu_hours for cell, cost in zip(cells, found, strict=True)}
    assert hours["probe"] is None and hours["spectra"] is None
    assert hours["gap"] is not None and hours["gap"] > 0


def test_of_small_memory_the_message_has_numbers_too() -> None:
    text = TINY + "}\ntasks: [toy_arithmetic]\nresources: {memory_gb: 0.001}"
    cells, found = costs(text)
    with pytest.raises(
        SpectraError, match=r"needs about [1-9][\d.]* MB .* there are 1 MB\..* Cells refused besides: 2\."
    ):
        experiment_estimate.check_memory(experiment.from_yaml(text, "x", "x"), cells, found)


def test_a_task_whose_data_are_elsewhere_is_refused_and_no_other(tmp_path: Path) -> None:
    text = TINY + "}\ntasks: {race: {}, safety: {reward_model: org/judge}}\n"
    cells, found = costs(text)
    refused = experiment_estimate.refused(experiment.from_yaml(text, "x", "x"), cells, found)
    assert {cells[number].task for number in refused} == {"safety"} and len(refused) == 2
    assert all("not on the hub, but at https://github.com" in reason for reason in refused.values())
    text = text.replace("reward_model", f"data: {tmp_path}, reward_model")
    assert not experiment_estimate.refused(experiment.from_yaml(text, "x", "x"), *costs(text))


def test_what_is_worth_knowing_before_a_plan_is_run() -> None:
    text = """
pretrain: [{recipe: tiny, set: {train.steps: 10, train.save_every: 3, train.keep: KEEP}, seeds: [1, 2]}]
checkpoints: {a: {path: org/name}}
tasks: [toy_arithmetic]
spectra: {every: true}
"""
    said = [
        experiment_notes.notes(experiment.from_yaml(one, "x", "x"), planned(one))
        for one in (text.replace("KEEP", "2"), text.replace("KEEP", "4"))
    ]
    assert said[1] == [
        "from the hub: a (org/name)",
        "numbers (--index): 0-2 bases, 3-8 their measures, 9-11 fine-tuning",
    ]
    (more,) = set(said[0]) - set(said[1])
    assert more.startswith(
        "spectra: {every: true} sees the last 2 of 4 checkpoints of tiny (bases: 2): set train.keep: 4"
    )


def test_the_papers_grid_keeps_checkpoints_enough_and_scores_what_may_be_forgotten() -> None:
    chosen = experiment.load("section_4")
    cells = experiment_plan.cells(chosen)
    assert not any("checkpoints of" in line for line in experiment_notes.notes(chosen, cells))
    untuned = [cell.task for cell in cells if cell.kind == "before" and cell.base == cells[0].base]
    assert untuned == list(chosen.evaluate.stability) and len(untuned) == 5
    assert {f"safety_{n}" for n in (300, 500, 1000)} | {"safety"} <= {cell.task for cell in cells}
    recipe = cells[0].base.recipe
    assert recipe is not None and recipe.train.keep == 20 and recipe.train.save_every == 500


def test_a_killed_fine_tuning_goes_on_though_it_is_saved_more_often_now(tmp_path: Path) -> None:
    """What is not in a cell's address must not keep the cell from being done."""
    from dataclasses import asdict, replace

    from plasticity import finetune_folder
    from plasticity.finetune_config import FinetuneConfig

    config = FinetuneConfig(task="toy_arithmetic")
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / finetune_folder.CONFIG).write_text(json.dumps(asdict(config)))
    often = replace(config, train=replace(config.train, save_every=7, keep=9, log_every=3))
    finetune_folder.check(often, tmp_path, resume=True, say=lambda _: None)
    with pytest.raises(SpectraError, match=r"train\.lr was"):
        finetune_folder.check(
            replace(often, train=replace(often.train, lr=1.0)), tmp_path, resume=True, say=lambda _: None
        )


def test_a_gap_is_of_bases_trained_on_texts() -> None:
    text = "pretrain: [{recipe: tiny}, {recipe: vit_tiny}]\ngap: {}\nspectra: {}\n"
    assert [cell.base.axes["recipe"] for cell in planned(text) if cell.kind == "gap"] == ["tiny"]
