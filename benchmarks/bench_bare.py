"""What the full panel costs beyond the eigenvalues alone: one process, one BLAS thread, tensors read beforehand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import spectra
from benchmarks import tensors
from benchmarks.measure import Result, Run, as_data, compared, in_turns, log, run_function
from benchmarks.model import CONFIG
from benchmarks.settings import Settings
from spectra.options import AnalysisOptions

COLD, WARM, NONE = "full panel, null drawn", "full panel, null draws cached", "full panel, no null"
BARE, CONVERTED = "eigenvalues of float64 copies", "eigenvalues, conversion included"


def eigenvalues(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Of the smaller Gram matrix: numpy's syrk and LAPACK, nothing else."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return np.asarray(np.linalg.eigvalsh(wide @ wide.T))


def _eigenvalues_of_all(matrices: Iterable[NDArray[Any]]) -> None:
    for matrix in matrices:
        eigenvalues(matrix)


def panel(state: Mapping[str, NDArray[Any]], options: AnalysisOptions) -> None:
    """The whole analysis of tensors in memory."""
    spectra.analyze(dict(state), options=options, config=CONFIG)


def run(settings: Settings) -> Result:
    """Median CPU time of the panel over that of the bare eigenvalues."""
    state = tensors.read_all(settings)
    stored = list(tensors.matrices(state).values())
    copies = [values.astype(np.float64) for values in stored]
    with tempfile.TemporaryDirectory() as cache:
        options = {
            COLD: AnalysisOptions(workers=1, device="cpu", null_cache=None),
            WARM: AnalysisOptions(workers=1, device="cpu", null_cache=Path(cache)),
            NONE: AnalysisOptions(workers=1, device="cpu", null=False),
        }
        panel(state, options[WARM])
        _eigenvalues_of_all(copies[:10])
        runs = in_turns(
            {
                BARE: lambda: run_function(lambda: _eigenvalues_of_all(copies), settings),
                COLD: lambda: _panel_run(state, options[COLD], settings),
                CONVERTED: lambda: run_function(
                    lambda: _eigenvalues_of_all(values.astype(np.float64) for values in stored), settings
                ),
                WARM: lambda: _panel_run(state, options[WARM], settings),
                NONE: lambda: _panel_run(state, options[NONE], settings),
            },
            settings,
            log,
        )
    lines = [
        compared(
            "ours / eigenvalues of float64 copies made beforehand", runs, (COLD, BARE), "cpu_s", "<= 1.5", inverse=True
        ),
        compared("ours / eigenvalues, conversion to float64 included", runs, (COLD, CONVERTED), "cpu_s", inverse=True),
        compared("ours, null draws cached / eigenvalues of copies", runs, (WARM, BARE), "cpu_s", inverse=True),
        compared("ours, without the null / eigenvalues of copies", runs, (NONE, BARE), "cpu_s", inverse=True),
    ]
    return Result(
        name="bare",
        title=f"Full panel against bare eigenvalues, CPU time, one thread, {len(stored)} matrices in memory",
        lines=lines,
        notes=("Ours hashes every tensor (SHA-256, for the provenance) within this time.",),
        details={"runs": as_data(runs)},
    )


def _panel_run(state: Mapping[str, NDArray[Any]], options: AnalysisOptions, settings: Settings) -> Run:
    return run_function(lambda: panel(state, options), settings)
