"""What a Ray cluster has room for, and what a task makes sure of; and a worker that is killed (slow)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plasticity import experiment, experiment_ray, experiment_run
from plasticity.experiment import Resources
from spectra.errors import SpectraError
from spectra.ray_connection import check_versions, versions


def nodes(*sizes: tuple[int, float]) -> list[dict[str, object]]:
    gone = {"Alive": False, "Resources": {"CPU": 999.0, "GPU": 99.0}}
    return [
        gone,
        *({"Alive": True, "Resources": {"CPU": float(c), "GPU": g} if g else {"CPU": float(c)}} for c, g in sizes),
    ]


@pytest.mark.parametrize(
    ("sizes", "threads", "gpus", "expected"),
    [
        ([(4, 0), (4, 0)], 1, 0.0, 8),
        ([(4, 0), (4, 0)], 3, 0.0, 2),  # not 8 // 3 and not the CPUs of two nodes together
        ([(4, 1)] * 4, 4, 1.0, 4),
        ([(4, 1), (16, 2)], 4, 2.0, 1),
        ([(8, 1), (8, 1)], 1, 0.3, 6),
    ],
)
def test_cells_have_room_node_by_node(sizes: list[tuple[int, float]], threads: int, gpus: float, expected: int) -> None:
    assert experiment_ray.places(nodes(*sizes), Resources(threads=threads, gpus=gpus)) == expected


def test_a_cell_that_fits_on_no_node_is_refused_though_all_together_have_enough() -> None:
    said = r"what a cell needs: 8 CPUs and 2 GPUs\. The biggest of 4 has 4 and 1\."
    with pytest.raises(SpectraError, match=said):
        experiment_ray.places(nodes(*[(4, 1)] * 4), Resources(threads=8, gpus=2))
    with pytest.raises(SpectraError, match="The biggest of 0 has 0 and 0"):
        experiment_ray.places([], Resources())


def test_a_task_refuses_a_folder_that_is_not_the_drivers(tmp_path: Path) -> None:
    (tmp_path / ".run-1").touch()
    experiment_ray.check_shared(tmp_path, ".run-1")
    for out, said in ((tmp_path, "is another folder"), (tmp_path / "none", "is not there")):
        with pytest.raises(SpectraError, match=f"{said} .*not a shared file system"):
            experiment_ray.check_shared(out, ".run-2")


def test_a_task_refuses_other_versions_than_the_drivers() -> None:
    here = versions("pytest", "no-such-library")
    assert here["pytest"] == pytest.__version__ and here["no-such-library"] == "none"
    check_versions(here)
    with pytest.raises(SpectraError, match=r"pytest 0\.1 here and .* on a worker"):
        check_versions(here | {"pytest": "0.1"})


def test_what_a_cell_says_is_read_once_and_in_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / ".said"
    assert experiment_ray.read_lines(path, 0) == ([], 0)
    experiment_ray.write_line(path, "one\ntwo")
    found, offset = experiment_ray.read_lines(path, 0)
    assert found == ["one two"]
    with path.open("a") as file:
        file.write("begun, not en")
    assert experiment_ray.read_lines(path, offset) == ([], offset)
    experiment_ray.write_line(path, "ded")
    assert experiment_ray.read_lines(path, offset)[0] == ["begun, not ended"]
    experiment_ray.write_line(tmp_path / "none" / "x", "lost, and nothing fails")


@pytest.mark.slow
def test_a_ray_worker_that_is_killed_costs_its_cell_one_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    import cloudpickle

    from . import cells_of_tests
    from .cells_of_tests import cell, tries

    real = experiment_ray._run

    def run(job: Any, driver: Any) -> dict[str, Any]:  # an inner function travels by value
        from plasticity import experiment_cell as cells

        cells._KINDS = dict.fromkeys(cells._KINDS, cells_of_tests.end)  # type: ignore[assignment]
        return real(job, driver)

    cloudpickle.register_pickle_by_value(cells_of_tests)  # workers do not find the tests
    monkeypatch.setattr(experiment_ray, "_run", run)
    monkeypatch.setattr(experiment_ray, "LISTEN_SECONDS", 0.2)
    chosen = experiment.from_yaml("checkpoints: {a: {path: a/b}}\nspectra: {}", "x", "x")
    found, heard = [cell("die once"), cell("raise"), cell("a")], list[str]()
    experiment_run.begin(tmp_path, chosen, cells=found)
    try:
        done = experiment_run.run(chosen, found, tmp_path, workers=1, engine="ray", address="local", say=heard.append)
    finally:
        cloudpickle.unregister_pickle_by_value(cells_of_tests)
    assert (done.finished, done.failed) == (2, 1), heard
    assert [tries(tmp_path, one) for one in found] == [2, 1, 1]  # one kill, one retry
    begun = [line.partition(":")[0] for line in heard if f": {experiment_ray.BEGINS}" in line]
    assert [begun.count(one.label) for one in found] == [2, 1, 1]
    assert any("failed: gap base raise: RuntimeError: CUDA out of memory" in line for line in heard)
    assert not list(tmp_path.glob(".run-*")) and not list(tmp_path.rglob(".said"))


def test_a_cell_sees_no_gpu_where_it_asks_for_none_and_that_is_said() -> None:
    none, one = Resources(threads=2), Resources(gpus=1)
    assert experiment_ray.environment(none)["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in experiment_ray.environment(one)
    assert "has 3 GPUs, for resources.gpus is 0" in experiment_ray.no_gpus(nodes((4, 1), (4, 2)), none)
    assert experiment_ray.no_gpus(nodes((4, 1)), one) == experiment_ray.no_gpus(nodes((4, 0)), none) == ""
