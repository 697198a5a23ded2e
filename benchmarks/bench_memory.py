"""Peak resident memory of `spectra analyze`: on SmolLM2-135M, and on a generated sharded bfloat16 checkpoint of gigabytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.bench_weightwatcher import spectra_command
from benchmarks.measure import Line, Result, Run, as_data, log, run_process
from benchmarks.model import prepare
from benchmarks.settings import Settings

WORKERS = 2


def run(settings: Settings) -> Result:
    """Both checkpoints, nothing cached.

    Raises:
        RuntimeError: not enough disk for the generated checkpoint.
    """
    small = analyse(prepare(Path(settings.model)), settings)
    log(f"SmolLM2-135M: {small.peak_mb:.0f} MB")
    scratch = Path(settings.scratch or tempfile.gettempdir())
    free = shutil.disk_usage(scratch).free / 1e9
    if free < settings.gigabytes + 2.0:
        raise RuntimeError(
            f"{free:.1f} GB free in the scratch folder, {settings.gigabytes + 2.0:.1f} needed: "
            "choose a smaller --gigabytes or another --scratch."
        )
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        # In a process of its own: this one has to stay small (see measure.py).
        command = [sys.executable, "-m", "benchmarks.generated", folder, str(settings.gigabytes)]
        subprocess.run(command, check=True)
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e9
        large = analyse(Path(folder), settings)
    log(f"generated checkpoint: {large.peak_mb:.0f} MB")
    generated = f"{size:.1f} GB of 512 x 131072 bfloat16, sharded"
    return Result(
        name="memory",
        title=f"Peak resident memory of `spectra analyze --workers {WORKERS}`",
        lines=[_line("SmolLM2-135M, 0.5 GB of float32", small, "<= 800 MB"), _line(generated, large, "<= 1200 MB")],
        details={"runs": as_data({"small": [small], "large": [large]})},
    )


def analyse(checkpoint: Path, settings: Settings) -> Run:
    """One run of the program, without cached null draws."""
    with tempfile.TemporaryDirectory() as scratch:
        command = spectra_command(checkpoint, WORKERS, Path(scratch) / "analysis.json")
        return run_process(command, settings, threads=WORKERS, extra={"SPECTRA_CACHE_DIR": scratch})


def _line(what: str, measured: Run, target: str) -> Line:
    time = f"{measured.wall_s:.1f} s wall"
    return Line(what=what, ours=time, other="", value=measured.peak_mb, unit="MB", target=target)
