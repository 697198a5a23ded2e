"""Callbacks of our loop: spectra of the weights every so often, and progress in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from alphadecay.measure import ranks
from alphadecay.modules import unwrap
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

_EVERY_SECONDS = 10.0


class SpectraCallback(TrainerCallback):
    """Analyses the weights every `every` steps, and at the first: `<out>/spectra/step-<n>.json`, which `spectra track` reads.

    The rows are those of `spectra analyze`, without nulls. Sharded weights are gathered one at a time, on all ranks.
    """

    def __init__(self, every: int, folder: Path) -> None:
        self._every, self._folder = every, folder

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Analyse where it is due."""
        if state.global_step % self._every and state.global_step != 1:
            return
        model = unwrap(given["model"])
        sharded = any(hasattr(parameter, "full_tensor") for parameter in model.parameters())
        if ranks()[0] != 0 and not sharded:
            return
        from spectra.analysis import analyze
        from spectra.options import AnalysisOptions
        from spectra.results import write_json

        # One worker where reading is a collective: every rank has to gather the same tensors in the same order.
        found = analyze(model, options=AnalysisOptions(null=False, device="cpu", workers=1 if sharded else 0))
        if ranks()[0] == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(found, self._folder / f"step-{state.global_step}.json")


class MustBeSharded(TrainerCallback):
    """Refuses to go on where FSDP was asked for and no parameter is sharded: on a CPU the Trainer silently runs DDP instead."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Look for a sharded parameter."""
        if not any(hasattr(parameter, "full_tensor") for parameter in unwrap(given["model"]).parameters()):
            raise SpectraError(
                f"train.parallel is fsdp, but no parameter is sharded over the {ranks()[1]} processes on {args.device}. Launch "
                "several processes on GPUs with torchrun, or use train.parallel=ddp."
            )


class ProgressCallback(TrainerCallback):
    """Says step, loss, tokens a second and time left every ten seconds, and every evaluation."""

    def __init__(self, message: Callable[[str], None], tokens_per_step: int | None) -> None:
        self._say, self._tokens = message, tokens_per_step
        self._started = self._told = time.monotonic()
        self._first = 0
        self._loss: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Start the clock."""
        self._started = self._told = time.monotonic()
        self._first = state.global_step
        if self._first:
            self._say(f"goes on after step {self._first} of {state.max_steps}")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **given: Any
    ) -> None:
        """Remember the loss; say an evaluation."""
        if logs and "loss" in logs:
            self._loss = float(logs["loss"])
        if logs and "eval_perplexity" in logs:
            self._say(
                f"step {state.global_step}: validation loss {logs['eval_loss']:.4f}, perplexity {logs['eval_perplexity']:.3f}"
            )
        if logs and "eval_accuracy" in logs:
            raw = f" (without averaging {logs['eval_raw_accuracy']:.2%})" if "eval_raw_accuracy" in logs else ""
            self._say(
                f"step {state.global_step}: validation loss {logs['eval_loss']:.4f}, accuracy {logs['eval_accuracy']:.2%}{raw}"
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Say where the run is, now and then."""
        now = time.monotonic()
        if now - self._told < _EVERY_SECONDS:
            return
        self._told = now
        done = state.global_step - self._first
        pace = (now - self._started) / max(done, 1)
        speed = f", {self._tokens / pace:,.0f} tokens/s" if self._tokens else ""
        loss = f", loss {self._loss:.4f}" if self._loss is not None else ""
        left = pace * (state.max_steps - state.global_step)
        self._say(f"step {state.global_step} of {state.max_steps}{loss}{speed}, about {left:.0f} s left")
