"""The policies inside a plain `transformers.Trainer` and inside TRL's: right decays, nothing else changed, exact resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from alphadecay import AlphaDecay, AlphaDecayCallback, DecayCallback, GroupOptions
from spectra.errors import SpectraError

from .conftest import tiny_llama

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class Tokens(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Random windows, the same every time."""

    def __init__(self, count: int = 40) -> None:
        self._ids = torch.randint(0, 96, (count, 16), generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self._ids[i], "labels": self._ids[i]}


def arguments(out: Path, **given: Any) -> TrainingArguments:
    settings: dict[str, Any] = {
        "max_steps": 8, "per_device_train_batch_size": 4, "learning_rate": 0.01, "weight_decay": 0.1, "save_steps": 3,
        "report_to": "none", "use_cpu": True, "disable_tqdm": True, "logging_steps": 1, "seed": 1,
    }  # fmt: skip
    return TrainingArguments(output_dir=str(out), **(settings | given))


class Spy(TrainerCallback):
    """The optimizer's groups as they are while it steps, and as everyone else sees them."""

    def __init__(self) -> None:
        self.inside: list[list[tuple[float, float, int]]] = []
        self.outside: list[int] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        groups = given["optimizer"].optimizer.param_groups
        self.inside.append([(g["weight_decay"], g["lr"], len(g["params"])) for g in groups])

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.outside.append(len(given["optimizer"].param_groups))


def test_decays_reach_the_optimizer_and_nothing_else_changes(tmp_path: Path) -> None:
    model, spy = tiny_llama(), Spy()
    expected = AlphaDecay(tiny_llama(), base=0.1)
    expected.update()
    callback = AlphaDecayCallback(gap=100)
    trainer = Trainer(model=model, args=arguments(tmp_path), train_dataset=Tokens(), callbacks=[callback, spy])
    trainer.train()
    assert callback.policy is not None and callback.policy.decays == expected.decays
    decays = [decay for decay, _, _ in spy.inside[0]]
    assert set(expected.decays.values()) | {0.1, 0.0} == set(decays)  # norms stay exempt, as the Trainer has it
    assert sum(count for _, _, count in spy.inside[0]) == len(list(model.parameters()))
    assert set(spy.outside) == {2}
    assert (
        len({lr for _, lr, _ in spy.inside[4]}) == 1 and spy.inside[4][0][1] < 0.01
    )  # the schedule reaches every group
    log = [json.loads(line) for line in (tmp_path / "decay.jsonl").read_text().splitlines()]
    assert log[0]["header"]["base"] == 0.1 and len(log) == 1 + len(expected.decays)


def test_the_same_weights_as_in_a_plain_loop(tmp_path: Path) -> None:
    """Trainer with the callback against AdamW(policy.param_groups()) stepped by hand, on the same batches."""
    trainer_model, loop_model = tiny_llama(), tiny_llama()
    options = {"lr_scheduler_type": "constant", "max_grad_norm": 0.0, "max_steps": 5, "adam_beta2": 0.999}
    args = arguments(tmp_path, **options)
    trainer = Trainer(model=trainer_model, args=args, train_dataset=Tokens(), callbacks=[AlphaDecayCallback(gap=2)])
    batches = [batch for batch, _ in zip(trainer.get_train_dataloader(), range(5), strict=False)]
    trainer.train()
    exempt = tuple(name for name, p in loop_model.named_parameters() if p.ndim == 1)
    policy = AlphaDecay(loop_model, base=0.1, gap=2, options=GroupOptions(exempt=exempt))
    optimizer = torch.optim.AdamW(policy.param_groups(), lr=0.01)
    loop_model.train()
    torch.manual_seed(1)
    for batch in batches:
        optimizer.zero_grad()
        loop_model(**batch).loss.backward()
        policy.step(optimizer)
        optimizer.step()
    for (name, a), b in zip(trainer_model.named_parameters(), loop_model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize(
    ("policy", "given", "optim"),
    [
        ("alphadecay", {"gap": 2}, "adamw"),
        pytest.param("alphadecay", {"gap": 2}, "adam", marks=pytest.mark.slow),
        ("awd", {}, "adamw"),
        pytest.param("adadecay", {"gap": 2}, "adamw", marks=pytest.mark.slow),
        ("adadecay", {"granularity": "element"}, "adam"),
        pytest.param("uniform", {}, "adamw", marks=pytest.mark.slow),
    ],
)
def test_resume_is_the_same_run(tmp_path: Path, policy: str, given: dict[str, Any], optim: str) -> None:
    """Stopped at a save and begun again in a new Trainer, in the second epoch: equal to a run that was never stopped."""

    def run(folder: str, resume: bool, steps: int) -> Any:
        model = tiny_llama()
        options: dict[str, Any] = {"restore_callback_states_from_checkpoint": False, "gradient_accumulation_steps": 2}
        cls = (torch.optim.Adam, {"lr": 0.01}) if optim == "adam" else None
        trainer = Trainer(
            model=model, args=arguments(tmp_path / folder, **options), train_dataset=Tokens(20),
            callbacks=[DecayCallback(policy, **given), Stop(steps)], optimizer_cls_and_kwargs=cls,
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=resume)
        return model

    straight = run("a", False, 99)
    run("b", False, 6)
    resumed = run("b", True, 99)
    for (name, a), b in zip(straight.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(a, b[1]), name


class Stop(TrainerCallback):
    """Ends training after a step, as an interruption would."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        control.should_training_stop = control.should_training_stop or state.global_step >= self._step


def test_a_resume_without_the_policys_state_is_refused(tmp_path: Path) -> None:
    """The Trainer silently makes a new optimizer where optimizer.pt is missing; that would be another run."""
    Trainer(
        model=tiny_llama(), args=arguments(tmp_path), train_dataset=Tokens(), callbacks=[AlphaDecayCallback()]
    ).train()
    (tmp_path / "checkpoint-3" / "optimizer.pt").unlink()
    trainer = Trainer(
        model=tiny_llama(), args=arguments(tmp_path), train_dataset=Tokens(), callbacks=[AlphaDecayCallback()]
    )
    with pytest.raises(SpectraError, match=r"no optimizer\.pt"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    Trainer(model=tiny_llama(), args=arguments(tmp_path / "plain"), train_dataset=Tokens()).train()
    with pytest.raises(SpectraError, match="no policy"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "plain" / "checkpoint-3"))


def test_the_library_may_restore_the_callback_itself(tmp_path: Path) -> None:
    """restore_callback_states_from_checkpoint=True replaces the callback by one made from JSON: still the same run."""

    def run(folder: str, resume: bool, steps: int) -> Any:
        args = arguments(tmp_path / folder, restore_callback_states_from_checkpoint=True)
        callback = AlphaDecayCallback(gap=2, options=GroupOptions(biases="module"))
        model = tiny_llama()
        Trainer(model=model, args=args, train_dataset=Tokens(), callbacks=[callback, Stop(steps)]).train(
            resume_from_checkpoint=resume
        )
        return model

    straight = run("a", False, 99)
    run("b", False, 6)
    resumed = run("b", True, 99)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_training_twice_with_one_trainer(tmp_path: Path) -> None:
    callback = AlphaDecayCallback(gap=2)
    trainer = Trainer(model=tiny_llama(), args=arguments(tmp_path), train_dataset=Tokens(), callbacks=[callback])
    trainer.train()
    trainer.train()
    assert callback.policy is not None and callback.policy.steps == 8
    assert len(trainer.optimizer.param_groups) == 2  # type: ignore[union-attr]


def test_the_base_is_that_of_the_groups(tmp_path: Path) -> None:
    """An optimizer of the user's own, whatever TrainingArguments.weight_decay is."""

    def trainer(optimizer: Any, model: Any, callback: Any) -> Trainer:
        args = arguments(tmp_path, weight_decay=0.0, max_steps=1)
        return Trainer(
            model=model, args=args, train_dataset=Tokens(), callbacks=[callback], optimizers=(optimizer, None)
        )

    model, callback = tiny_llama(), AlphaDecayCallback()
    trainer(torch.optim.AdamW(model.parameters(), weight_decay=0.05), model, callback).train()
    assert callback.policy is not None and callback.policy.base == 0.05
    assert max(callback.policy.decays.values()) == pytest.approx(0.25)
    model = tiny_llama()
    several = [{"params": [p], "weight_decay": 0.1 * i} for i, p in enumerate(model.parameters())]
    with pytest.raises(SpectraError, match="several weight decays"):
        trainer(torch.optim.AdamW(several), model, AlphaDecayCallback()).train()


def test_no_weight_decay_to_share_out(tmp_path: Path) -> None:
    trainer = Trainer(
        model=tiny_llama(),
        args=arguments(tmp_path, weight_decay=0.0),
        train_dataset=Tokens(),
        callbacks=[AlphaDecayCallback()],
    )
    with pytest.raises(SpectraError, match="weight_decay="):
        trainer.train()


def test_unknown_policy() -> None:
    with pytest.raises(SpectraError, match="Unknown policy 'betadecay'"):
        DecayCallback("betadecay")


def test_tensorboard_gets_a_value_a_role(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    args = arguments(tmp_path, report_to=["tensorboard"], max_steps=4)
    Trainer(model=tiny_llama(), args=args, train_dataset=Tokens(), callbacks=[AlphaDecayCallback(gap=2)]).train()
    tags: dict[str, list[int]] = {}
    for folder in {path.parent for path in tmp_path.rglob("events.out*")}:
        events = EventAccumulator(str(folder)).Reload()
        tags |= {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert tags["decay/q"] == [1, 2, 4] and tags["alpha/down"] == [1, 2, 4]
    assert "train/loss" in tags  # beside what the Trainer itself reports


def test_in_trl(tmp_path: Path) -> None:
    """`AlphaDecayCallback` in `trl.SFTTrainer`."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    text = "<eos> <pad> <unk> a rose is that what we call by any other name"
    words = {word: i for i, word in enumerate(text.split())}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
    data = Dataset.from_dict({"text": ["a rose is a rose is a rose", "what is that we call a rose"] * 8})
    config = trl.SFTConfig(
        output_dir=str(tmp_path), max_steps=4, per_device_train_batch_size=2, weight_decay=0.1, report_to="none", use_cpu=True,
        disable_tqdm=True, bf16=False, gradient_checkpointing=False,
    )  # fmt: skip
    callback = AlphaDecayCallback(gap=2)
    trainer = trl.SFTTrainer(
        model=tiny_llama(), args=config, train_dataset=data, processing_class=tokenizer, callbacks=[callback]
    )
    trainer.train()
    assert callback.policy is not None and callback.policy.steps == 4
    assert len(set(callback.policy.decays.values())) > 5
    assert (tmp_path / "decay.jsonl").exists()
