"""Environment variables of processes that are begun, without changing one's own for longer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def inherited(values: Mapping[str, str]) -> Iterator[None]:
    """Processes begun meanwhile have these."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
