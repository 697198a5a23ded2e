"""What a ranking would fail on, looked for in all candidates and settings before anything is measured or written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plasticity.rank_signals import RankConfig, check_task, shortened, tuning
from spectra.errors import SpectraError


def check(config: RankConfig, paths: Sequence[str]) -> None:
    """Refuse what cannot be ranked as asked; `paths`: where the candidates are.

    Of a checkpoint its configuration, tokenizer and the headers of its weights are read, no more: weights that are damaged
    behind their headers, and tasks whose data are not there, are found only when it is their turn.

    Raises:
        SpectraError: no such task or probe task, a setting that fine-tuning does not have, data that are not there, a candidate
            that does not open.
    """
    from plasticity.probe_tasks import get as probe_task
    from plasticity.tasks.registry import get as task_named

    check_task(config)
    for name in config.probes:
        probe_task(name)
    if config.data is not None and not Path(config.data).exists():
        raise SpectraError(f"--data {config.data}: no such file or folder.")
    if config.budget:
        task = task_named(config.task, Path(config.tasks_dir) if config.tasks_dir else None)
        shortened(tuning(paths[0], config, task), config.budget)
    for path in paths:
        _opens(path, trained=bool(config.budget or config.probes))


def _opens(path: str, *, trained: bool) -> None:
    """Raises `SpectraError` where a checkpoint does not open; `trained`: as a model with a tokenizer, too."""
    from plasticity.base_model import check_base
    from spectra.checkpoint import open_checkpoint

    open_checkpoint(path)
    if trained:
        check_base(path)
