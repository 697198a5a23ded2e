"""What a result must carry so that it can be trusted and repeated."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import spectra

_LIBRARIES = ("numpy", "scipy", "torch", "safetensors", "gguf", "huggingface_hub", "powerlaw")


def software() -> dict[str, Any]:
    """Our version and commit, Python's, and those of the libraries in use in this process."""
    return {
        "spectra": spectra.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "libraries": {
            name: str(sys.modules[name].__version__)
            for name in _LIBRARIES
            if hasattr(sys.modules.get(name), "__version__")
        },
        "blas": _blas() if "numpy" in sys.modules else None,
    }


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
