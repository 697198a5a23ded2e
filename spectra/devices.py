"""What there is to compute on: the device `auto` means, and how many cores. Imports no torch on machines without a GPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def resolve(name: str) -> str:
    """`auto` -> `cuda` where torch can use one, else `cpu`; other names as they are.

    torch takes over a second to import, so `auto` asks it only where there are signs of an NVIDIA driver.
    """
    if name != "auto":
        return name
    if not _driver_present():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _driver_present() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", r"C:\\Windows")) / "System32" / "nvcuda.dll").exists()
    return any(Path(p).exists() for p in ("/dev/nvidiactl", "/dev/dxg", "/dev/nvgpu"))


def cores() -> int:
    """Cores this process may use: its affinity (a batch system's share), and a container's quota, not the machine's count."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2, or no limit ("max")
    return count
