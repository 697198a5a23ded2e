"""What torchrun tells a process, before any process group: its rank, and how many there are."""

from __future__ import annotations

import os


def is_first() -> bool:
    """Whether this process prints and writes."""
    return int(os.environ.get("RANK", "0")) == 0


def processes() -> int:
    """Processes that were launched; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_processes() -> int:
    """Those of them on this machine."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
