"""Progress on stderr: a bar with time left on a terminal, a line now and then elsewhere, nothing with --quiet."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_EVERY_SECONDS = 10.0


class ProgressBar:
    """A `spectra.analysis.Listener`. Use as a context manager."""

    def __init__(self, quiet: bool, stream: TextIO | None = None) -> None:
        self._quiet = quiet
        self._stream = stream or sys.stderr
        console = Console(file=self._stream)
        self._bar = (
            Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[name]}", markup=False),
                console=console, transient=True,
            )
            if console.is_terminal and not quiet
            else None
        )  # fmt: skip
        self._task = self._bar.add_task("matrices", total=None, name="") if self._bar else None
        self._started = self._told = time.monotonic()

    def __enter__(self) -> ProgressBar:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def progress(self, done: int, total: int, name: str) -> None:
        """Called after every matrix."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, name=name)
        elif not self._quiet and time.monotonic() - self._told > _EVERY_SECONDS:
            self._told = time.monotonic()
            left = (self._told - self._started) / max(done, 1) * (total - done)
            self._stream.write(f"{done}/{total} matrices, about {left:.0f} s left\n")
            self._stream.flush()

    def message(self, sentence: str) -> None:
        """Called when a download begins, say."""
        if self._bar:
            self._bar.console.print(sentence, markup=False, highlight=False)
        elif not self._quiet:
            self._stream.write(sentence + "\n")
            self._stream.flush()
