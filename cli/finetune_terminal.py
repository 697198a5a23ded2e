"""What `plasticity finetune` prints before work starts, and when it has ended or was interrupted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from alphadecay.train import TrainResult
    from plasticity.finetune import FinetuneConfig

_WIDTH = 120


def print_config(config: FinetuneConfig, recipe: str, own: Mapping[str, object], *, asked: bool) -> None:
    """The configuration in a few lines.

    Args:
        recipe: what it was made from; `own` is what the task sets otherwise (fields of `train`).
        asked: the model was named, and is not the default.
    """
    train = config.train
    count, unit = (train.steps, "step") if train.steps is not None else (train.epochs, "epoch")
    length = f"{count:{',' if unit == 'step' else 'g'}} {unit}{'' if count == 1 else 's'}"
    decay = config.decay
    kept = [name for name, value in own.items() if getattr(train, name) == value]
    lines = [
        f"task   {config.task}" + (f" from {config.data}" if config.data else ""),
        f"model  {config.model}{'' if asked else ' (the default)'}{', random weights' if config.from_scratch else ''}",
        f"recipe {recipe}" + (f"; {', '.join(kept)} of the task's own" if kept else ""),
        f"train  {length} of {train.batch_size}{' packs' if config.packing else ''}, {train.optimizer}, lr {train.lr:g}, "
        f"{train.schedule} to {train.floor:g}, warmup {train.warmup:g}, clip {train.clip:g}, {train.precision}",
        f"decay  {f'{decay.policy} {decay.base:g}' if decay.base and decay.policy != 'none' else 'no weight decay'}",
    ]
    if config.lora.rank:
        lora = config.lora
        lines.append(f"lora   rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}, on {lora.targets}")
    console = terminal.report_width(_WIDTH)
    for line in lines:
        console.print(Text(line))


def print_next(config: FinetuneConfig, done: TrainResult) -> None:
    """The command that scores what came out; a folder of data has the test rows too, a file has not."""
    words = ["plasticity", "evaluate", "--task", config.task, "--model", str(done.checkpoint)]
    if config.tasks_dir is not None:
        words += ["--tasks-dir", config.tasks_dir]
    if config.data is not None and Path(config.data).expanduser().is_dir():
        words += ["--data", config.data]
    terminal.Output(soft_wrap=True).print(Text(f"next: {shlex.join(words)}"), soft_wrap=True)


def interrupted(folder: Path) -> str:
    """What is left of a run that was stopped by hand."""
    from alphadecay import saves

    found = saves.checkpoints(folder)
    if not found:
        return f"nothing was saved yet in {folder}: the same command begins anew (save_every=N saves sooner)"
    return f"{found[-1].name} is saved in {folder}; the same command with --resume goes on"
