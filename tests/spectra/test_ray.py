"""`--engine ray`: the same rows as local mode, on a local Ray of two workers; a worker killed costs a retry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectra import ray_connection, ray_engine
from spectra.analysis import analyze
from spectra.errors import SpectraError
from spectra.options import AnalysisOptions
from spectra.serialize import circuit_to_dict, matrix_to_dict
from spectra.types import Analysis
from spectra.work import Group

from .conftest import LLAMA_CONFIG, Save, llama_tensors

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("default"),  # Ray's own
]


def rows(analysis: Analysis) -> str:
    """The rows as they stand in the JSON, without the time each took."""
    matrices = [matrix_to_dict(row) | {"seconds": None} for row in analysis.matrices]
    return json.dumps([matrices, [circuit_to_dict(row) for row in analysis.circuits]])


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two workers, shared by the tests of this file; `analyze` joins it and leaves it running."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def options(**other: Any) -> AnalysisOptions:
    return AnalysisOptions(null_cache=None, device="cpu", **other)


def test_the_same_rows_as_local(cluster: None, llama: Path) -> None:
    local = analyze(llama, options=options())
    found = analyze(llama, options=options(engine="ray"))
    assert rows(found) == rows(local)
    assert found.coverage == local.coverage and found.notes == local.notes
    assert found.provenance["engine"] == "ray" and local.provenance["engine"] == "local"
    assert found.provenance["analysed_sha256"] == local.provenance["analysed_sha256"]
    assert ray.is_initialized()  # somebody else's cluster is left as it was


def test_a_real_checkpoint(cluster: None, stories: Path) -> None:
    asked: dict[str, Any] = {"summed_circuits": True, "workers": 1}
    assert rows(analyze(stories, options=options(engine="ray", **asked))) == rows(
        analyze(stories, options=options(**asked))
    )


def test_a_model_in_memory(cluster: None) -> None:
    state = {name: np.asarray(value) for name, value in llama_tensors().items()}
    local = analyze(state, options=options(), config=LLAMA_CONFIG)
    assert rows(analyze(state, options=options(engine="ray"), config=LLAMA_CONFIG)) == rows(local)


class Killer:
    """Kills a worker at work, once, when the first matrix is done."""

    def __init__(self) -> None:
        self.killed: list[int] = []

    def progress(self, done: int, total: int, name: str) -> None:
        if self.killed:
            return
        for process in psutil.Process().children(recursive=True):
            if process.cmdline()[:1] == ["ray::analyse_group"]:
                os.kill(process.pid, signal.SIGKILL)
                self.killed.append(process.pid)
                return

    def message(self, sentence: str) -> None:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker by its process title")
def test_a_killed_worker_costs_a_retry(cluster: None, save: Save) -> None:
    rng = np.random.default_rng(0)
    tensors = {f"layers.{i}.mlp.up_proj.weight": rng.standard_normal((700, 900)) for i in range(8)}
    path = save(tensors, {})
    killer = Killer()
    found = analyze(path, options=options(engine="ray"), listener=killer)
    assert killer.killed, "no worker was at work"
    assert rows(found) == rows(analyze(path, options=options()))


def test_gpu_tasks_do_the_same_on_cpu_tensors(llama: Path) -> None:
    """The body of a GPU task, called here with torch's CPU device: no GPU is needed to know that it is right."""
    from spectra.batches import ahead, buckets
    from spectra.checkpoint import open_checkpoint
    from spectra.naming import plan
    from spectra.work import Wanted, groups

    opened = open_checkpoint(llama)
    planned = plan(opened.tensors, opened.config, format=opened.format)
    local = {row.ref.name: row for row in analyze(llama, options=options(null=False)).matrices}
    seen = 0
    for batch in buckets(ahead(groups(planned, {}), lambda g: opened.read(g.tensor, g.index))):
        wanted = [(ref, Wanted(row=True, sides=())) for ref, _ in batch]
        matrices = [m for _, m in batch]
        for done in ray_engine.analyse_batch(matrices, wanted, options(), "cpu", 2, ray_engine.versions()):
            assert done.row is not None
            if done.row.status != "ok":
                continue
            seen += 1
            there = local[done.ref.name].values
            for column in ("alpha_hill", "spectral_norm", "stable_rank"):
                assert done.row.values[column] == pytest.approx(there[column], rel=1e-9)
    assert seen > 10


def test_other_versions_on_a_worker_are_refused() -> None:
    group = Group(tensor="w", index=None, matrices=())
    with pytest.raises(SpectraError, match=r"numpy 0\.1 here"):
        ray_engine.analyse_group(None, group, [], options(), ray_engine.versions() | {"numpy": "0.1"})  # type: ignore[arg-type]


def test_errors_of_the_data_come_through(cluster: None, save: Save) -> None:
    """What a task cannot do is a row's status, as in local mode, and never a lost run."""
    path = save({"layers.0.mlp.up_proj.weight": np.full((20, 30), np.nan)}, {})
    found = analyze(path, options=options(engine="ray"))
    assert [row.status for row in found.matrices] == ["non_finite"]


def test_an_address_where_nothing_listens() -> None:
    for address in ("127.0.0.1:9", "ray://127.0.0.1:9"):
        with pytest.raises(SpectraError, match=f"No Ray cluster answers at {address}"):
            ray_connection._knock(address)


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(SpectraError, match="engine ray only"):
        options(address="127.0.0.1:9")
    with pytest.raises(SpectraError, match="Unknown engine 'dask'"):
        options(engine="dask")
    with pytest.raises(SpectraError, match="Ray assigns its GPUs itself"):
        ray_engine.RayCluster(AnalysisOptions(engine="ray", device="cuda:1"))


def test_the_command_starts_a_ray_of_its_own(llama: Path, tmp_path: Path) -> None:
    """In a process of its own, as a user would run it. Without `local` it would join another test run's Ray."""
    out = tmp_path / "out.json"
    command = "import sys; sys.argv[0] = 'spectra'; from spectra_cli.spectra_app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "analyze", str(llama), "--engine", "ray", "--address", "local", "--workers", "2",
         "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Ray: nodes 1, CPUs 2" in done.stderr
    assert json.loads(out.read_text())["provenance"]["engine"] == "ray"
