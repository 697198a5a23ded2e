"""What `plasticity finetune` prints before work starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from plasticity.finetune import FinetuneConfig

_WIDTH = 120


def print_config(config: FinetuneConfig, recipe: str, own: Mapping[str, object], *, asked: bool) -> None:
    """The configuration in a few lines.

    Args:
        recipe: what it was made from; `own` is what the task sets otherwise (fields of `train`).
        asked: the model was named, and is not the default.
    """
    train = config.train
    length = f"{train.steps:,} steps" if train.steps is not None else f"{train.epochs:g} epochs"
    kept = [name for name, value in own.items() if getattr(train, name) == value]
    lines = [
        f"task   {config.task}" + (f" from {config.data}" if config.data else ""),
        f"model  {config.model}{'' if asked else ' (the default)'}{', random weights' if config.from_scratch else ''}",
        f"recipe {recipe}" + (f"; {', '.join(kept)} of the task's own" if kept else ""),
        f"train  {length} of {train.batch_size}{' packs' if config.packing else ''}, {train.optimizer}, lr {train.lr:g}, "
        f"{train.schedule} to {train.floor:g}, warmup {train.warmup:g}, clip {train.clip:g}, {train.precision}, "
        f"window {config.window}",
        f"decay  {config.decay.policy} {config.decay.base:g}",
    ]
    if config.lora.rank:
        lora = config.lora
        lines.append(f"lora   rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}, on {lora.targets}")
    console = terminal.report_width(_WIDTH)
    for line in lines:
        console.print(Text(line))
