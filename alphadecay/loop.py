"""The one training loop: `transformers.Trainer` with saves that are whole or not there, and losses that must be finite."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.data import Dataset
from transformers import Trainer

from alphadecay import saves, weights
from alphadecay.config import DecayConfig, TrainConfig
from alphadecay.objective import Objective
from alphadecay.quiet import no_progress_bars
from alphadecay.schedule import schedule
from spectra.errors import SpectraError


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What the loop needs beside the Trainer's own arguments.

    Attributes:
        config: how it is trained.
        steps: optimizer steps of the whole run.
        out: the run's folder.
        decay: which policy.
        task: what is trained on what.
    """

    config: TrainConfig
    steps: int
    out: Path
    decay: DecayConfig
    task: Objective


class LoopTrainer(Trainer):
    """See the module. Every parameter that is not exempt is decayed, norms and biases too, as in both papers."""

    def __init__(self, loop: Loop, *given: Any, **named: Any) -> None:
        self._loop = loop
        self._finite: torch.Tensor | None = None  # whether all losses and gradient norms so far were
        super().__init__(*given, **named)

    @property
    def task(self) -> Objective:
        """What is trained on what."""
        return self._loop.task

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """All but the exempt ones; transformers leaves norms and biases out."""
        exempt = self._loop.decay.exempt
        return [name for name, _ in model.named_parameters() if not any(fnmatchcase(name, glob) for glob in exempt)]

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Any:
        """In order: the dataset has the order of the whole run already."""
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        return torch.utils.data.SequentialSampler(dataset)  # type: ignore[arg-type]

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """`alphadecay.schedule`, which has floors and shapes that the library has not."""
        if self.lr_scheduler is None:
            chosen: Any = optimizer if optimizer is not None else self.optimizer
            factor = schedule(self._loop.config, self._loop.steps)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(chosen, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One forward and backward; a loss that is not finite will stop the run."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._note(loss)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The norm of all gradients, between backward and the optimizer's step; one that is not finite stops the run.

        It is the same on every process, so all stop together. On a GPU it is looked at before the next log, evaluation or save:
        asking at every step would wait for the device.
        """
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        self._note(norm if isinstance(norm, torch.Tensor) else torch.tensor(norm))
        if self.args.device.type == "cpu":
            self._refuse_unless_finite(f"at step {self.state.global_step + 1}")
        return norm

    def _note(self, value: torch.Tensor) -> None:
        full = getattr(value, "full_tensor", None)
        finite = torch.isfinite((full() if full is not None else value).detach())
        self._finite = finite if self._finite is None else self._finite & finite.to(self._finite.device)

    def _maybe_log_save_evaluate(self, *given: Any, **named: Any) -> None:
        """As the Trainer, once losses and gradients so far are known to be finite."""
        if self.control.should_log or self.control.should_save or self.control.should_evaluate:
            self._refuse_unless_finite(f"by step {self.state.global_step}")
        super()._maybe_log_save_evaluate(*given, **named)

    def _refuse_unless_finite(self, when: str) -> None:
        if self._finite is None or bool(self._finite):
            return
        left = saves.checkpoints(self._loop.out)
        kept = f"The last good checkpoint is {left[-1].name}" if left else "No checkpoint was written yet"
        raise SpectraError(
            f"The loss or its gradient is not finite {when}: the run stops. {kept}. Lower the learning rate, clip gradients, or "
            "use another precision."
        )

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The objective's loss where it has one of its own."""
        if self._loop.task.loss is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return self._loop.task.loss(model, inputs)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The objective's metrics over the validation data, exact whatever the batches.

        With averaged weights they are these weights'; the model's own are there as `raw_...`.
        """
        windows = self.eval_dataset if eval_dataset is None else eval_dataset
        found, ema = self._metrics(windows), self._loop.task.ema
        if ema is not None:
            raw = {f"raw_{name}": value for name, value in found.items()}
            with ema.in_place_of_weights():
                found = self._metrics(windows) | raw
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _metrics(self, windows: Any) -> dict[str, float]:
        return self._loop.task.evaluate(
            self.model_wrapped,
            windows,
            self.args.per_device_eval_batch_size,
            self.args.device,
            self._loop.config.precision == "bf16-mixed",
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """As the Trainer, but also where weights are saved under other names than the model's (ViT); averages too."""
        folder, ema = Path(resume_from_checkpoint), self._loop.task.ema
        target: Any = self.model if model is None else model
        if not self.is_fsdp_enabled and weights.renamed(target, folder):
            target.load_state_dict(weights.saved_state(target, folder, target.dtype))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        if ema is not None:
            ema.load(folder)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._loop.out / saves.STAGING)  # only saves ask for it

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write beside, mark, rename."""
        step, out = int(self.state.global_step), self._loop.out
        if self.args.should_save:
            shutil.rmtree(out / saves.STAGING, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            with no_progress_bars():
                super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                if self._loop.task.ema is not None:
                    self._loop.task.ema.save(saves.staged(out, step), self._loop.task.processor)
                saves.publish(out, step, self._loop.config.keep, self.args.world_size)
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:  # by library: a full disk comes as any
            if isinstance(error, RuntimeError) and "writ" not in str(error):
                raise  # the device's trouble, not the disk's
            if self.args.should_save:
                shutil.rmtree(out / saves.STAGING, ignore_errors=True)
            raise saves.cannot_save(out, step, error) from error
        self.accelerator.wait_for_everyone()


def optimizer_class(config: TrainConfig) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """AdamW (decoupled decay) or Adam (coupled L2), and its arguments."""
    cls = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    return cls, {"lr": config.lr, "betas": (config.beta1, config.beta2), "eps": config.eps}
