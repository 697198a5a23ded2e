"""What a result must carry so that it can be trusted and repeated."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import spectra

_LIBRARIES = ("numpy", "scipy", "torch", "safetensors", "gguf", "huggingface_hub", "powerlaw")


def software() -> dict[str, Any]:
    """Our version and commit, Python's, and those of the libraries numbers come from (installed ones, not imported here)."""
    return {
        "spectra": spectra.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "libraries": {name: version for name in _LIBRARIES if (version := _version(name))},
        "blas": _blas() if "numpy" in sys.modules else None,
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Commit of the checkout we run from (with `+changes` where it is modified); None for an installed wheel."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _blas() -> list[str]:
    """BLAS libraries in this process with the kernels they chose: last digits depend on them."""
    from threadpoolctl import threadpool_info

    found = {f"{i['internal_api']} {i['version']} {i.get('architecture', '')}".strip()
             for i in threadpool_info() if i.get("user_api") == "blas"}  # fmt: skip
    return sorted(found)


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
