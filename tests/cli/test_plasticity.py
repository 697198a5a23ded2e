"""`plasticity pretrain` and `plasticity recipes` as a user runs them: output, files, exit codes, bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from alphadecay import recipes

ROOT = Path(__file__).resolve().parents[2]
RUN = (sys.executable, "-c", "from spectra_cli.plasticity_app import main; main()")
SMALL = (
    "--preset", "tiny", "steps=4", "batch_size=4", "hidden_size=32", "intermediate_size=48", "num_hidden_layers=2",
    "max_tokens=20000", "window=32", "eval_every=2", "eval_windows=4", "save_every=2", "spectra_every=0", "gap=2",
    "data.vocab_size=300", "log_every=1",
)  # fmt: skip


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return plain | {
        "ALPHADECAY_CACHE_DIR": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
    }


def plasticity(env: dict[str, str], *args: object) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = [*RUN, *(str(a) for a in args)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=300, check=False)


def refused(found: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, one message on stderr that says all of `words`, no traceback, nothing on stdout."""
    assert found.returncode == 2, found
    assert "Traceback" not in found.stderr and found.stdout == ""
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1, found.stderr
    for word in words:
        assert word in found.stderr, found.stderr


def test_recipes_are_listed(env: dict[str, str]) -> None:
    found = plasticity(env, "recipes")
    assert found.returncode == 0, found.stderr
    for name in recipes.names():
        assert name in found.stdout
    assert "AlphaDecay, tables 1, 2 and 6" in found.stdout
    assert max(len(line.rstrip()) for line in found.stdout.splitlines()) <= 120


def test_a_recipe_that_is_shown_can_be_kept_and_run(env: dict[str, str], tmp_path: Path) -> None:
    found = plasticity(env, "recipes", "llama_60m")
    assert found.returncode == 0, found.stderr
    assert "# variants:\n#   none: {decay.policy: none, decay.base: 0}" in found.stdout
    assert "#   table_11: {decay.gap: [500, 250, 100, 50, 1]}" in found.stdout
    (tmp_path / "kept.yaml").write_text(found.stdout)
    assert recipes.load(str(tmp_path / "kept.yaml")) == recipes.load("llama_60m")
    found = plasticity(env, "recipes", "llama_60m:awd-1e-5")
    assert "policy: awd" in found.stdout and "# variants" not in found.stdout
    refused(plasticity(env, "recipes", "lama_60m"), "No recipe 'lama_60m'", "Did you mean 'llama_60m'?")


def test_dry_run_prints_the_budget_and_writes_nothing(env: dict[str, str], tmp_path: Path) -> None:
    found = plasticity(env, "pretrain", "llama_60m:uniform-5e-6", "lr=5e-4", "--out", tmp_path / "run", "--dry-run")
    assert found.returncode == 0 and found.stderr == "", found.stderr
    for words in (
        "llama_60m:uniform-5e-6\n", "source: AlphaDecay, tables 1, 2 and 6", "lr=0.0005", "policy=uniform  base=5e-06",
        "58.1M (58,073,600; 25,305,600 without embeddings, vocabulary 32,000)",
        "10,000 of 512 windows x 256 tokens = 131,072 tokens a step",
        "1.31B (1,310,720,000), 22.6 a parameter; the padding of short documents is counted",
    ):  # fmt: skip
        assert words in found.stdout, found.stdout
    assert not (tmp_path / "run").exists()
    found = plasticity(env, "pretrain", "vit_tiny", "--dry-run")
    assert "120 epochs (steps: once the data is read) of 384 images" in found.stdout, found


def test_a_run_from_beginning_to_resume(env: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    found = plasticity(env, "pretrain", *SMALL, "--out", out)
    assert found.returncode == 0, found.stderr
    assert "4 of 4 windows x 32 tokens = 128 tokens a step" in found.stdout
    assert "4 steps in " in found.stdout and "eval loss " in found.stdout
    assert f"wrote {out / 'checkpoint-4'}" in found.stdout
    kept = recipes.from_yaml((out / "recipe.yaml").read_text(), "recipe.yaml", "x")
    assert kept == recipes.override(recipes.load("tiny"), SMALL[2:])
    count = json.loads((out / "budget.json").read_text())
    assert (count["steps"], count["tokens"], count["vocabulary"]) == (4, 512, 300)
    refused(plasticity(env, "pretrain", *SMALL, "--out", out), "already holds a run: go on with it (--resume)")
    changed = plasticity(env, "pretrain", *SMALL, "lr=1", "decay.base=0.5", "--out", out, "--resume")
    refused(changed, "the recipe is not the one", "train.lr: 0.003 -> 1.0; decay.base: 0.1 -> 0.5")
    found = plasticity(env, "pretrain", "--out", out, "--resume", "--quiet")
    assert found.returncode == 0 and found.stderr == "", found.stderr
    assert "4 steps in " in found.stdout
    other = plasticity(env | {"RANK": "1"}, "pretrain", *SMALL, "--dry-run")
    assert (other.returncode, other.stdout, other.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--dry-run",), ("No recipe: name one (--preset tiny, or a YAML file)",)),
        (("tiny",), ("--out is missing",)),
        (("tiny", "--preset", "tiny", "--dry-run"), ("Got RECIPE 'tiny' and --preset 'tiny', expected one of them",)),
        (("--preset", "tyny", "--dry-run"), ("--preset 'tyny': no such recipe. Did you mean 'tiny'?",)),
        (("none.yaml", "--dry-run"), ("No recipe file none.yaml",)),
        (("tiny", "lr", "--dry-run"), ("Got 'lr', expected key=value",)),
        (("tiny", "lrr=3", "--dry-run"), ("Unknown key 'lrr'. Did you mean 'lr'?",)),
        (("tiny", "hidden_size=50", "--dry-run"), ("expected a multiple of the 4 attention heads",)),
        (("--out", "no/such/run", "--resume"), ("no/such/run holds no run (no recipe.yaml)",)),
        (("tiny", "--out", "README.md"), ("README.md is a file, expected a folder",)),
    ],
)
def test_wrong_input_is_refused(env: dict[str, str], args: tuple[str, ...], words: tuple[str, ...]) -> None:
    refused(plasticity(env, "pretrain", *args), *words)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['plasticity', 'pretrain', '--help']\n"
        "from spectra_cli.plasticity_app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'yaml', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip().endswith("[]"), found.stdout[-200:]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (512, "512"), (999_499, "999K"), (999_999, "1M"), (58_073_600, "58.1M"), (1_310_720_000, "1.31B"),
     (207_846_637_568, "208B"), (2.1e12, "2.1T")],
)  # fmt: skip
def test_large_numbers(number: float, text: str) -> None:
    from spectra_cli.recipe_terminal import large

    assert large(number) == text


def test_help_and_readme_name_the_same_exit_codes() -> None:
    from spectra_cli.plasticity_app import root

    told = [str(root.__doc__), (ROOT / "README.md").read_text(encoding="utf-8")]
    listed = [text.split("Exit codes:")[1].split(".")[0].split(".\n")[0] for text in told]
    codes = [re.findall(r"(?:^|;)\s*(\d+) ", text) for text in listed]
    assert codes[0] == codes[1] == ["0", "1", "2", "70", "130"]


@pytest.mark.parametrize(
    ("hours", "text"),
    [(None, "?"), (0.0, "0 s"), (1.5e-7, "< 0.1 s"), (0.001, "3.6 s"), (0.02, "1 min"), (0.5, "30 min"), (2.5, "2.5 h")],
)  # fmt: skip
def test_short_gpu_times(hours: float | None, text: str) -> None:
    from spectra_cli.run_terminal import _time

    assert _time(hours) == text
