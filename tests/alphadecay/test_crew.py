"""Workers that raise, die at work, die idle, die as they start; and what each of them sees of the machine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from alphadecay import worker_gpus
from alphadecay.crew import STARTS, Crew
from spectra import provenance
from spectra.errors import SpectraError

from .crew_work import no_start, work


def one(crew: Crew[str], job: str) -> Any:
    crew.begin(job)
    (ended,) = crew.wait()
    return ended


def test_a_worker_that_died_is_replaced_and_its_job_alone_is_lost() -> None:
    said: list[str] = []
    with Crew[str](work, workers=1, say=said.append, environments=[{"MINE": "7"}]) as crew:
        assert (crew.idle, crew.busy) == (1, [])
        first = one(crew, "MINE")
        assert first.record["seen"] == "7" and "MINE" not in os.environ
        raised = one(crew, "raise")
        assert raised.reason == "ValueError: no such thing" and not raised.died
        died = one(crew, "die")
        assert died.died and died.record is None and "exit code -9" in died.reason
        assert crew.idle == 1  # nobody is hired before there is work
        second = one(crew, "MINE")
        assert second.record["seen"] == "7" and second.record["pid"] != first.record["pid"]
        os.kill(second.record["pid"], signal.SIGKILL)  # idle
        os.waitid(os.P_PID, second.record["pid"], os.WEXITED | os.WNOWAIT)
        assert one(crew, "again").record["job"] == "again"
    assert said == ["at MINE", "at MINE", "at again"]


@pytest.mark.parametrize("times", [1, STARTS])
def test_workers_that_die_as_they_start_are_given_up_after_some(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    no_start(tmp_path / "deadly", times=times)
    with Crew[str](work, workers=1, packages=("deadly",), environments=[{"DEADLY": "1"}]) as crew:
        if times < STARTS:
            assert one(crew, "late").record["job"] == "late"
            return
        with pytest.raises(SpectraError, match=r"3 workers in a row died as they started \(exit code -9\)"):
            one(crew, "never")


def test_waiting_for_so_long_and_no_longer() -> None:
    with Crew[str](work, workers=1) as crew:
        crew.begin("slow to start")
        assert crew.wait(0.001) == [] and crew.idle == 0
        assert crew.wait()[0].job == "slow to start"


@pytest.mark.parametrize(
    ("devices", "workers", "gpus", "expected"),
    [
        ("", 2, 0.0, []),
        ("0 1", 1, 0.0, []),  # alone it may have all
        ("0 1", 3, 0.0, ["0", "1", "0"]),
        ("4 5 6 7", 2, 2.0, ["4,5", "6,7"]),
        ("0 1", 2, 1.0, ["0", "1"]),
        ("0 1", 1, 1.0, ["0"]),
        ("0 1", 4, 0.5, ["0", "0", "1", "1"]),
        ("0 1 2", 2, 1.5, None),
        ("0 1", 3, 1.0, None),
        ("0 1", 5, 0.5, None),
    ],
)
def test_every_worker_has_gpus_of_its_own(devices: str, workers: int, gpus: float, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(SpectraError, match=f"--workers {workers}: a cell needs {gpus:g} GPUs"):
            worker_gpus.shares(devices.split(), workers, gpus)
        return
    found = worker_gpus.shares(devices.split(), workers, gpus)
    assert [one[worker_gpus.VARIABLE] for one in found] == expected


def test_gpus_go_by_the_names_that_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv(worker_gpus.VARIABLE, raising=False)
    assert worker_gpus.visible() == ["0", "1"]
    monkeypatch.setenv(worker_gpus.VARIABLE, "3, GPU-5e")
    assert worker_gpus.visible() == ["3", "GPU-5e"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert worker_gpus.visible() == []


def test_a_worker_notes_the_code_that_it_imported_and_may_start_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    no_start(tmp_path / "package", times=0)
    sources = provenance.sources(["package"])
    with Crew[str](work, workers=1, packages=("package",)) as crew:
        assert one(crew, "child").record["job"] == "child"
        (tmp_path / "package" / "__init__.py").write_text("changed = True\n")
        late = one(crew, "late").record
    assert provenance.sources(["package"]) != sources
    assert late["noted"]["sources"] == late["provenance"]["sources"] == sources
