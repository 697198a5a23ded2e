"""The machine a measurement is taken on, and how busy others keep it. Standard library only, so that importing it is cheap."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.settings import Settings

PACKAGES = ("numpy", "scipy", "torch", "safetensors", "gguf", "transformers", "trl", "spectra-plasticity")
_STAT = Path("/proc/stat")


class BusyMachineError(RuntimeError):
    """Other processes use the cores that are to be measured."""


def describe() -> dict[str, Any]:
    """CPU model, cores, memory and Python."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    pairs = (line.partition(":") for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    family = f"family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"
    return f"{fields.get('model name', platform.processor())} ({family})"


def libraries() -> dict[str, Any]:
    """Versions of the packages measured here, and the kernels of the BLAS libraries that are loaded by now."""
    from threadpoolctl import threadpool_info

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    keys = ("internal_api", "version", "architecture", "num_threads")
    return {"versions": versions, "blas": [{key: info.get(key) for key in keys} for info in threadpool_info()]}


def busy_seconds() -> float | None:
    """CPU seconds all processes together have used since boot; None where the system does not tell."""
    try:
        fields = [int(part) for part in _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def settle(settings: Settings) -> dict[str, float]:
    """Wait until others leave the cores alone; how busy they are then, for the record.

    The load average lags by a minute and counts our own last measurement, so it is recorded, and the cores that are
    really in use over one second of our own sleep decide.

    Raises:
        BusyMachineError: others are still busy after `wait_seconds`, and `allow_busy` is not set.
    """
    deadline = time.monotonic() + (0.0 if settings.allow_busy else settings.wait_seconds)
    while True:
        busy = _busy_cores(1.0)
        load = round(os.getloadavg()[0], 2)
        if busy <= settings.busy_cores:
            break
        if time.monotonic() >= deadline:
            message = f"other processes keep {busy:.2f} cores busy (load average {load}): this measurement means little"
            if not settings.allow_busy:
                raise BusyMachineError(f"{message}. Stop them, or take noise into account with --allow-busy.")
            sys.stderr.write(f"WARNING: {message}\n")
            break
    return {"load_average": load, "busy_cores": round(busy, 2)}


def _busy_cores(seconds: float) -> float:
    before = busy_seconds()
    time.sleep(seconds)
    after = busy_seconds()
    if before is None or after is None:
        return os.getloadavg()[0]
    return max(0.0, after - before) / seconds
