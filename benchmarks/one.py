"""One benchmark in its own process: `python -m benchmarks.one NAME SETTINGS RESULT.json`, started by `__main__`.

A process of its own keeps the memory of one benchmark out of the next, and lets the number of BLAS threads be set
before numpy is imported.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from benchmarks import machine
from benchmarks.settings import Settings

NAMES = (
    "weightwatcher",
    "bare",
    "gof",
    "alphadecay",
    "accuracy",
    "memory",
    "report",
    "decay",
    "training",
    "finetune",
    "experiment",
)


def main(name: str, settings: str, out: Path) -> int:
    """Run it and write its result; 3 if the machine is too busy."""
    module = importlib.import_module(f"benchmarks.bench_{name}")
    try:
        result = module.run(Settings.from_json(settings))
    except machine.BusyMachineError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    for package in ("numpy", "scipy.linalg"):
        importlib.import_module(package)  # so that their BLAS libraries can be asked for their kernels
    out.write_text(json.dumps(result.as_dict() | {"libraries": machine.libraries()}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
