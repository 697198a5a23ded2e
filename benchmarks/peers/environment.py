"""The virtual environment WeightWatcher runs in: its own, with the versions of what both sides use held equal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.settings import HERE

PACKAGES = ("torch", "weightwatcher==0.7.7", "transformers", "safetensors")  # the rest is pinned by constraints.txt
SCRIPTS = Path(__file__).resolve().parent


def python_of(folder: Path) -> str:
    """The interpreter of the environment, which is made (minutes) where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        sys.stderr.write(f"setting up {folder.name} ...\n")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    ready = subprocess.run([str(python), "-c", _CHECK], capture_output=True, check=False)
    if ready.returncode:
        install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        constraints = ["--constraint", str(HERE.parent / "constraints.txt")]
        subprocess.run([*install, *constraints, *PACKAGES], check=True)
    return str(python)


_CHECK = (
    "from importlib.metadata import version; import sys; version('torch'), version('transformers'), "
    "version('safetensors'); sys.exit(version('weightwatcher') != '0.7.7')"
)
