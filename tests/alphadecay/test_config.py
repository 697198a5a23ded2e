"""Every field of a recipe refuses what it cannot use, in words; mappings become dataclasses by their annotations."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from alphadecay import fields
from alphadecay.config import DataConfig, DecayConfig, ImageConfig, ModelConfig, Recipe, TrainConfig
from spectra.errors import SpectraError


def train(**given: Any) -> TrainConfig:
    return TrainConfig(**({"steps": 10, "lr": 1e-3} | given))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": None}, "got none, expected exactly one of steps, tokens, tokens_per_parameter, epochs"),
        ({"tokens": 5}, "got steps and tokens, expected exactly one"),
        ({"steps": 0}, "train.steps = 0: expected a number above 0"),
        ({"lr": 0.0}, "train.lr = 0.0: expected a number above 0"),
        ({"lr": float("nan")}, "train.lr = nan"),
        ({"lr": float("inf")}, "train.lr = inf"),
        ({"batch_size": 16, "micro_batch": 3}, "train.micro_batch = 3: expected a divisor of batch_size 16"),
        ({"beta1": 1.0}, "train.beta1 = 1.0: expected a share from 0 up to, not including, 1"),
        ({"floor": -0.1}, "train.floor = -0.1"),
        ({"keep": 1}, "train.keep = 1: expected a number of at least 2"),
        ({"clip": -1.0}, "train.clip = -1.0: expected a number of at least 0"),
        ({"warmup": 1.5}, "train.warmup = 1.5: expected a share under 1, or a whole number of steps"),
        ({"warmup": -1.0}, "train.warmup = -1.0"),
        ({"decay_share": 0.0}, "train.decay_share = 0.0"),
        ({"schedule": "wsd", "warmup": 0.6, "decay_share": 0.5}, "expected at most 1, the whole run"),
        ({"processes": 0}, "train.processes = 0"),
    ],
)
def test_train_refuses(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SpectraError) as error:
        train(**given)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"base": -1.0}, "decay.base = -1.0: expected a number of at least 0"),
        ({"ratio": (5.0, 1.0)}, "decay.ratio = [5.0, 1.0]: expected two numbers s1, s2 with 0 <= s1 <= s2"),
        ({"ratio": (1.0, float("inf"))}, "decay.ratio"),
        ({"gap": 0}, "decay.gap = 0: expected a number of at least 1"),
        ({"factor": 0.0}, "decay.factor = 0.0: expected a number above 0"),
        ({"exempt": ("",)}, "decay.exempt = ['']"),
    ],
)
def test_decay_refuses(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SpectraError) as error:
        DecayConfig(**given)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": 0}, "images.size = 0"),
        ({"crop": 0.0}, "images.crop = 0.0: expected a share of the area"),
        ({"mixup": -1.0}, "images.mixup"),
        ({"std": (0.0, 1.0, 1.0)}, "images.std"),
    ],
)
def test_images_refuse(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SpectraError) as error:
        ImageConfig(source="x", **given)
    assert words in str(error.value)


def test_recipe_has_text_or_images_and_only_what_goes_with_them() -> None:
    parts: dict[str, Any] = {"name": "r", "model": ModelConfig(), "decay": DecayConfig()}
    data, images = DataConfig(), ImageConfig(source="x")
    Recipe(**parts, train=train(), data=data)
    Recipe(**parts, train=train(ema=0.99, drop_path=0.1), images=images)
    for given, words in (
        ({"train": train()}, "has neither"),
        ({"train": train(), "data": data, "images": images}, "has both"),
        ({"train": train(ema=0.99), "data": data}, "are for image models"),
        ({"train": train(drop_path=0.1), "data": data}, "are for image models"),
        ({"train": train(steps=None, tokens=5), "images": images}, "count text"),
    ):
        with pytest.raises(SpectraError, match=words):
            Recipe(**parts, **given)


def test_every_field_says_what_it_is() -> None:
    """A docstring after every field; the ones of DataConfig are their author's."""
    import ast
    import inspect

    from alphadecay import config

    tree = ast.parse(inspect.getsource(config))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for at, item in enumerate(node.body):
                if isinstance(item, ast.AnnAssign):
                    assert isinstance(item.target, ast.Name)
                    after = node.body[at + 1] if at + 1 < len(node.body) else None
                    documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                    assert documented, f"{node.name}.{item.target.id}"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lr": "1e-3x"}, "train.lr = '1e-3x': expected a number."),
        ({"lr": True}, "train.lr = True: expected a number."),
        ({"lr": None}, "train.lr = None: expected a number."),
        ({"lr": 1, "steps": 1.5}, "train.steps = 1.5: expected a whole number or null."),
        ({"lr": 1, "batch_size": True}, "train.batch_size = True: expected a whole number."),
        ({"lr": 1, "gradient_checkpointing": 1}, "train.gradient_checkpointing = 1: expected true or false."),
        ({"lr": 1, "optimizer": "adamv"}, "expected one of adamw, adam. Did you mean 'adam'?"),
        ({"lr": 1, "report_to": "wandb"}, "train.report_to = 'wandb': expected a list, each text."),
        ({"lr": 1, "report_to": [1]}, "train.report_to = [1]: expected a list, each text."),
        ({"lr": 1, "stepps": 3}, "Unknown key 'stepps' in train. Did you mean 'steps'?"),
        ({"steps": 3}, "train.lr is missing: expected a number. Add it."),
    ],
)
def test_wrong_types_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SpectraError) as error:
        fields.build(TrainConfig, values, "train")
    assert words in str(error.value)


def test_numbers_are_taken_as_they_are_meant() -> None:
    made = fields.build(TrainConfig, {"lr": 1, "tokens": 1e9, "report_to": ["wandb"]}, "train")
    assert (made.lr, made.tokens, made.report_to) == (1.0, 1_000_000_000, ("wandb",))
    assert isinstance(made.lr, float) and isinstance(made.tokens, int)
    decay = fields.build(DecayConfig, {"ratio": [1, 2.5]}, "decay")
    assert decay.ratio == (1.0, 2.5)
    for ratio in ([1], [1, 2, 3], "1, 2", [1, "2"]):
        with pytest.raises(SpectraError, match="expected a list of 2, each a number"):
            fields.build(DecayConfig, {"ratio": ratio}, "decay")
    with pytest.raises(SpectraError, match="expected a mapping"):
        fields.build(ModelConfig, {"settings": [1]}, "model")


def test_a_dataclass_comes_back_from_plain_values() -> None:
    made = DecayConfig(policy="awd", exempt=("a*", "b"), ratio=(0.1, 3.0))
    plain = fields.plain(made)
    assert plain["exempt"] == ["a*", "b"] and set(plain) == {f.name for f in dataclasses.fields(DecayConfig)}
    assert fields.build(DecayConfig, plain, "decay") == made


def test_long_lists_of_names_are_left_out_where_one_is_near() -> None:
    many = [f"name_{i}" for i in range(30)]
    assert fields.nearest("name_7", many) == "Did you mean 'name_7'?"
    assert fields.nearest("zzz", many).startswith("Known: name_0, ")
    assert fields.nearest("gapp", ["gap", "base"]) == "Did you mean 'gap'? Known: gap, base."
