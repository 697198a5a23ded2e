"""`plasticity finetune` on real rows and a real checkpoint, as a user runs it: GSM8K, ARC, SST-2 as a task of the user's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from spectra_cli.plasticity_app import app
from typer.testing import CliRunner

from plasticity.base_model import load_base
from plasticity.tasks import registry
from plasticity.tasks.base import Drop
from plasticity.tasks.loading import load

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SMOLLM2 = Path(__file__).resolve().parents[2] / "demo" / "SmolLM2-135M-Instruct.Q4_1.gguf"
QUICK = ("steps=20", "batch_size=4", "lr=1e-3", "precision=fp32", "log_every=1", "window=256")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SST2 = '''
"""SST-2: is a sentence of a film review positive?"""

from plasticity.tasks.base import Drop, Example, Header, Question, Source, Task

WORDS = ("negative", "positive")


class Sst2(Task):
    header = Header(
        name="my_sst2",
        title="mood of a sentence",
        version=1,
        kind="generation",
        train=(Source(hub="stanfordnlp/sst2", split="train", fields=("sentence", "label")),),
        test=(Source(hub="stanfordnlp/sst2", split="validation", fields=("sentence", "label")),),
        paper="Socher et al. 2013",
        licence="unknown",
        scores=("greedy",),
        baseline={"greedy": 0.5},
        answer="the first word",
        recipe="as they are",
        cleaning=("no label",),
    )
    training = {"lr": 3e-4}

    def example(self, row, index):
        asked = self.question(row, index, "")
        return Example(id=asked.id, question=asked.question, response=asked.gold)

    def question(self, row, index, part):
        if row["label"] not in (0, 1):
            raise Drop("no label")
        return Question(id=f"sst2-{index}", question=f"{row['sentence'].strip()}\\nPositive or negative?", gold=WORDS[row["label"]])
'''


def rows(path: str) -> Iterator[dict[str, Any]]:
    """The lines of a file of ../shared."""
    if not DATA.exists():
        pytest.skip("../shared is absent")
    with (DATA / path).open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def written(path: Path, made: Iterator[Mapping[str, Any]], count: int) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in islice(made, count)), encoding="utf-8")
    return path


def finetuned(out: Path, *words: object) -> tuple[list[float], str]:
    """Losses of a run of the command, and what it printed."""
    model = DATA / "models" / "stories260k"
    found = CliRunner().invoke(app, ["finetune", "--model", str(model), "--out", str(out), *map(str, words), *QUICK])
    assert found.exit_code == 0, found.output
    state = json.loads((out / "checkpoint-20" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry], found.output


def fell(losses: list[float]) -> bool:
    """Whether the last five are clearly below the first five."""
    return sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_gsm8k_as_rows_of_metamathqa(tmp_path: Path) -> None:
    made = ({"query": row["question"], "response": row["answer"]} for row in rows("gsm8k/train.jsonl"))
    data = written(tmp_path / "train.jsonl", made, 60)
    losses, said = finetuned(tmp_path / "run", "--task", "metamathqa", "--data", data)
    assert fell(losses), losses
    facts = json.loads((tmp_path / "run" / "data.json").read_text())
    assert facts["too_long"] > 0 and facts["examples"] == 60 - facts["too_long"]
    assert f"{facts['too_long']} examples of more than 256 tokens are left out" in said
    assert "60 rows read, 60 kept" in said and "overlap with the test split not checked" in said


def test_gsm8k_with_its_own_fields() -> None:
    """Read as MetaMathQA's rows are: no annotations, an answer that the task's extraction reads."""
    task, upstream = registry.get("metamathqa"), list(rows("gsm8k/train.jsonl"))
    found = load(task, "train", DATA / "gsm8k" / "train.jsonl")
    assert (found.report.kept, dict(found.report.dropped)) == (len(upstream), {})
    for row, example in zip(upstream, found.items, strict=True):
        gold = row["answer"].rpartition("#### ")[2].replace(",", "")
        assert task.extract(example.response) == gold and "<<" not in example.response
    assert found.items[0].response.endswith("#### 72\nThe answer is: 72")
    with pytest.raises(Drop, match="no answer in the solution"):
        task.upstream({"question": "How many?", "answer": "Two."})
    tested = load(task, "test", DATA / "gsm8k" / "test.jsonl").report
    assert tested.kept == tested.rows_read == 1319  # test rows are read as before


@pytest.mark.parametrize("task", ["arc_easy", pytest.param("arc_challenge", marks=pytest.mark.slow)])
def test_arc(tmp_path: Path, task: str) -> None:
    data = written(tmp_path / "train.jsonl", rows(f"icl/{task}/test.jsonl"), 16)  # seen five times
    losses, _ = finetuned(tmp_path / "run", "--task", task, "--data", data)
    assert fell(losses), losses
    if task == "arc_easy":  # scored through lm-eval, which is not asked what the questions were
        model = str(tmp_path / "run" / "checkpoint-20")
        asked = ["evaluate", "--task", task, "--data", str(data), "--model", model, "--out", str(tmp_path / "scores")]
        found = CliRunner().invoke(app, asked)
        assert found.exit_code == 0 and "WARNING: 16 of 16 questions were trained on" in found.output, found.output


def test_a_task_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "sst2.py").write_text(SST2)
    data = tmp_path / "data"
    data.mkdir()
    written(data / "train.jsonl", rows("sst2/train.jsonl"), 80)
    written(data / "validation.jsonl", rows("sst2/dev.jsonl"), 10)
    losses, said = finetuned(
        tmp_path / "run", "--task", "my_sst2", "--tasks-dir", tmp_path / "tasks", "--data", data, "train.beta2=0.99"
    )
    assert fell(losses), losses
    assert "task   my_sst2 from" in said
    kept = json.loads((tmp_path / "run" / "finetune.json").read_text())
    assert kept["train"]["beta2"] == 0.99 and kept["tasks_dir"] == str(tmp_path / "tasks")
    assert json.loads((tmp_path / "run" / "data.json").read_text())["task"]["overlap"] == 0


@pytest.mark.slow
def test_an_adapter_on_a_gguf_model(tmp_path: Path) -> None:
    """SmolLM2-135M-Instruct as `make demo` fetches it: 20 LoRA steps, and the adapter is found upon its base again."""
    pytest.importorskip("peft")
    if not SMOLLM2.is_file():
        pytest.skip("make demo has not fetched the model")
    data = written(tmp_path / "train.jsonl", rows("gsm8k/train.jsonl"), 8)  # seen five times
    words = ("lora.rank=8", "train.steps=20", "batch_size=2", "lr=1e-3", "precision=fp32", "log_every=1", "window=256")
    run = [
        "finetune",
        "--task",
        "metamathqa",
        "--data",
        str(data),
        "--model",
        str(SMOLLM2),
        "--out",
        str(tmp_path / "run"),
    ]
    found = CliRunner().invoke(app, [*run, *words])
    assert found.exit_code == 0, found.output
    state = json.loads((tmp_path / "run" / "checkpoint-20" / "trainer_state.json").read_text())
    assert fell([entry["loss"] for entry in state["log_history"] if "loss" in entry])
    plain, adapted = (load_base(str(path)) for path in (SMOLLM2, tmp_path / "run" / "checkpoint-20"))
    assert adapted.window == plain.window == 8192 and not hasattr(plain.model.config, "quantization_config")
    ids = torch.tensor([plain.tokenizer("Human: 2 + 2?\nAssistant:")["input_ids"]])
    with torch.no_grad():
        before, after = (base.model.eval()(ids).logits for base in (plain, adapted))
    assert not torch.allclose(before, after, atol=1e-3)
    names = {name.rpartition(".lora_A")[0] for name in adapted.model.state_dict() if ".lora_A" in name}
    assert len(names) == 210  # seven linear maps in each of 30 layers
    del plain, adapted
    questions = DATA / "gsm8k_platinum" / "test.jsonl"
    asked = [
        "evaluate",
        "--task",
        "metamathqa",
        "--data",
        str(questions),
        "--limit",
        "20",
        "--samples",
        "0",
        "--max-tokens",
        "48",
    ]
    scored = [*asked, "--model", str(tmp_path / "run" / "checkpoint-20"), "--out", str(tmp_path / "scores")]
    found = CliRunner().invoke(app, scored)
    assert found.exit_code == 0, found.output
    result = json.loads((tmp_path / "scores" / "result.json").read_text())
    assert result["n_questions"] == 20 and result["checkpoint"]["trained"]["lora_rank"] == 8
    assert result["counts"]["greedy"]["responses"] == 20
