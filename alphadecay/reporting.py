"""Decays and alphas to where a Trainer reports: TensorBoard, Weights & Biases, trackio. One value a role, not one a module."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from alphadecay.policies import AlphaDecay, Policy

if TYPE_CHECKING:
    from transformers import TrainingArguments


class Reporter:
    """Reports to those of `args.report_to` that it knows."""

    def __init__(self, args: TrainingArguments) -> None:
        asked = args.report_to if isinstance(args.report_to, list) else [args.report_to or "none"]
        self._services = [name for name in ("tensorboard", "wandb", "trackio") if name in asked or "all" in asked]
        self._args = args
        self._writer: Any = None

    def report(self, policy: Policy, step: int) -> None:
        """Report the present decays and scores at a step."""
        values = summary(policy)
        for service in self._services:
            getattr(self, f"_{service}")(values, step)

    def _tensorboard(self, values: dict[str, float], step: int) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(log_dir=_logging_dir(self._args))
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def _wandb(self, values: dict[str, float], step: int) -> None:
        import wandb

        if wandb.run is not None:  # the Trainer's own callback has begun it
            wandb.log({**values, "train/global_step": step})

    def _trackio(self, values: dict[str, float], step: int) -> None:
        import trackio

        trackio.log({**values, "train/global_step": step})

    def close(self) -> None:
        """Close the TensorBoard writer."""
        if self._writer is not None:
            self._writer.close()


def summary(policy: Policy) -> dict[str, float]:
    """Median decay and score by role, least and largest decay, and how many modules have no score."""
    values: dict[str, float] = {"decay/base": policy.base}
    if not policy.decays:
        return values
    values |= {"decay/min": min(policy.decays.values()), "decay/max": max(policy.decays.values())}
    for role in dict.fromkeys(module.role for module in policy.modules):
        names = [module.name for module in policy.modules if module.role == role]
        values[f"decay/{role}"] = statistics.median(policy.decays[name] for name in names)
        if isinstance(policy, AlphaDecay):
            scores = [s.value for name in names if (s := policy.scores.get(name)) and s.value is not None]
            if scores:
                values[f"{policy.score}/{role}"] = statistics.median(scores)
    if isinstance(policy, AlphaDecay):
        values["decay/unscored_modules"] = float(sum(s.value is None for s in policy.scores.values()))
    return values


def _logging_dir(args: TrainingArguments) -> str:
    import os

    chosen = os.environ.get("TENSORBOARD_LOGGING_DIR") or getattr(args, "logging_dir", None)
    return str(chosen or os.path.join(str(args.output_dir), "runs"))  # noqa: PTH118
