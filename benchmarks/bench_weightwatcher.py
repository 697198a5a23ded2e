"""Whole processes on SmolLM2-135M: `spectra analyze` with its full default panel against WeightWatcher's defaults."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import Line, Result, Run, as_data, compared, in_turns, log, run_process
from benchmarks.model import prepare
from benchmarks.peers.environment import SCRIPTS, python_of
from benchmarks.settings import Settings

COLD, WARM = "spectra, nothing cached", "spectra, null draws cached"
USUAL, BARE = "WeightWatcher, transformers", "WeightWatcher, bare modules"


class _Sides:
    """The four commands, on `threads` threads; their results land in `scratch`."""

    def __init__(self, settings: Settings, threads: int, scratch: Path) -> None:
        self.settings, self.threads, self.scratch = settings, threads, scratch
        self.model = prepare(Path(settings.model))
        self.peer = python_of(Path(settings.weightwatcher))

    def weightwatcher(self, route: str) -> Run:
        script, out = str(SCRIPTS / "weightwatcher_analyze.py"), str(self.scratch / f"{route}.json")
        command = [self.peer, script, route, str(self.model), str(self.threads), out]
        return run_process(command, self.settings, threads=self.threads)

    def spectra(self, cache: Path) -> Run:
        command = spectra_command(self.model, self.threads, self.scratch / "ours.json")
        return run_process(command, self.settings, threads=self.threads, extra={"SPECTRA_CACHE_DIR": str(cache)})

    def cold(self) -> Run:
        with tempfile.TemporaryDirectory() as cache:
            return self.spectra(Path(cache))

    def warm(self) -> Run:
        return self.spectra(self.scratch / "warm")

    def measure(self) -> dict[str, list[Run]]:
        self.warm()  # fills the cache of null draws, and the page cache
        sides = {
            USUAL: lambda: self.weightwatcher("transformers"),
            COLD: self.cold,
            BARE: lambda: self.weightwatcher("modules"),
            WARM: self.warm,
        }
        return in_turns(sides, self.settings, log)


def spectra_command(checkpoint: Path, workers: int, out: Path) -> list[str]:
    """The installed program, as its users call it."""
    program = str(Path(sys.executable).parent / "spectra")
    options = ["--device", "cpu", "--workers", str(workers), "--quiet", "--out", str(out)]
    return [program, "analyze", str(checkpoint), *options]


def run(settings: Settings) -> Result:
    """One thread, then two; then the numbers themselves."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        one = _Sides(settings, 1, scratch).measure()
        two = _Sides(settings, 2, scratch).measure()
        agreement, details = _agreement(scratch)
    lines = [
        compared("CPU time, 1 thread: WeightWatcher as documented", one, (COLD, USUAL), "cpu_s", ">= 3.5"),
        compared("CPU time, 1 thread: the same, null draws cached", one, (WARM, USUAL), "cpu_s"),
        compared("CPU time, 1 thread: WeightWatcher without transformers", one, (COLD, BARE), "cpu_s"),
        compared("CPU time, 1 thread: the same, null draws cached", one, (WARM, BARE), "cpu_s"),
        compared("wall time, 1 thread: WeightWatcher as documented", one, (COLD, USUAL), "wall_s"),
        compared("wall time, 2 threads: WeightWatcher as documented", two, (COLD, USUAL), "wall_s", ">= 5"),
        compared("wall time, 2 threads: the same, null draws cached", two, (WARM, USUAL), "wall_s"),
        compared("wall time, 2 threads: WeightWatcher without transformers", two, (COLD, BARE), "wall_s"),
        compared("wall time, 2 threads: the same, null draws cached", two, (WARM, BARE), "wall_s"),
        compared("peak memory, 1 thread: WeightWatcher as documented", one, (COLD, USUAL), "peak_mb"),
        compared("peak memory, 1 thread: WeightWatcher without transformers", one, (COLD, BARE), "peak_mb"),
        *agreement,
    ]
    notes = (
        "Loaded by transformers, the tied lm_head is a module of its own, which WeightWatcher analyses a second time; the "
        "bare modules are the matrices of the file, once each: the same work as ours.",
        "Ours: hill, goodness-of-fit, fix-finger, ranks, norms, bulk and spikes, circuits, null; WeightWatcher's defaults: "
        "goodness-of-fit and norms.",
    )
    details |= {"runs": {"1 thread": as_data(one), "2 threads": as_data(two)}}
    return Result(
        name="weightwatcher",
        title="Against WeightWatcher 0.7.7, whole processes",
        lines=lines,
        notes=notes,
        details=details,
    )


def _agreement(scratch: Path) -> tuple[list[Line], dict[str, Any]]:
    """Goodness-of-fit alpha of every matrix both list."""
    rows = json.loads((scratch / "ours.json").read_text(encoding="utf-8"))["matrices"]
    ours = {row["tensor"].removesuffix(".weight"): row["alpha_gof"] for row in rows}
    lines, details = [], {}
    for route in ("transformers", "modules"):
        found = json.loads((scratch / f"{route}.json").read_text(encoding="utf-8"))
        theirs: dict[str, float] = found.pop("alpha")
        errors = {
            name: abs(ours[name] - alpha) / alpha if ours[name] is not None else math.inf
            for name, alpha in theirs.items()
            if name in ours
        }
        worst = max(errors, key=lambda name: errors[name])
        what = f"goodness-of-fit alpha, largest relative difference over {len(errors)} matrices of both ({route})"
        counts = f"{len(ours)} matrices", f"{len(theirs)} matrices"
        lines.append(Line(what=what, ours=counts[0], other=counts[1], value=errors[worst], unit="", target="<= 1e-4"))
        details[route] = found | {
            "worst": {"name": worst, "ours": ours[worst], "other": theirs[worst]},
            "only_ours": sorted(set(ours) - set(theirs)),
            "only_other": sorted(set(theirs) - set(ours)),
        }
    return lines, details
