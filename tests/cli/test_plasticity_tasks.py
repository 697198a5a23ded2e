"""`plasticity tasks` as a user runs it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from spectra_cli import task_terminal

from plasticity.tasks import registry

ROOT = Path(__file__).resolve().parents[2]
RUN = (sys.executable, "-c", "from spectra_cli.plasticity_app import main; main()")


def tasks(*args: object) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "120", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}
    command = [*RUN, "tasks", *(str(a) for a in args)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=300, check=False)


def test_all_are_listed() -> None:
    found = tasks()
    assert found.returncode == 0 and found.stderr == "", found.stderr
    for name in registry.tasks():
        assert f"\n{name} " in f"\n{found.stdout}"
    assert "395,000   6,209" in found.stdout
    assert max(len(line.rstrip()) for line in found.stdout.splitlines()) <= 120


def test_one_is_shown_with_its_loss_mask() -> None:
    found = tasks("toy_arithmetic")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    text = next(i for i, line in enumerate(lines) if line.startswith("H|u|m|an|:|"))
    assert set(lines[text + 1].strip()) == {".", " "}
    text = next(i for i, line in enumerate(lines) if "<|endoftext|>|" in line)
    assert lines[text + 1].rstrip().endswith("#" * len("<|endoftext|>"))
    assert "made up" in found.stdout and "the last is EOS" in found.stdout


def test_own_data_and_tokenizer(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"query": "What is 2 + 2?", "response": "2 + 2 = 4.\nThe answer is: 4"}, {"query": "", "response": "x"}]
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = tasks("metamathqa", "--data", data)
    assert found.returncode == 0, found.stderr
    assert "train: 2 rows read, 1 kept" in found.stdout and "1 dropped: no question" in found.stdout
    found = tasks("metamathqa", "--data", data / "none.jsonl")
    assert found.returncode == 2 and "no such file" in found.stderr and found.stdout == ""
    found = tasks("metamathqa", "--tokenizer", data)
    assert found.returncode == 2 and "has no tokenizer" in found.stderr and found.stdout == ""


def test_what_is_refused(tmp_path: Path) -> None:
    for args, words in (
        (("metamatqa",), "Did you mean 'metamathqa'?"),
        (("--data", tmp_path), "name it, as in plasticity tasks metamathqa"),
        (("--tasks-dir", tmp_path), "found none"),
    ):
        found = tasks(*args)
        assert found.returncode == 2 and words in found.stderr and "Traceback" not in found.stderr, found
        assert found.stderr.count("\n") == 1


def test_masks_stand_below_their_tokens() -> None:
    lines = task_terminal.drawn(["ab", " c", "\n", "de", "f\x1b"], 3, 80)
    assert lines == [("ab|\u00b7c|\u23ce|", ".. .. . "), ("de|f\\x1b|", "## ##### ")]
    for text, marks in task_terminal.drawn(["word"] * 40, 20, 60):
        assert len(text) == len(marks) <= 60


def test_docs_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate_tasks", ROOT / "docs" / "generate_tasks.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.TARGET.read_text(encoding="utf-8") == generate.render(), "run: python docs/generate_tasks.py"


def test_the_example_of_the_docs_page_is_a_task(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    (tmp_path / "capitals.py").write_text(text.split("```python\n")[1].split("```")[0])
    task = registry.get("capitals", tmp_path)
    assert task.example({"country": "Veloria", "capital": "Oster"}, 0).response == "The answer is Oster."


@pytest.mark.parametrize("name", registry.tasks())
def test_every_task_can_be_shown_without_a_network(name: str) -> None:
    from plasticity.tasks.showing import show

    found = show(registry.get(name), None, None)
    assert found.encoded is not None and len(found.pieces) == len(found.encoded)
