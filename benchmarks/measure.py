"""Measurements of processes and of functions, and what is reported of them. Standard library only.

The peak memory that the kernel reports of a child counts what its parent held when it was started, so processes are
started from a process that has imported nothing large.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import machine
from benchmarks.settings import Settings

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_TRIES = 4
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measurement. `foreign_cores`: cores other processes used meanwhile, on average; `before`: see `machine.settle`."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    foreign_cores: float | None
    before: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a table: both sides, and the number that is held against the target.

    `value` is a ratio (other side over ours, unless `what` says otherwise), an error or an amount; `target` is a text like
    `>= 3.5`, empty where there is none.
    """

    what: str
    ours: str
    other: str
    value: float
    unit: str = "x"
    target: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if not self.target:
            return None
        sign, bound = self.target.split()[:2]
        return self.value >= float(bound) if sign == ">=" else self.value <= float(bound)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a benchmark found. `details` goes to the JSON file only."""

    name: str
    title: str
    lines: Sequence[Line]
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        made = asdict(self)
        made["lines"] = [asdict(line) | {"met": line.met} for line in self.lines]
        return made


def environment(threads: int, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment with the number of threads of every BLAS and OpenMP library set."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), "PYTHONWARNINGS": "ignore", **(extra or {})}


def run_process(
    command: Sequence[str], settings: Settings, *, threads: int, extra: Mapping[str, str] | None = None
) -> Run:
    """Run a command to its end; CPU time (user and system, children included), wall time and peak resident memory.

    Raises:
        RuntimeError: the command failed; its last output is in the message.
    """
    before = machine.settle(settings)
    with tempfile.TemporaryFile() as output:
        busy, started = machine.busy_seconds(), time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment(threads, extra))
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            tail = output.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{tail}")
    own_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 1e6
    peak_mb = usage.ru_maxrss * _RSS_UNIT / 1e6
    if own_mb >= peak_mb:
        raise RuntimeError(f"peak memory of {command[0]} cannot be told: its parent holds {own_mb:.0f} MB itself")
    cpu = usage.ru_utime + usage.ru_stime
    return Run(wall_s=wall, cpu_s=cpu, peak_mb=peak_mb, foreign_cores=_foreign(busy, cpu, wall), before=before)


def run_function(function: Callable[[], object], settings: Settings) -> Run:
    """Call a function; CPU time of all threads of this process, and wall time."""
    before = machine.settle(settings)
    busy, started, cpu_started = machine.busy_seconds(), time.perf_counter(), time.process_time()
    function()
    cpu, wall = time.process_time() - cpu_started, time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 1e6
    return Run(wall_s=wall, cpu_s=cpu, peak_mb=peak_mb, foreign_cores=_foreign(busy, cpu, wall), before=before)


def _foreign(busy: float | None, cpu: float, wall: float) -> float | None:
    after = machine.busy_seconds()
    return None if busy is None or after is None else round(max(0.0, after - busy - cpu) / wall, 2)


def in_turns(
    sides: Mapping[str, Callable[[], Run]], settings: Settings, log: Callable[[str], None]
) -> dict[str, list[Run]]:
    """Every side once, then every side again, ...: what drifts (clock, temperature, neighbours) hits all alike."""
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for repetition in range(settings.repetitions):
        for name, side in sides.items():
            run = _undisturbed(side, settings, log)
            runs[name].append(run)
            log(f"{repetition + 1}/{settings.repetitions} {name}: {_shown(run)}")
    return runs


def _undisturbed(side: Callable[[], Run], settings: Settings, log: Callable[[str], None]) -> Run:
    """Measure again what others disturbed: BLAS threads that spin for a core slow one side more than the other.

    Raises:
        BusyMachineError: disturbed every time, and `allow_busy` is not set.
    """
    for _ in range(_TRIES):
        run = side()
        # Ticks of 10 ms are too coarse to tell who used the cores during a short run.
        if settings.allow_busy or run.foreign_cores is None or run.wall_s < 1.0:
            return run
        if run.foreign_cores <= settings.busy_cores:
            return run
        log(f"disturbed, and measured again: {_shown(run)}")
    raise machine.BusyMachineError(
        f"Other processes disturbed a measurement {_TRIES} times; try --allow-busy or later."
    )


def _shown(run: Run) -> str:
    return f"CPU {run.cpu_s:.2f} s, wall {run.wall_s:.2f} s, others {run.foreign_cores} cores"


def median(runs: Sequence[Run], column: str) -> float:
    """Median of a column over repetitions."""
    return float(statistics.median(getattr(run, column) for run in runs))


def compared(
    what: str,
    runs: Mapping[str, Sequence[Run]],
    sides: tuple[str, str],
    column: str,
    target: str = "",
    *,
    inverse: bool = False,
) -> Line:
    """A line that compares the medians of two sides, (ours, other): value = other / ours, or `inverse`, ours / other."""
    ours, other = (median(runs[name], column) for name in sides)
    shown = [f"{side:.0f} MB" if column == "peak_mb" else f"{side:.2f} s" for side in (ours, other)]
    value = ours / other if inverse else other / ours
    return Line(what=what, ours=shown[0], other=shown[1], value=value, target=target)


def as_data(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[dict[str, Any]]]:
    """All measurements, for the JSON file."""
    return {name: [asdict(run) for run in of_side] for name, of_side in runs.items()}


def log(sentence: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"  {sentence}\n")
    sys.stderr.flush()
