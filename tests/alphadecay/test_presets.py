"""Every shipped recipe is read, comes back from its YAML, and has the papers' numbers (tests/alphadecay/paper_tables.py)."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from alphadecay import recipes
from alphadecay.budget import budget

from .paper_tables import ADAM_RATIOS, ADAMW_RATIOS, DECAYS, LLAMA, PLASTICITY, VIT_RATIOS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", recipes.names(variants=True))
def test_every_recipe_is_read_and_written(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe.name == name and recipe.description and recipe.source
    assert recipes.from_yaml(recipes.to_yaml(recipe), "text", "other") == recipe


def test_every_sweep_gives_different_recipes() -> None:
    for name in recipes.names():
        for sweep in recipes.open_file(name).sweeps:
            cells = recipes.cells(name, sweep)
            assert len({recipes.to_yaml(cell) for cell in cells}) == len(cells) > 1, (name, sweep)


@pytest.mark.parametrize(("name", "row"), LLAMA.items())
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_alphadecay_tables_1_and_6(name: str, row: tuple[float, ...], optimizer: str) -> None:
    full = name if optimizer == "adam" else f"{name}_adamw"
    if full not in recipes.names():
        assert name in ("llama_350m", "llama_1b"), "table 3 has 60M and 135M"
        return
    recipe = recipes.load(full)
    s, train, data = recipe.model.settings, recipe.train, recipe.data
    hidden, intermediate, heads, layers, steps, lr, tokens = row
    assert (s["hidden_size"], s["intermediate_size"], s["num_hidden_layers"]) == (hidden, intermediate, layers)
    assert s["num_attention_heads"] == s["num_key_value_heads"] == heads and s["vocab_size"] == 32_000
    assert data is not None and (data.window, data.source, data.subset, data.packing) == (
        256,
        "allenai/c4",
        "en",
        "document",
    )
    assert (train.optimizer, train.steps, train.lr, train.batch_size, train.clip) == (optimizer, steps, lr, 512, 1.0)
    assert (train.schedule, train.warmup, train.floor, train.precision) == ("cosine", 0.1, 0.1, "bf16")
    assert train.seed == data.seed == 42 and recipe.decay.gap == 500
    total = budget(recipe).tokens
    assert total is not None and 0.75 * total == pytest.approx(tokens, rel=0.02), "three quarters are not padding"


def _cells(name: str, ratios: dict[float, tuple[float, float]], factor: float) -> None:
    """Every policy at every decay, as in tables 2, 3 and 5, and nothing else."""
    found = recipes.open_file(name)
    expected = {"none"}
    none = found.variant("none").decay
    assert (none.policy, none.base) == ("none", 0)
    for decay, ratio in ratios.items():
        label = f"{decay:g}".replace("e-0", "e-")
        for policy in ("uniform", "awd", "adadecay", "alphadecay"):
            expected.add(f"{policy}-{label}")
            made = found.variant(f"{policy}-{label}").decay
            assert (made.policy, made.base, made.gap) == (policy, decay, 500)
            if policy == "awd":
                assert made.factor == factor
            if policy == "adadecay":
                assert (made.granularity, made.steepness) == ("module", 4)
            if policy == "alphadecay":
                assert (made.ratio, made.score, made.fit, made.assignment) == (ratio, "alpha", "hill", "linear")
    assert set(found.variants) == expected


@pytest.mark.parametrize("name", LLAMA)
def test_alphadecay_table_2(name: str) -> None:
    _cells(name, ADAM_RATIOS, 100)


@pytest.mark.parametrize("name", ["llama_60m_adamw", "llama_135m_adamw"])
def test_alphadecay_table_3(name: str) -> None:
    _cells(name, ADAMW_RATIOS, 100)


def test_alphadecay_table_5() -> None:
    _cells("vit_tiny", VIT_RATIOS, 50)
    recipe = recipes.load("vit_tiny")
    train, images = recipe.train, recipe.images
    assert (train.epochs, train.lr, train.batch_size, train.micro_batch) == (120, 4e-3, 2 * 192, 192)
    assert (train.warmup * 120, train.drop_path, train.ema) == (20, 0.1, 0.9999)
    assert images is not None and (images.mixup, images.source) == (0.8, "ILSVRC/imagenet-1k")
    assert train.optimizer == "adam"


def test_alphadecay_ablations() -> None:
    small, middle = recipes.open_file("llama_60m").sweeps, recipes.open_file("llama_135m").sweeps
    decays = [3e-6, 4e-6, 5e-6, 6e-6, 7e-6, 8e-6, 9e-6, 1e-5]
    assert small["table_7"] == {"decay.base": decays, "decay.ratio": [[0.67, 5]]}
    assert middle["table_7_low"] == {"decay.base": decays[:4], "decay.ratio": [[0.67, 5]]}
    assert middle["table_7_high"] == {"decay.base": decays[4:], "decay.ratio": [[0.67, 3]]}
    assert small["table_8"] == {"decay.assignment": ["linear", "sqrt", "log2", "sigmoid"]}
    assert middle["table_9"] == {"decay.score": ["alpha", "gradient_norm", "frobenius_norm", "spectral_norm"]}
    assert small["table_10"] == middle["table_10"] == {"decay.fit": ["gof", "fix_finger", "hill"]}
    assert small["table_11"] == middle["table_11"] == {"decay.gap": [500, 250, 100, 50, 1]}
    assert middle["figure_9"] == {"decay.ratio": [[0.33, 1.5], [0.67, 1.5], [0.67, 3], [0.67, 5]]}
    assert len(middle["table_4"]["train.seed"]) == 6


@pytest.mark.parametrize(("name", "row"), PLASTICITY.items())
def test_plasticity_tables_1_to_5(name: str, row: tuple[float, ...]) -> None:
    recipe = recipes.load(name)
    s, train, data = recipe.model.settings, recipe.train, recipe.data
    hidden, intermediate, vocabulary, context, heads, layers, groups, ratio, tokens, batch, lr, least = row
    assert (s["hidden_size"], s["intermediate_size"], s["vocab_size"]) == (hidden, intermediate, vocabulary)
    assert (s["num_attention_heads"], s["num_hidden_layers"], s["num_key_value_heads"]) == (heads, layers, groups)
    assert data is not None and data.window == s["max_position_embeddings"] == context
    assert (train.tokens_per_parameter, train.batch_size, train.lr) == (ratio, batch, lr)
    assert train.lr * train.floor == pytest.approx(least)
    assert (train.precision, train.warmup, train.clip) == ("bf16-mixed", 0.1, 1)
    assert (train.optimizer, train.beta1, train.beta2) == ("adamw", 0.9, 0.95)
    assert train.schedule == ("wsd" if name == "olmo2_1b_140x" else "cosine")
    assert recipe.decay.policy == "uniform"
    assert recipe.decay.exempt == (("model.embed_tokens.weight",) if name.startswith("olmo2") else ())
    total = budget(recipe).tokens
    assert total == pytest.approx(tokens, rel=0.011), "table 2 rounds the parameters"
    assert [cell.decay.base for cell in recipes.cells(name, "table_3")] == DECAYS[name]


def test_plasticity_appendix_e1() -> None:
    cells = recipes.cells("olmo2_1b_20x", "appendix_e1")
    pairs = [(cell.decay.base, cell.train.lr) for cell in cells]
    assert pairs == [(decay, lr) for decay in (0.1, 0.6, 1.0) for lr in (2e-4, 4e-4, 8e-4)]
    assert cells[0].name == "olmo2_1b_20x[decay.base=0.1,train.lr=0.0002]"


def test_the_page_lists_every_recipe() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    shipped = text.partition("## Shipped")[2].partition("## Keys")[0]
    rows = dict(re.findall(r"^\| `([\w.]+)` \|.*\| ([^|]+) \|$", shipped, re.MULTILINE))
    assert set(rows) == set(recipes.names())
    for name in recipes.names():
        opened = recipes.open_file(name)
        assert rows[name].strip() == opened.recipe.source, name
        line = next(line for line in shipped.splitlines() if line.startswith(f"| `{name}` |"))
        for sweep in opened.sweeps:
            assert f"`{sweep}`" in line, (name, sweep)
        assert f"{budget(opened.recipe).parameters:,}" in line, name


def test_the_page_lists_every_key() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for section, cls in recipes.SECTIONS.items():
        for field in dataclasses.fields(cls):
            assert f"`{field.name}`" in text, f"{section}.{field.name}"
