"""Fine-tuning recipes: found, inherited, laid under the task's settings and key=value, refused where they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plasticity.finetune_config import RECIPES, read_recipe, recipe_names
from plasticity.finetune_options import configure
from plasticity.tasks import registry
from spectra.errors import SpectraError

OWN = registry.get("toy_arithmetic").training
GIVEN = {"task": "toy_arithmetic"}


def refused(*words: str) -> Any:
    return pytest.raises(SpectraError, match="(?s)" + ".*".join(words))


def test_every_shipped_recipe_can_be_run() -> None:
    assert recipe_names() == ["table6", "table6_4b"]
    for name in recipe_names():
        assert configure(GIVEN, recipe=name).train.steps is None


def test_the_recipe_is_under_the_task_and_that_under_the_user() -> None:
    alone = configure(GIVEN, recipe="table6_4b").train
    tasks = configure(GIVEN, own=OWN, recipe="table6_4b").train
    users = configure(GIVEN, ["lr=3", "epochs=2"], OWN, "table6_4b").train
    assert (alone.lr, alone.epochs, alone.batch_size) == (7.5e-6, 3, 64)
    assert (tasks.lr, tasks.steps, tasks.epochs, tasks.batch_size) == (2e-3, 400, None, 32)
    assert (users.lr, users.steps, users.epochs, users.batch_size) == (3, None, 2, 32)
    assert tasks.clip == users.clip == 1.0 and tasks.schedule == "cosine"


def test_a_recipe_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text("extends: table6_4b\ndescription: mine\nwindow: 512\ntrain: {steps: 50}\nlora: {rank: 8}\n")
    config = configure(GIVEN, recipe=str(path))
    assert (config.window, config.lora.rank, config.lora.alpha) == (512, 8, 32)
    assert (config.train.steps, config.train.epochs, config.train.lr) == (50, None, 7.5e-6)
    (tmp_path / "longer.yaml").write_text("extends: long.yaml\ntrain: {epochs: 9}\n")
    config = configure(GIVEN, ["window=64"], recipe=str(tmp_path / "longer.yaml"))
    assert (config.window, config.train.steps, config.train.epochs) == (64, None, 9)
    (tmp_path / "bare.yaml").write_text("train: {steps: 5, lr: 1e-3}\n")
    config = configure(GIVEN, recipe=str(tmp_path / "bare.yaml"))
    assert (config.train.batch_size, config.window) == (512, 2048)  # the library's; nothing is inherited unasked
    assert read_recipe(str(tmp_path / "bare.yaml"))["train"]["eval_every"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: {lrr: 1}", ("Unknown key 'lrr' in mine.yaml, train", "Did you mean 'lr'")),
        ("lora: {rang: 1}", ("Unknown key 'rang' in mine.yaml, lora", "Did you mean 'rank'")),
        ("windw: 1", ("Unknown key 'windw' in mine.yaml", "Did you mean 'window'")),
        ("task: race", ("Unknown key 'task' in mine.yaml",)),
        ("train: {eval_every: 5}", ("eval_every has no effect in fine-tuning", "plasticity evaluate")),
        ("train: {tokens: 5}", ("tokens has no effect", "set steps or epochs")),
        ("train: 5", ("mine.yaml, train: got int, expected a mapping",)),
        ("train: {steps: 5}", ("train.lr is missing",)),
        ("extends: table6\ntrain: {steps: many}", ("train.steps = 'many'", "whole number")),
        ("extends: tabel6", ("No fine-tuning recipe 'tabel6'", "Did you mean 'table6'", "table6, table6_4b")),
        ("extends: mine.yaml", ("extends itself",)),
        ("window: 1\nwindow: 2", ("mine.yaml, line 2", "stands twice")),
    ],
)
def test_wrong_recipes_are_refused(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text + "\n")
    with refused(*words):
        configure(GIVEN, recipe=str(path))


def test_a_long_run_saves_now_and_then_unless_told_otherwise() -> None:
    assert [
        (configure(GIVEN, recipe=name).train.save_every, configure(GIVEN).train.keep) for name in recipe_names()
    ] == [
        (500, 2),
        (500, 2),
    ]
    assert configure(GIVEN, ["save_every=0"]).train.save_every == 0
    assert configure(GIVEN, ["steps=null", "epochs=2"], OWN).train.epochs == 2


def test_wrong_words_are_refused() -> None:
    for words, said in (
        (["lrr=1"], ("Unknown key 'lrr'", "Did you mean 'lr'")),
        (["trian.lr=1"], ("Unknown section 'trian'", "Did you mean 'train'")),
        (["train.lrr=1"], ("Unknown key 'lrr' in train", "Did you mean 'lr'")),
        (["ema=0.9"], ("ema has no effect in fine-tuning", "image models")),
        (["lr=1", "train.lr=2"], ("train.lr is set twice",)),
        (["lr"], ("Got 'lr', expected key=value, such as lr=VALUE",)),
        (["steps", "10"], ("Got 'steps', expected key=value, such as steps=10",)),
        (["much"], ("expected key=value, such as train.lr=0.001",)),
        (["steps=10", "epochs=2"], ("Got steps and epochs, expected one of them",)),
    ):
        with refused(*said):
            configure(GIVEN, words)
    with refused("No fine-tuning recipe 'llama_60m'", "Known: table6"):
        configure(GIVEN, recipe="llama_60m")
    with refused("No recipe file runs/mine.yaml"):
        configure(GIVEN, recipe="runs/mine.yaml")


def test_recipes_are_package_data() -> None:
    import tomllib

    root = RECIPES.parents[1]
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["plasticity"]
    shipped = {path for glob in data for path in RECIPES.parent.glob(glob)}
    assert set(RECIPES.iterdir()) <= shipped and set((RECIPES.parent / "experiments").iterdir()) <= shipped
