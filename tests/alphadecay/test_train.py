"""`train(recipe, out)`: what a run leaves, what it refuses, and what survives when something goes wrong."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from alphadecay import saves
from alphadecay.config import TrainConfig
from alphadecay.data import prepare, seen
from alphadecay.evaluate import mean_loss
from alphadecay.schedule import schedule
from alphadecay.train import TrainResult, train
from spectra.errors import SpectraError

from .conftest import tiny_llama
from .recipes_of_tests import small


def test_a_run_leaves_checkpoints_that_everyone_reads(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import spectra

    told: list[str] = []
    result = train(small({"spectra_every": 6}), tmp_path, message=told.append)
    assert result.checkpoint == tmp_path / "checkpoint-12" and result.steps == 12
    assert result.eval_loss is not None and result.train_loss is not None
    assert result.eval_metrics["eval_perplexity"] == pytest.approx(np.exp(result.eval_loss))
    model = AutoModelForCausalLM.from_pretrained(result.checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(result.checkpoint)
    assert model.config.eos_token_id == tokenizer.eos_token_id and len(tokenizer) == 300
    assert len(spectra.analyze(str(result.checkpoint)).matrices) == 2 * 7 + 2
    assert [path.name for path in saves.checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-12"]
    assert sorted(path.name for path in (tmp_path / "spectra").iterdir()) == [
        "step-1.json",
        "step-12.json",
        "step-6.json",
    ]
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["eval_loss"] == result.eval_loss and written["provenance"]["data"]
    data = json.loads((tmp_path / "data.json").read_text())
    assert data["order"] == {"seed": 42, "batch_size": 4, "steps": 12}
    assert any("validation loss" in sentence for sentence in told)


def test_the_run_trains_on_the_windows_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through two epochs and a resume in the second: exactly `seen`, in that order."""
    from alphadecay import loop

    recipe = small({"eval_every": 0, "save_every": 8, "eval_windows": 0})
    shown: list[torch.Tensor] = []
    real = loop.LoopTrainer.training_step

    def spy(self: Any, model: Any, inputs: Any, count: Any = None) -> Any:
        shown.extend(inputs["input_ids"])
        if len(shown) == 4 * 8 + 2 * 4 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        return real(self, model, inputs, count)

    stopped: list[bool] = []
    monkeypatch.setattr(loop.LoopTrainer, "training_step", spy)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path)
    del shown[4 * 8 :]  # steps after the checkpoint of step 8 are done again
    train(recipe, tmp_path, resume=True)
    assert recipe.data is not None
    corpus = prepare(recipe.data)
    assert len(corpus.train) < 4 * 12  # more than one epoch
    expected = seen(corpus.train, recipe.data.seed, 4, 12)
    assert [ids.tolist() for ids in shown] == [corpus.train.tokens(int(i)).tolist() for i in expected]


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16"])
def test_precisions(tmp_path: Path, precision: str) -> None:
    result = train(small({"precision": precision, "steps": 4}), tmp_path)
    dtypes = {tensor.dtype for tensor in load_file(result.checkpoint / "model.safetensors").values()}
    assert dtypes == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert result.eval_loss is not None and 2.0 < result.eval_loss < 7.0


def test_accumulation_is_the_same_step(tmp_path: Path) -> None:
    whole = train(small({"steps": 6}), tmp_path / "a")
    parts = train(small({"steps": 6, "micro_batch": 1}), tmp_path / "b")
    assert parts.eval_loss == pytest.approx(whole.eval_loss, rel=2e-6)


@pytest.mark.parametrize("policy", ["none", "uniform", "awd", "adadecay"])
@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_every_policy_trains(tmp_path: Path, policy: str, optimizer: str) -> None:
    result = train(small({"steps": 3, "optimizer": optimizer}, {"policy": policy, "base": 0.001}), tmp_path)
    assert result.eval_loss is not None
    header = json.loads((tmp_path / "decay.jsonl").read_text().splitlines()[0])["header"]
    assert header["base"] == (0.0 if policy == "none" else 0.001)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match=r"not finite at step \d+: .*checkpoint-\d"):
        train(small({"lr": 1e9, "clip": 0.0, "schedule": "constant", "save_every": 1}), tmp_path)
    assert saves.checkpoints(tmp_path)


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finite loss with an infinite gradient: no checkpoint may hold what it would leave."""
    from alphadecay import loop

    real = loop.LoopTrainer.training_step

    def spoil(self: Any, model: Any, inputs: Any, count: Any = None) -> Any:
        loss = real(self, model, inputs, count)
        if self.state.global_step == 4:
            next(model.parameters()).grad[0, 0] = float("inf")
        return loss

    monkeypatch.setattr(loop.LoopTrainer, "training_step", spoil)
    with pytest.raises(SpectraError, match=r"not finite at step 5: .*checkpoint-4"):
        train(small({"save_every": 1, "keep": 9}), tmp_path)
    for checkpoint in saves.checkpoints(tmp_path):
        assert all(torch.isfinite(t).all() for t in load_file(checkpoint / "model.safetensors").values())


def test_a_used_folder_is_not_written_over(tmp_path: Path) -> None:
    train(small({"steps": 3}), tmp_path)
    with pytest.raises(SpectraError, match="already holds a run"):
        train(small({"steps": 3}), tmp_path)
    assert saves.processes(tmp_path / "checkpoint-3") == 1


def test_incomplete_checkpoints_are_never_resumed_from(tmp_path: Path) -> None:
    train(small(), tmp_path)
    reference = load_file(tmp_path / "checkpoint-12" / "model.safetensors")
    (tmp_path / "checkpoint-12" / "optimizer.pt").unlink()
    (tmp_path / saves.STAGING / "checkpoint-12").mkdir(parents=True)
    told: list[str] = []
    result = train(small(), tmp_path, resume=True, message=told.append)
    assert any("checkpoint-12 is passed over: optimizer.pt is missing" in sentence for sentence in told)
    again = load_file(result.checkpoint / "model.safetensors")
    assert all(torch.equal(reference[name], again[name]) for name in reference)
    assert saves.problem(result.checkpoint) is None and not (tmp_path / saves.STAGING).exists()


def test_problems_of_a_checkpoint(tmp_path: Path) -> None:
    train(small({"steps": 3}), tmp_path)
    checkpoint = tmp_path / "checkpoint-3"
    assert saves.problem(checkpoint) is None
    (checkpoint / "model.safetensors").write_bytes(b"cut short")
    assert "another size" in (saves.problem(checkpoint) or "")
    (checkpoint / saves.MARKER).write_text("{")
    assert "cannot be read" in (saves.problem(checkpoint) or "")
    (checkpoint / saves.MARKER).unlink()
    assert "not written whole" in (saves.problem(checkpoint) or "")
    assert saves.newest(tmp_path, lambda _: None) is None


def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path: Path) -> None:
    """Files cannot grow beyond a few kilobytes from the second save on: a real error of the operating system."""
    from transformers import TrainerCallback

    from alphadecay import watch

    class Full(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if state.global_step == 5:
                resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    real = watch.ProgressCallback
    patched = pytest.MonkeyPatch()
    patched.setattr(watch, "ProgressCallback", lambda say, tokens: Full())
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(SpectraError, match=r"Cannot save the checkpoint of step 6 .*checkpoint-3 is whole"):
            train(small(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
        patched.undo()
    assert watch.ProgressCallback is real
    assert [path.name for path in saves.checkpoints(tmp_path)] == ["checkpoint-3"]
    assert not (tmp_path / saves.STAGING).exists()
    train(small(), tmp_path, resume=True)


def test_a_resume_before_the_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    told: list[str] = []
    train(small({"steps": 3}), tmp_path, resume=True, message=told.append)
    assert any("begins anew" in sentence for sentence in told)


def test_a_resume_on_other_data_is_refused(tmp_path: Path) -> None:
    train(small({"steps": 2}), tmp_path)
    with pytest.raises(SpectraError, match="was begun on other data"):
        train(small({"steps": 4}, max_tokens=12_345), tmp_path, resume=True)
    assert json.loads((tmp_path / "data.json").read_text())["order"]["steps"] == 2  # what was recorded stays


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (lambda: small({"processes": 2}), "train.processes is 2, but 1 was launched"),
        (lambda: small({"batch_size": 4000}), "fewer than one batch of 4000"),
        (lambda: small(window=32, vocab_size=300, tokenizer="/nonexistent"), "tokenizer"),
    ],
)
def test_refused(tmp_path: Path, recipe: Any, said: str) -> None:
    with pytest.raises(SpectraError, match=said):
        train(recipe(), tmp_path)


def test_a_batch_that_does_not_divide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(SpectraError, match="does not divide over 3 processes"):
        train(small(), tmp_path)


def test_schedules() -> None:
    def rates(**given: Any) -> list[float]:
        factor = schedule(TrainConfig(steps=100, lr=1.0, **given), 100)
        return [factor(t) for t in range(100)]

    cosine = rates(schedule="cosine", warmup=0.1, floor=0.1)
    assert cosine[0] == 0.1 and cosine[9] == 1.0 and cosine[10] == 1.0
    assert cosine[55] == pytest.approx(0.1 + 0.9 * 0.5) and cosine[99] == pytest.approx(0.1, abs=1e-3)
    wsd = rates(schedule="wsd", warmup=10, floor=0.0, decay_share=0.2)
    assert set(wsd[10:80]) == {1.0} and wsd[90] == pytest.approx(0.5)
    linear = rates(schedule="linear", warmup=0.0, floor=0.5)
    assert linear[0] == 1.0 and linear[50] == pytest.approx(0.75)
    assert set(rates(schedule="constant", warmup=0)) == {1.0}


def test_evaluation_counts_every_token_once() -> None:
    """Whatever the batch size, and with padded windows: the mean over predicted tokens, computed one by one."""
    model = tiny_llama().eval()
    generator = torch.Generator().manual_seed(0)
    windows = []
    for length in (16, 9, 4, 16, 2):
        ids = torch.randint(0, 96, (16,), generator=generator)
        mask = (torch.arange(16) < length).long()
        windows.append({"input_ids": ids, "labels": torch.where(mask == 1, ids, -100), "attention_mask": mask})
    total, count = 0.0, 0
    with torch.no_grad():
        for item in windows:
            logits = (
                model(item["input_ids"][None], attention_mask=item["attention_mask"][None]).logits[0].log_softmax(-1)
            )
            for t in range(1, int(item["attention_mask"].sum())):
                total -= float(logits[t - 1, item["input_ids"][t]])
                count += 1
    for batch in (1, 2, 5):
        found = mean_loss(model, windows, batch, torch.device("cpu"))
        assert found.tokens == count and found.mean == pytest.approx(total / count, rel=1e-5)


def test_results_are_plain(tmp_path: Path) -> None:
    result = train(small({"steps": 3, "eval_windows": 0}), tmp_path)
    assert isinstance(result, TrainResult) and result.eval_loss is None and result.eval_metrics == {}
    shutil.rmtree(tmp_path / "checkpoint-3")
    assert saves.checkpoints(tmp_path) == []
