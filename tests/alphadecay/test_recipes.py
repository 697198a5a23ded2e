"""Recipes: found by name and path, inherited, varied, overridden, compared, kept in the folder of a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alphadecay import recipes, runs, strict_yaml
from alphadecay.budget import Budget, budget
from alphadecay.recipes import override
from spectra.errors import SpectraError

Writer = Callable[[str], str]

MINIMAL = """
model: {settings: {hidden_size: 32, num_attention_heads: 4}}
data: {source: embedded}
train: {steps: 10, lr: 1e-3, batch_size: 4}
decay: {policy: uniform, base: 0.1}
"""


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Text -> path of `mine.yaml` that holds it."""

    def to_file(text: str) -> str:
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return str(tmp_path / "mine.yaml")

    return to_file


@pytest.mark.parametrize(
    ("assignments", "differs"),
    [
        (["train.lr=1e-3"], ["train.lr: 0.003 -> 0.001"]),
        (["lr=1e-3", "decay.base=0"], ["train.lr: 0.003 -> 0.001", "decay.base: 0.1 -> 0.0"]),
        (["tokens=1e9"], ["train.steps: 250 -> None", "train.tokens: None -> 1000000000"]),
        (["ratio=[1, 2.5e0]"], ["decay.ratio: [0.67, 5.0] -> [1.0, 2.5]"]),
        (["exempt=*norm*"], ["decay.exempt: [] -> ['*norm*']"]),
        (["exempt=[a, 'b c']"], ["decay.exempt: [] -> ['a', 'b c']"]),
        (["hidden_size=64"], ["model.settings.hidden_size: 96 -> 64"]),
        (["model.settings.mlp_bias=true"], ["model.settings.mlp_bias: (absent) -> True"]),
        (["revision=1234"], ["data.revision: None -> 1234"]),
        (["source=mine=yours.txt"], []),
        (["micro_batch=null"], []),
        (["name=other", "description=x: y"], []),
        ([], []),
    ],
)
def test_overrides(assignments: list[str], differs: list[str]) -> None:
    tiny = recipes.load("tiny")
    if assignments == ["source=mine=yours.txt"]:
        assignments, differs = ["data.source=mine=yours.txt"], ["data.source: embedded -> mine=yours.txt"]
    changed = override(tiny, assignments)
    assert recipes.differences(tiny, changed) == differs
    assert recipes.from_yaml(recipes.to_yaml(changed), "text", "x") == changed


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["lr"], "Got 'lr', expected key=value, such as train.lr=0.001."),
        (["=3"], "expected key=value"),
        (["seed=1"], "'seed' could be data.seed or train.seed. Write the one you mean."),
        (["lrr=1"], "Unknown key 'lrr'. Did you mean 'lr'?"),
        (["train.stepps=1"], "Unknown key 'stepps' in train. Did you mean 'steps'?"),
        (["trian.lr=1"], "Unknown section 'trian' in 'trian.lr'. Did you mean 'train'?"),
        (["images.size=8"], "images.size: recipe 'tiny' has no section images; it has model, data, train, decay."),
        (["lr=fast"], "train.lr = 'fast': expected a number."),
        (["lr=1", "train.lr=2"], "train.lr is set twice: keep one."),
        (["steps=1", "epochs=2"], "Got train.steps and train.epochs, expected one of them"),
        (["steps=null"], "train: got none, expected exactly one of"),
        (["policy=alphadeca"], "Did you mean 'alphadecay'?"),
        (["keep=1"], "train.keep = 1: expected a number of at least 2"),
        (["ratio=[1"], "ratio=[1: not YAML"),
        (["train=3"], "Unknown key 'train'"),
        (["settings=3"], "model.settings = 3: expected a mapping."),
    ],
)
def test_wrong_overrides_are_refused(assignments: list[str], words: str) -> None:
    with pytest.raises(SpectraError) as error:
        override(recipes.load("tiny"), assignments)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_file_of_ones_own(write: Writer) -> None:
    recipe = recipes.load(write(MINIMAL))
    assert (recipe.name, recipe.train.lr, recipe.model.family) == ("mine", 1e-3, "llama")
    path = write("extends: llama_60m:awd-1e-5\ntrain: {tokens: 1e9}\nvariants:\n  fast: {lr: 0.1}\n")
    recipe = recipes.load(path)
    assert (recipe.decay.policy, recipe.decay.base, recipe.train.tokens, recipe.train.steps) == (
        "awd",
        1e-5,
        10**9,
        None,
    )
    fast = recipes.load(f"{path}:fast")
    assert (fast.name, fast.train.lr) == ("mine:fast", 0.1)
    assert list(recipes.open_file(path).variants) == ["fast"], "variants are inherited whole or not at all"
    recipe = recipes.load(
        write("extends: tiny\nimages: {source: x}\nmodel: {family: vit, settings: {num_labels: 3}}\n")
    )
    assert recipe.data is None and recipe.model.settings == {"num_labels": 3}


def test_a_file_extends_one_beside_it(write: Writer, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(MINIMAL, encoding="utf-8")
    recipe = recipes.load(write("extends: base.yaml\nmodel: {settings: {hidden_size: 64}}\n"))
    assert recipe.model.settings == {"hidden_size": 64, "num_attention_heads": 4}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "got NoneType, expected a mapping"),
        ("- a", "got list, expected a mapping"),
        ("a: [", "mine.yaml: not YAML"),
        ("model: {}\ntrain: {lr: 1}\nmodel: {}\n", "mine.yaml, line 3: not YAML (the key 'model' stands twice)"),
        ("modle: {}", "Unknown key 'modle' in mine.yaml. Did you mean 'model'?"),
        ("model: {}", "mine.yaml has no section train"),
        ("extends: llama_61m", "No recipe 'llama_61m'. Did you mean 'llama_60m'?"),
        ("extends: llama_60m:awd", "has no variant 'awd'"),
        ("extends: mine.yaml", "mine.yaml extends itself"),
        ("extends: tiny\ntrain: 3", "mine.yaml, train: got int, expected a mapping"),
        ("extends: tiny\ntrain: {lrr: 3}", "Unknown key 'lrr' in train. Did you mean 'lr'?"),
        ("extends: tiny\nvariants: {a: {lrr: 3}}", "Unknown key 'lrr'. Did you mean 'lr'?"),
        ("extends: tiny\nvariants: {a: 3}", "variants.a: got int, expected a mapping"),
        ("extends: tiny\nsweeps: {a: {lr: 3}}", "sweeps.a.lr = 3: expected a list of values"),
        ("extends: tiny\nsweeps: {a: {lr: [-1]}}", "train.lr = -1.0"),
        ("extends: tiny\nname: 3", "name = 3: expected text"),
    ],
)
def test_wrong_files_are_refused(write: Writer, text: str, words: str) -> None:
    with pytest.raises(SpectraError) as error:
        recipes.load(write(text))
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tyny", "No recipe 'tyny'. Did you mean 'tiny'? Known: "),
        ("llama_60m:uniform", "Recipe 'llama_60m' has no variant 'uniform'. "),
        ("tiny:x", "Recipe 'tiny' has no variant 'x'. It has none."),
        ("runs/none.yaml", "No recipe file runs/none.yaml"),
        ("none.yml", "No recipe file none.yml"),
    ],
)
def test_names_that_are_none(name: str, words: str) -> None:
    with pytest.raises(SpectraError) as error:
        recipes.load(name)
    assert words in str(error.value)
    with pytest.raises(SpectraError, match="has no sweep 'table_8'"):
        recipes.cells("llama_135m", "table_8")


def test_sweeps_apply_to_variants() -> None:
    cells = recipes.cells("llama_60m:alphadecay-1e-5", "table_11")
    assert [(cell.decay.gap, cell.decay.ratio) for cell in cells] == [
        (gap, (0.67, 3)) for gap in (500, 250, 100, 50, 1)
    ]
    assert cells[-1].name == "llama_60m:alphadecay-1e-5[decay.gap=1]"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1e9", 1e9), ("-1.5E+3", -1500.0), (".5e1", 5.0), ("1.", 1.0), ("12", 12), ("1_000", 1000),
     ("none", "none"), ("null", None), ("e-3", "e-3"), ("1e", "1e"), ("off", False), ("'1e3'", "1e3")],
)  # fmt: skip
def test_yaml_scalars(text: str, value: object) -> None:
    read = strict_yaml.read(text, "x")
    assert read == value and type(read) is type(value)
    assert strict_yaml.read(strict_yaml.write({"a": value}), "x") == {"a": value}


def test_steps_from_each_budget() -> None:
    tiny = recipes.load("tiny")  # 16 x 128 = 2048 tokens a step, 492,384 parameters

    def steps(*assignments: str, windows: int | None = None) -> Budget:
        return budget(override(tiny, assignments), windows)

    assert steps().steps == 250 and steps().tokens == 512_000
    assert steps("tokens=2048").steps == 1 and steps("tokens=2049").steps == 2
    found = steps("tokens_per_parameter=20")
    assert found.steps == -(-20 * 492_384 // 2048) and found.tokens_per_parameter == pytest.approx(20, rel=1e-3)
    assert steps("epochs=2").steps is None and steps("epochs=2").tokens is None
    assert steps("epochs=2", windows=47).steps == 5
    with pytest.raises(SpectraError, match="15 windows are less than one batch of 16"):
        steps("epochs=1", windows=15)
    with pytest.raises(SpectraError, match=r"train\.warmup = 300 steps, but the run has 250"):
        steps("warmup=300")
    with pytest.raises(SpectraError, match=r"data\.window = 256, but the model has 128 positions"):
        steps("window=256")
    with pytest.raises(SpectraError, match=r"vocab_size is not set, and data\.tokenizer is x/y"):
        steps("tokenizer=x/y")


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    tiny, out = recipes.load("tiny"), tmp_path / "a" / "run"
    runs.check(out, tiny, resume=False)
    with pytest.raises(SpectraError, match=r"holds no run \(no recipe.yaml\)"):
        runs.check(out, tiny, resume=True)
    runs.begin(out, tiny, budget(tiny))
    assert sorted(path.name for path in out.iterdir()) == ["budget.json", "recipe.yaml"]
    assert runs.recipe_of(out) == tiny
    changed = override(tiny, ["lr=1", "description=other"])
    runs.check(out, changed, resume=False)  # the data could not be opened, say: nothing is lost by beginning again
    runs.begin(out, changed, budget(changed))
    assert runs.recipe_of(out).train.lr == 1.0
    runs.begin(out, tiny, budget(tiny))
    (out / "checkpoint-1").mkdir()
    with pytest.raises(SpectraError, match="already holds a run: go on with it"):
        runs.check(out, tiny, resume=False)
    runs.check(out, tiny, resume=True)
    with pytest.raises(SpectraError, match=r"began with \(train.lr: 0.003 -> 1.0\)"):
        runs.check(out, changed, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(SpectraError, match="is a file, expected a folder"):
        runs.check(tmp_path / "file", tiny, resume=False)
    with pytest.raises(SpectraError, match="Cannot make the folder"):
        runs.begin(tmp_path / "file" / "x", tiny, budget(tiny))


def test_reading_recipes_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom alphadecay import recipes\nrecipes.load('tiny')\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
