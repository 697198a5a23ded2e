"""How much faster two workers finish an experiment than one: cells of one thread each, on a local Ray and in our own processes."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import machine
from benchmarks.measure import Line, Result, log
from benchmarks.settings import Settings

_EXPERIMENT = """
pretrain:
  - recipe: tiny
    set: {train.steps: 120, train.save_every: 0, train.spectra_every: 0, train.eval_every: 0, data.max_tokens: 200000}
    grid: {decay.base: [0, 0.1, 0.3, 1.0]}
finetune: {set: {train.steps: 60}}
tasks: [toy_arithmetic]
evaluate: {samples: 0, limit: 100, max_tokens: 48}
"""


def run(settings: Settings) -> Result:
    """Wall time of twelve cells with one worker over that with two, start-up of the workers included.

    The workers are processes of their own (Ray's are not even children), so that what others use cannot be told while it runs:
    the machine is looked at before each run.
    """
    lines, details = [], {}
    for engine in ("local", "ray"):
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(settings.repetitions):
            for workers, found in seconds.items():
                machine.settle(settings)
                started = time.perf_counter()
                _once(engine, workers)
                found.append(time.perf_counter() - started)
                log(f"{engine}, workers {workers}: {found[-1]:.1f} s")
        one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
        target = ">= 1.7" if engine == "ray" else ""
        what = f"12 cells, {engine}: two workers against one"
        lines.append(Line(what=what, ours=f"{two:.1f} s", other=f"{one:.1f} s", value=one / two, target=target))
        details[engine] = {str(workers): found for workers, found in seconds.items()}
    return Result(
        name="experiment",
        title="Cells of an experiment over workers of one thread: wall time, start-up of the workers included",
        lines=lines,
        details=details,
    )


def _once(engine: str, workers: int) -> None:
    """The whole experiment in a new folder."""
    from plasticity import experiment, experiment_plan, experiment_run

    chosen = experiment.from_yaml(_EXPERIMENT, "benchmark", "benchmark")
    cells = experiment_plan.cells(chosen)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        experiment_run.begin(out, chosen)
        address = "local" if engine == "ray" else None
        done = experiment_run.run(
            chosen, cells, out, workers=workers, engine=engine, address=address, say=lambda _: None
        )
        if done.finished != len(cells):
            raise RuntimeError(f"{done.failed} cells failed")
