"""The policies in any `transformers.Trainer` (TRL's included), in one line: `Trainer(..., callbacks=[AlphaDecayCallback()])`.

The Trainer builds its optimizer as always. Around each `optimizer.step()` its parameter groups are split by decay, and put back
(`alphadecay.groups.Regrouped`), so schedulers, logs and checkpoints see what they expect. The policy's state travels in the
optimizer's own state (`optimizer.pt`): a resumed run is the same run, whatever the Trainer does about callbacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from alphadecay.groups import Regrouped, inner
from alphadecay.measure import ranks
from alphadecay.modules import unwrap
from alphadecay.policies import AdaDecay, AdaptiveWeightDecay, AlphaDecay, GroupOptions, NoDecay, Policy, Uniform
from alphadecay.reporting import Reporter
from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch
    from transformers import TrainerControl, TrainerState, TrainingArguments

STATE = "alphadecay"  # key of the policy's state in the optimizer's first group
LOG = "decay.jsonl"
POLICIES: Mapping[str, Callable[..., Policy]] = {
    "none": NoDecay,
    "uniform": Uniform,
    "alphadecay": AlphaDecay,
    "awd": AdaptiveWeightDecay,
    "adadecay": AdaDecay,
}


class DecayCallback(TrainerCallback):
    """Any policy in a Trainer.

    Args:
        policy: `none`, `uniform`, `alphadecay`, `awd` or `adadecay`.
        base: the base decay; None: `TrainingArguments.weight_decay`. Parameters that the Trainer exempts (norms and biases, by
            default) stay exempt.
        options: what every policy shares; the log is `<output_dir>/decay.jsonl` unless it names another.
        others: the policy's own arguments (ratio, gap, ...).
    """

    def __init__(
        self, policy: str, *, base: float | None = None, options: GroupOptions | None = None, **others: Any
    ) -> None:
        if policy not in POLICIES:
            raise SpectraError(f"Unknown policy {policy!r}. Use one of: {', '.join(POLICIES)}.")
        self._name, self._base, self._options, self._others = policy, base, options or GroupOptions(), others
        self.policy: Policy | None = None
        self._regrouped: Regrouped | None = None
        self._reporter: Reporter | None = None
        self._hook: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Build the policy for the model as it is prepared for training; take its state over on a resume."""
        optimizer = inner(given["optimizer"])
        self._refuse(args, optimizer)
        log = self._options.log or Path(str(args.output_dir)) / LOG
        arguments = dict(self._others) | {"options": replace(self._options, log=log)}
        if self._name != "none":
            arguments["base"] = args.weight_decay if self._base is None else self._base
        self.policy = POLICIES[self._name](unwrap(given["model"]), **arguments)
        self._regrouped = Regrouped(optimizer, self.policy.owners())
        saved = optimizer.param_groups[0].get(STATE)
        if saved is not None:
            self.policy.load_state_dict(saved)
        if self.policy.steps != state.global_step:
            raise SpectraError(
                f"Resumed at step {state.global_step}, but the optimizer's state holds "
                f"{'no policy' if saved is None else f'a policy at step {self.policy.steps}'}: this checkpoint is incomplete, or "
                "was not written with this callback. Resume from another, or begin anew."
            )
        policy = self.policy

        def keep_state(saved: torch.optim.Optimizer) -> None:
            saved.param_groups[0][STATE] = policy.state_dict()

        self._hook = optimizer.register_state_dict_pre_hook(keep_state)
        self._reporter = Reporter(args) if ranks()[0] == 0 else None

    def _refuse(self, args: TrainingArguments, optimizer: Any) -> None:
        if getattr(args, "deepspeed", None):
            raise SpectraError("DeepSpeed flattens parameters: modules cannot be told apart. Use DDP or FSDP2.")
        if args.fp16 and self._name in ("awd", "adadecay") and not args.max_grad_norm:
            raise SpectraError(
                "With fp16 gradients are scaled at this point unless they are clipped. Use bf16, or max_grad_norm > 0."
            )
        if self._name != "none" and not any(group.get("weight_decay") for group in optimizer.param_groups):
            raise SpectraError(
                "Every parameter group of the optimizer has weight decay 0, so there is nothing to share out. Set "
                "TrainingArguments(weight_decay=...)."
            )

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Decide the decays of this step and split the groups by them."""
        assert self.policy is not None and self._regrouped is not None
        optimizer = inner(given["optimizer"])
        measured_at = getattr(self.policy, "measured_at", 0)
        self.policy.update()
        if self._reporter is not None and getattr(self.policy, "measured_at", 0) != measured_at:
            self._reporter.report(self.policy, self.policy.steps)
        self._regrouped.split(self.policy.decay_of)
        self.policy.apply(optimizer)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Put the groups back."""
        assert self._regrouped is not None
        self._regrouped.join()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Finish what runs beside the training where a save follows: all ranks are here now, and not when it is written."""
        assert self.policy is not None
        if control.should_save:
            self.policy.finish()

    on_epoch_end = on_step_end

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Leave the optimizer as it was, and close what was opened for reports."""
        if self._hook is not None:
            self._hook.remove()
        if self._reporter is not None:
            self._reporter.close()


class AlphaDecayCallback(DecayCallback):
    """AlphaDecay in a Trainer: `AlphaDecayCallback()`, or with any argument of `alphadecay.AlphaDecay`."""

    def __init__(self, *, base: float | None = None, options: GroupOptions | None = None, **others: Any) -> None:
        super().__init__("alphadecay", base=base, options=options, **others)
