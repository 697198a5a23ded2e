"""Fine-tuning against `trl.SFTTrainer` on the same work: model, examples in their order, loss on responses only, batch, optimizer,
schedule, threads, float32. Tokens of prompts and responses a second, without padding, in alternating blocks of one run.

A block is a whole short run from the same weights; its clock runs between the batches that are collated after the first steps
and at the last one, so that neither loading nor saving counts. Before that, three steps of each side show that both see the
same tokens and have the same losses.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Line, Result, Run, as_data, in_turns, log, median, run_function
from benchmarks.settings import HERE, Settings

GGUF = HERE.parent / "demo" / "SmolLM2-135M-Instruct.Q4_1.gguf"
THREADS = 2
WARM = 3  # steps before the clock starts
CHECKED = 3  # steps whose losses are compared
TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained: `steps` a block."""

    title: str
    model: Path
    steps: int
    batch: int

    def config(self, steps: int) -> Any:
        """Our configuration, from the paper's recipe."""
        from plasticity.finetune_options import configure
        from plasticity.tasks import registry

        words = [f"steps={steps}", f"batch_size={self.batch}", "log_every=1" if steps == CHECKED else "log_every=10"]
        own = registry.get("toy_arithmetic").training
        return configure({"task": "toy_arithmetic", "model": str(self.model)}, [*words, "limit=2000"], own)


@dataclass
class Marks:
    """A collator that notes when each batch was made and what was in it."""

    collate: Callable[[list[dict[str, Any]]], dict[str, Any]]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch."""
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.tokens.append(sum(len(item["input_ids"]) for item in items))
        kept = [[list(item["input_ids"]), list(item["labels"])] for item in items]
        self.seen.append(hashlib.sha256(json.dumps(kept).encode()).hexdigest())
        return self.collate(items)

    def stretch(self) -> tuple[float, float, int]:
        """Wall and CPU seconds between two batches, and the tokens of the steps between them."""
        return self.wall[-1] - self.wall[WARM], self.cpu[-1] - self.cpu[WARM], sum(self.tokens[WARM:-1])


def ours(case: Case, steps: int) -> tuple[Marks, list[float]]:
    """One run of ours, and the losses it logged."""
    from alphadecay.train import fit
    from plasticity.finetune import make_objective

    config = case.config(steps)
    task = make_objective(config, lambda _: None)
    assert task.collate is not None
    marks = Marks(task.collate)
    with tempfile.TemporaryDirectory() as scratch:
        done = fit(replace(task, collate=marks), config.train, config.decay, Path(scratch), steps=steps)
        state = json.loads((done.checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return marks, _losses(state["log_history"])


def theirs(case: Case, steps: int) -> tuple[Marks, list[float]]:
    """One run of TRL on the same examples in the same order, and the losses it logged."""
    import datasets
    from trl import SFTConfig, SFTTrainer

    from alphadecay.schedule import schedule
    from plasticity.base_model import load_base
    from plasticity.finetune import make_objective

    config = case.config(steps)
    task, train = make_objective(config, lambda _: None), config.train

    class InOrder(SFTTrainer):  # type: ignore[misc]
        """Without shuffling, in the order of our run, and with its learning rates (theirs begin a step later, at 0)."""

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, schedule(train, steps))
            return self.lr_scheduler

    stream = task.stream(steps)
    rows = datasets.Dataset.from_list([stream[i] for i in range(len(stream))])
    with tempfile.TemporaryDirectory() as scratch:
        made = SFTConfig(
            output_dir=scratch, max_steps=steps, per_device_train_batch_size=train.batch_size, learning_rate=train.lr,
            adam_beta1=train.beta1, adam_beta2=train.beta2, adam_epsilon=train.eps, weight_decay=0.0, max_grad_norm=train.clip,
            optim="adamw_torch", bf16=False, use_cpu=True,
            max_length=config.window, gradient_checkpointing=False, logging_steps=train.log_every, save_strategy="no",
            report_to="none", disable_tqdm=True, log_level="error", seed=train.seed, dataset_num_proc=None,
        )  # fmt: skip
        model = load_base(config.model).model  # without our hooks, which its own way around logits does not know
        trainer = InOrder(model=model, args=made, train_dataset=rows, processing_class=task.processor)
        marks = Marks(trainer.data_collator)
        trainer.data_collator = marks
        trainer.train()
    return marks, _losses(trainer.state.log_history)


def _losses(history: list[dict[str, Any]]) -> list[float]:
    return [entry["loss"] for entry in history if "loss" in entry]


def check(case: Case) -> float:
    """The greatest difference of a loss over the first steps.

    Raises:
        RuntimeError: the two sides do not do the same work.
    """
    (mine, losses), (other, their_losses) = ours(case, CHECKED), theirs(case, CHECKED)
    if mine.seen[:CHECKED] != other.seen[:CHECKED] or not mine.seen:
        raise RuntimeError(f"{case.title}: the two sides see other tokens or labels")
    apart = max(abs(a - b) for a, b in zip(losses, their_losses, strict=True))
    if len(losses) != CHECKED or not apart <= TOLERANCE:
        raise RuntimeError(f"{case.title}: losses {losses} and {their_losses} differ by more than {TOLERANCE}")
    return apart


def _measured(
    side: Callable[[Case, int], tuple[Marks, list[float]]], case: Case, settings: Settings, tokens: list[int]
) -> Callable[[], Run]:
    """A block; the run's clock is that of the stretch."""

    def block() -> Run:
        kept: list[Marks] = []
        run = run_function(lambda: kept.append(side(case, case.steps)[0]), settings)
        wall, cpu, count = kept[0].stretch()
        tokens.append(count)
        return replace(run, wall_s=wall, cpu_s=cpu)

    return block


def cases(scratch: Path) -> list[Case]:
    """A Llama of 260 thousand random weights; SmolLM2-135M where `make demo` has fetched it."""
    found = [Case(title="Llama, 260K parameters", model=_small(scratch), steps=WARM + 60, batch=16)]
    if GGUF.is_file():
        found.append(Case(title="SmolLM2-135M", model=GGUF, steps=WARM + 6, batch=4))
    else:
        log(f"without SmolLM2-135M: make demo fetches it to {GGUF.parent.name}/")
    return found


def _small(folder: Path) -> Path:
    """The sizes of stories260k, with the tokenizer of the embedded corpus."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from alphadecay.data import DataConfig, prepare

    corpus = prepare(DataConfig(vocab_size=512, window=128, max_tokens=200_000))
    torch.manual_seed(0)
    made = LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=172, num_hidden_layers=5, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(made).save_pretrained(folder)
    corpus.tokenizer.save_pretrained(folder)
    return folder


def run(settings: Settings) -> Result:
    """Tokens a second of both sides, and their ratio."""
    torch.set_num_threads(THREADS)
    lines, details = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases(Path(scratch) / "small"):
            apart = check(case)
            log(f"{case.title}: the same tokens; losses differ by {apart:.1e} at most")
            tokens: list[int] = []
            sides = {
                "ours": _measured(ours, case, settings, tokens),
                "trl": _measured(theirs, case, settings, tokens),
            }
            runs = in_turns(sides, settings, log)
            if len(set(tokens)) != 1:
                raise RuntimeError(
                    f"{case.title}: the blocks had {sorted(set(tokens))} tokens, expected as many in each"
                )
            speed = {name: tokens[0] / median(found, "wall_s") for name, found in runs.items()}
            details[case.title] = as_data(runs) | {
                "tokens": tokens[0],
                "losses_apart": apart,
                "tokens_per_second": speed,
            }
            lines += [
                Line(
                    what=f"{case.title}: tokens a second", ours=f"{speed['ours']:.0f}", other=f"{speed['trl']:.0f}",
                    value=speed["ours"] / speed["trl"], target=">= 1.0",
                ),
                Line(
                    what=f"{case.title}: first {CHECKED} losses apart", ours="", other="", value=apart, unit="",
                    target=f"<= {TOLERANCE}",
                ),
            ]  # fmt: skip
    return Result(
        name="finetune",
        title=f"Fine-tuning against trl.SFTTrainer: toy_arithmetic, loss on responses, AdamW, float32, {THREADS} threads",
        lines=lines,
        notes=(
            "Value: ours over TRL's. TRL runs without gradient checkpointing and with torch's plain AdamW, as ours does, in place "
            "of its defaults; prompts and responses are tokenised beforehand on both sides.",
        ),
        details=details,
    )
