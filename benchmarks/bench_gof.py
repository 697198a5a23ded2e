"""Goodness-of-fit alone, exact pruned search against WeightWatcher's loop over every xmin, on the same eigenvalues."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine, tensors
from benchmarks.measure import Line, Result, environment, log
from benchmarks.peers.environment import SCRIPTS, python_of
from benchmarks.settings import Settings
from spectra import tails
from spectra.null import gaussian_eigenvalues
from spectra.spectrum import spectrum
from spectra.stored import Stored

Floats = NDArray[np.float64]
Fits = dict[str, dict[str, float]]
SIZE = 4096


def synthetic() -> dict[str, Floats]:
    """Spectra of 4096 eigenvalues, ascending."""
    rng = np.random.default_rng(0)
    pareto = rng.pareto(1.5, SIZE) + 1.0  # density ~ x^-2.5
    bulk = gaussian_eigenvalues(SIZE, 4 * SIZE, rng) / SIZE
    tail = 4.0 * (rng.pareto(1.2, SIZE // 8) + 1.0)
    heavy = np.concatenate([bulk[: SIZE - tail.size], tail])
    made = {
        "Pareto, exponent 2.5": pareto,
        "Gaussian, 4096 x 4096": gaussian_eigenvalues(SIZE, SIZE, rng),
        "Gaussian, 4096 x 16384": gaussian_eigenvalues(SIZE, 4 * SIZE, rng),
        "bulk with a heavy tail": heavy,
        "lognormal": rng.lognormal(0.0, 1.5, SIZE),
    }
    return {name: np.sort(values) for name, values in made.items()}


def real(settings: Settings) -> dict[str, Floats]:
    """Positive eigenvalues of every matrix of SmolLM2-135M."""
    found = tensors.matrices(tensors.read_all(settings))
    return {name: spectrum(Stored(values, "float32")).positive for name, values in found.items()}


def fit_ours(spectra: dict[str, Floats]) -> Fits:
    """Alpha and CPU seconds of every spectrum, after one fit that is not counted."""
    tails.goodness_of_fit(next(iter(spectra.values())))
    found = {}
    for name, eigenvalues in spectra.items():
        started = time.process_time()
        fit = tails.goodness_of_fit(eigenvalues)
        found[name] = {"alpha": fit.alpha, "cpu_s": time.process_time() - started}
    return found


def fit_theirs(source: Path, out: Path, python: str) -> Fits:
    """The same by WeightWatcher, in its own environment."""
    command = [python, str(SCRIPTS / "weightwatcher_fit.py"), str(source), str(out)]
    subprocess.run(command, check=True, capture_output=True, env=environment(1))
    made: Fits = json.loads(out.read_text(encoding="utf-8"))
    return made


def run(settings: Settings) -> Result:
    """Per synthetic spectrum, and the sum over the real ones."""
    python = python_of(Path(settings.weightwatcher))
    made, measured = synthetic(), real(settings)
    spectra = made | measured
    ours: list[Fits] = []
    theirs: list[Fits] = []
    before = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "spectra.npz"
        np.savez(source, **spectra)  # type: ignore[arg-type]  # numpy's stub takes the names for options
        for repetition in range(settings.repetitions):
            before.append(machine.settle(settings))
            theirs.append(fit_theirs(source, Path(folder) / "found.json", python))
            ours.append(fit_ours(spectra))
            log(f"{repetition + 1}/{settings.repetitions} done")
    lines = [_line(f"n = {SIZE}, {name}", [name], (ours, theirs), ">= 10") for name in made]
    lines.append(_line(f"the {len(measured)} matrices of SmolLM2-135M", list(measured), (ours, theirs)))
    worst = max(abs(ours[0][name]["alpha"] / theirs[0][name]["alpha"] - 1.0) for name in spectra)
    lines.append(
        Line(
            what=f"alpha, largest relative difference over {len(spectra)} spectra",
            ours="",
            other="",
            value=worst,
            unit="",
            target="<= 1e-6",
        )
    )
    return Result(
        name="gof",
        title="Goodness-of-fit alone against WeightWatcher's WWFit, CPU time, one thread",
        lines=lines,
        details={"before": before, "ours": ours, "other": theirs},
    )


def _line(what: str, names: list[str], sides: tuple[list[Fits], list[Fits]], target: str = "") -> Line:
    """Median over repetitions of the summed CPU time of some spectra."""
    ours, other = (statistics.median(sum(fits[name]["cpu_s"] for name in names) for fits in side) for side in sides)
    return Line(
        what=what, ours=f"{1e3 * ours:.1f} ms", other=f"{1e3 * other:.1f} ms", value=other / ours, target=target
    )
