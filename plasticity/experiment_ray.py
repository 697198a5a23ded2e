"""Cells of an experiment as tasks of a Ray cluster: the same functions as here, on whatever node has room.

The folder of the experiment must be on a file system that all nodes share; each task makes sure. A node that is taken away costs
the cells that ran on it one retry, which goes on with what they had written. What a task says goes through a file in its cell's
folder, so that nothing but the folder has to outlive a node.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphadecay import worker_gpus
from alphadecay.crew import THREADS, Ended
from plasticity import experiment_cell
from plasticity.experiment import Resources
from plasticity.experiment_cell import Job
from plasticity.pace import Pace
from spectra import provenance
from spectra.errors import SpectraError, first_line
from spectra.ray_connection import check_versions, join, versions

RETRIES = 3  # times a cell is run again after its worker died
BEGINS = "begins on "
LIBRARIES = ("torch", "transformers")
LISTEN_SECONDS = 2.0
_SAYS_SECONDS = 20.0
_SAID = ".said"
_MARK = ".run-"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What a task holds against what it finds on its node: a file in the experiment's folder, and versions."""

    mark: str
    versions: Mapping[str, str]


class RayCrew:
    """What `alphadecay.crew.Crew` is, on a Ray cluster; a context manager.

    Args:
        out: the experiment's folder.
        workers: cells at once; None: as many as the cluster has room for.
        heard: told what cells say while they run; `say`: where each begins.

    Raises:
        SpectraError: Ray is not installed, no cluster answers, or no node has what a cell needs.
    """

    lives = 1  # Ray itself has tried a lost cell again

    def __init__(
        self, resources: Resources, out: Path, *, address: str | None, workers: int | None, say: Say, heard: Say
    ) -> None:
        threads = workers * resources.threads if workers is not None else None
        own = environment(resources)
        self._ray, here, self._leave = join(address, threads, say, own)
        self._say, self._heard = say, heard
        self._jobs: dict[Any, Job] = {}
        self._read: dict[str, int] = {}
        self._mark = out / f"{_MARK}{uuid.uuid4().hex}"
        try:
            room = places(self._ray.nodes(), resources)
            self._mark.touch()
        except BaseException:
            self.__exit__()
            raise
        self._driver = Driver(mark=self._mark.name, versions=versions(*LIBRARIES))
        self._limit = room if workers is None else min(workers, room)
        self._task = self._ray.remote(
            num_cpus=resources.threads,
            num_gpus=resources.gpus,
            max_retries=RETRIES,
            **(
                {} if here else {"runtime_env": {"env_vars": own}}
            ),  # of one begun here they have it, and are begun already
        )(_run)
        if warning := no_gpus(self._ray.nodes(), resources):
            say(warning)
        say(f"Ray: nodes {len(self._ray.nodes())}, {self._limit} cells at once")

    def __enter__(self) -> RayCrew:
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._jobs:
            self._ray.cancel(reference, force=True)
        self._mark.unlink(missing_ok=True)
        if self._leave:
            self._ray.shutdown()

    @property
    def idle(self) -> int:
        """Cells that can be begun now."""
        return max(0, self._limit - len(self._jobs))

    @property
    def busy(self) -> list[Job]:
        """Cells under way."""
        return list(self._jobs.values())

    def begin(self, job: Job) -> None:
        """Hand a cell to the cluster."""
        said(job).unlink(missing_ok=True)
        self._read[job.cell.key] = 0
        self._jobs[self._task.remote(job, self._driver)] = job

    def wait(self, seconds: float | None = None) -> list[Ended[Job]]:
        """Wait until something ended, or so long; what cells say meanwhile is passed on."""
        until = math.inf if seconds is None else time.monotonic() + seconds
        done: list[Any] = []
        while self._jobs and not done:
            left = until - time.monotonic()
            done, _ = self._ray.wait(list(self._jobs), num_returns=1, timeout=max(0.0, min(LISTEN_SECONDS, left)))
            self._listen()
            if left <= 0:
                break
        return [self._ended(reference) for reference in done]

    def _listen(self) -> None:
        for job in self._jobs.values():
            lines, self._read[job.cell.key] = read_lines(said(job), self._read[job.cell.key])
            for line in lines:
                (self._say if line.startswith(BEGINS) else self._heard)(
                    f"{job.cell.label}: {line}" if line.startswith(BEGINS) else line
                )

    def _ended(self, reference: Any) -> Ended[Job]:
        job, errors = self._jobs.pop(reference), self._ray.exceptions
        with contextlib.suppress(OSError):
            said(job).unlink(missing_ok=True)
        try:
            return Ended(job=job, record=self._ray.get(reference))
        except errors.RayTaskError as error:
            cause = error.cause
            reason = str(cause) if isinstance(cause, SpectraError) else f"{type(cause).__name__}: {first_line(cause)}"
            return Ended(job=job, record=None, reason=reason)
        except errors.RayError as error:
            reason = f"Ray lost it {RETRIES + 1} times ({type(error).__name__}: {first_line(error)}); memory is the usual reason"
            return Ended(job=job, record=None, reason=reason, died=True)


def environment(wanted: Resources) -> dict[str, str]:
    """Variables of a cell's process; it sees no GPU where it asks for none, on a running cluster and on a Ray started here."""
    hidden = {} if wanted.gpus else {worker_gpus.VARIABLE: ""}
    return dict.fromkeys(THREADS, str(wanted.threads)) | hidden


def no_gpus(nodes: Iterable[Mapping[str, Any]], wanted: Resources) -> str:
    """What to say where the cluster has GPUs and no cell will use one; else nothing. `nodes`: as `ray.nodes()` says."""
    count = sum(float(node.get("Resources", {}).get("GPU", 0)) for node in nodes if node.get("Alive", True))
    if wanted.gpus or not count:
        return ""
    return f"Ray: cells run on the CPU though the cluster has {count:g} GPUs, for resources.gpus is 0 in the experiment"


def places(nodes: Iterable[Mapping[str, Any]], wanted: Resources) -> int:
    """Cells that a cluster has room for at once, node by node: a cell cannot be spread over two.

    Args:
        nodes: as `ray.nodes()` says.

    Raises:
        SpectraError: no node has what a cell needs; names the biggest.
    """
    found = [node.get("Resources", {}) for node in nodes if node.get("Alive", True)]
    sizes = [(float(node.get("GPU", 0)), int(node.get("CPU", 0))) for node in found]
    room = sum(_room(cpus, gpus, wanted) for gpus, cpus in sizes)
    if room < 1:
        most = max(sizes, key=lambda size: size if wanted.gpus else size[::-1], default=(0.0, 0))
        raise SpectraError(
            f"No node of the Ray cluster has what a cell needs: {wanted.threads} CPUs and {wanted.gpus:g} GPUs. The biggest of "
            f"{len(sizes)} has {most[1]} and {most[0]:g}. Add a node, or change resources in the experiment."
        )
    return room


def _room(cpus: int, gpus: float, wanted: Resources) -> int:
    room = cpus // wanted.threads
    if not wanted.gpus:
        return room
    if wanted.gpus < 1:  # several cells on one GPU, none on two halves
        return min(room, int(gpus) * int(1 / wanted.gpus + 1e-9))
    return min(room, int(gpus / wanted.gpus + 1e-9))


def said(job: Job) -> Path:
    """The file of what a cell says on a cluster, a line a message."""
    return experiment_cell.folder(job.out, job.cell) / _SAID


def read_lines(path: Path, offset: int) -> tuple[list[str], int]:
    """Whole lines from `offset` on, and where they end."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            text = file.read()
    except OSError:
        return [], offset
    end = text.rfind(b"\n") + 1
    return text[:end].decode("utf-8", "replace").splitlines(), offset + end


def _run(job: Job, driver: Driver) -> dict[str, Any]:
    """A task: one cell on as many threads as it was promised."""
    check_versions(driver.versions)
    check_shared(job.out, driver.mark)
    provenance.note_code(experiment_cell.PACKAGES)
    import torch

    torch.set_num_threads(int(os.environ.get(THREADS[0], "1")))
    pace, path = Pace(_SAYS_SECONDS), said(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_line(path, f"{BEGINS}{socket.gethostname()}")
    return experiment_cell.run(job, lambda text: write_line(path, text) if pace.due() else None)


def check_shared(out: Path, mark: str) -> None:
    """In a task: refuse a folder that is not the driver's.

    Raises:
        SpectraError: the driver's mark is not in it.
    """
    if not (out / mark).exists():
        what = "is not there" if not out.is_dir() else "is another folder than where the experiment was begun"
        raise SpectraError(
            f"{out} {what} on node {socket.gethostname()}: not a shared file system. Name a folder with --out that all nodes of "
            "the cluster share."
        )


def write_line(path: Path, text: str) -> None:
    """Add a message; a cell does not fail for what it cannot say."""
    with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(" ".join(text.splitlines()) + "\n")
