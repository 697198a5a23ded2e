"""The policies in any `transformers.Trainer` (TRL's included), in one line: `Trainer(..., callbacks=[AlphaDecayCallback()])`.

The Trainer builds its optimizer as always. Around each `optimizer.step()` its parameter groups are split by decay, and put back
(`alphadecay.groups.Regrouped`), so schedulers, logs and checkpoints see what they expect. The policy's state travels in
`trainer_state.json` and is read from there: a resumed run is the same run, whatever `restore_callback_states_from_checkpoint` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from alphadecay.groups import Regrouped, inner, restore
from alphadecay.measure import ranks
from alphadecay.modules import unwrap
from alphadecay.policies import AdaDecay, AdaptiveWeightDecay, AlphaDecay, GroupOptions, NoDecay, Policy, Uniform
from alphadecay.reporting import Reporter
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

LOG = "decay.jsonl"
POLICIES: Mapping[str, Callable[..., Policy]] = {
    "none": NoDecay,
    "uniform": Uniform,
    "alphadecay": AlphaDecay,
    "awd": AdaptiveWeightDecay,
    "adadecay": AdaDecay,
}


class DecayCallback(TrainerCallback, ExportableState):
    """Any policy in a Trainer.

    Args:
        policy: `none`, `uniform`, `alphadecay`, `awd` or `adadecay`.
        base: the base decay; None: that of the optimizer's groups (`TrainingArguments.weight_decay`). Parameters that the Trainer
            exempts (norms and biases, by default) stay exempt.
        options: what every policy shares; the log is `<output_dir>/decay.jsonl` unless it names another.
        others: the policy's own arguments (ratio, gap, ...).
    """

    def __init__(
        self,
        policy: str,
        *,
        base: float | None = None,
        options: GroupOptions | Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        if policy not in POLICIES:
            raise SpectraError(f"Unknown policy {policy!r}. Use one of: {', '.join(POLICIES)}.")
        self._name, self._base, self._others = policy, base, others
        self._options = options if isinstance(options, GroupOptions) else GroupOptions.from_plain(options or {})
        self.saved: dict[str, Any] | None = None  # set by a Trainer that restores callbacks
        self.policy: Policy | None = None
        self._regrouped: Regrouped | None = None
        self._reporter: Reporter | None = None

    def state(self) -> dict[str, Any]:
        """What the Trainer puts into `trainer_state.json`."""
        return {
            "args": self._arguments(),
            "attributes": {"saved": self.policy.state_dict() if self.policy is not None else None},
        }

    def _arguments(self) -> dict[str, Any]:
        plain = asdict(self._options) | {"log": str(self._options.log) if self._options.log is not None else None}
        return {"policy": self._name, "base": self._base, "options": plain, **self._others}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Build the policy for the model as it is prepared for training; take its state over on a resume."""
        optimizer = inner(given["optimizer"])
        if getattr(args, "deepspeed", None):
            raise SpectraError("DeepSpeed flattens parameters: modules cannot be told apart. Use DDP or FSDP2.")
        restore(optimizer)
        log = self._options.log or Path(str(args.output_dir)) / LOG
        arguments = dict(self._others) | {"options": replace(self._options, log=log)}
        if self._name != "none":
            arguments["base"] = base_of(optimizer) if self._base is None else self._base
        self.policy = POLICIES[self._name](unwrap(given["model"]), **arguments)
        _check_scaling(args, self.policy)
        self._regrouped = Regrouped(optimizer, self.policy.owners())
        if state.global_step:
            self._resume(state, optimizer)
        self._reporter = Reporter(args) if ranks()[0] == 0 else None

    def _resume(self, state: TrainerState, optimizer: Any) -> None:
        assert self.policy is not None
        kept: Any = state.stateful_callbacks or {}
        found: Any = kept.get(type(self).__name__, {})
        found = found[0] if isinstance(found, list) else found
        saved = self.saved or found.get("attributes", {}).get("saved")
        if saved is None or saved["steps"] != state.global_step:
            raise SpectraError(
                f"Resumed at step {state.global_step}, but the checkpoint's trainer_state.json holds "
                f"{'no policy' if saved is None else 'a policy at step ' + str(saved['steps'])}: it was not written with this "
                "callback. Resume from another, or begin anew."
            )
        if "betas" in optimizer.defaults and not optimizer.state:
            raise SpectraError(
                f"Resumed at step {state.global_step}, but the optimizer has no state: the checkpoint has no optimizer.pt, "
                "and the Trainer would go on with a new one. Resume from another, or begin anew."
            )
        self.policy.load_state_dict(saved)
        self.saved = None

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Decide the decays of this step and split the groups by them."""
        assert self.policy is not None and self._regrouped is not None
        self.policy.update()
        if self._reporter is not None and self.policy.news:
            self._reporter.report(self.policy, self.policy.steps)
        self._regrouped.split(self.policy.decay_of)
        self.policy.apply(inner(given["optimizer"]))

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
        """Close what was opened for reports."""
        if self._reporter is not None:
            self._reporter.close()


def base_of(optimizer: Any) -> float:
    """The weight decay of an optimizer's groups, those without any left out.

    Raises:
        SpectraError: no group has one, or they have several.
    """
    found = sorted({float(group.get("weight_decay") or 0.0) for group in optimizer.param_groups} - {0.0})
    if not found:
        raise SpectraError(
            "Every parameter group of the optimizer has weight decay 0, so there is nothing to share out. Set "
            "TrainingArguments(weight_decay=...)."
        )
    if len(found) > 1:
        raise SpectraError(
            f"The optimizer's groups have several weight decays ({', '.join(map(str, found))}): which is the base? Say it, "
            "base=..., and it stands in for all of them."
        )
    return found[0]


def _check_scaling(args: TrainingArguments, policy: Policy) -> None:
    """With fp16 gradients are scaled until they are clipped, and overflow now and then."""
    if not args.fp16 or not policy.of_gradient:
        return
    if policy.of_elements or not args.max_grad_norm:
        raise SpectraError(
            "With fp16 gradients are scaled here unless they are clipped, and overflow now and then; this policy reads them. Use "
            "bf16" + (", or the granularity module." if policy.of_elements else ", or max_grad_norm > 0.")
        )


class AlphaDecayCallback(DecayCallback):
    """AlphaDecay in a Trainer: `AlphaDecayCallback()`, or with any argument of `alphadecay.AlphaDecay`."""

    def __init__(
        self, *, base: float | None = None, options: GroupOptions | Mapping[str, Any] | None = None, **others: Any
    ) -> None:
        super().__init__("alphadecay", base=base, options=options, **others)

    def _arguments(self) -> dict[str, Any]:
        return {name: value for name, value in super()._arguments().items() if name != "policy"}
