"""What a result must carry so that it can be trusted and repeated."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spectra

_LIBRARIES = ("numpy", "scipy", "torch", "safetensors", "gguf", "huggingface_hub", "powerlaw")
_noted: dict[str, Any] = {}


def software() -> dict[str, Any]:
    """Our version and commit, Python's, and those of the libraries in use in this process."""
    return {
        "spectra": spectra.__version__,
        "commit": code()["commit"],
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


def note_code(packages: Sequence[str]) -> dict[str, Any]:
    """Note commit and SHA-256 of the sources of packages, once a process: call it when they have just been imported.

    A later change of the files is then no change of what `code` says: it is none of the code that runs.
    """
    if not _noted:
        _noted.update(commit=commit(), sources=sources(packages))
    return dict(_noted)


def code() -> dict[str, Any]:
    """`commit` and `sources` as they were noted; the commit of the checkout as it is now where nothing was."""
    return dict(_noted) or {"commit": commit()}


def sources(packages: Sequence[str]) -> str:
    """SHA-256 over names and contents of the sources of packages."""
    digest = hashlib.sha256()
    for name in packages:
        folder = Path(importlib.import_module(name).__path__[0])
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


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
