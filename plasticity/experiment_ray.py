"""Cells of an experiment as tasks of a Ray cluster: the same functions as here, on whatever node has room.

The folder of the experiment must be on a file system that all nodes share. A node that is taken away costs the cells that ran on
it one retry, which goes on with what they had written.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from alphadecay.crew import THREADS, Ended
from plasticity import experiment_cell
from plasticity.experiment import Resources
from plasticity.experiment_cell import Job
from spectra.errors import SpectraError, first_line
from spectra.ray_connection import join

RETRIES = 3  # times a cell is run again after its worker died
Say = Callable[[str], None]


class RayCrew:
    """What `alphadecay.crew.Crew` is, on a Ray cluster; a context manager.

    Args:
        workers: cells at once; None: as many as the cluster has room for.

    Raises:
        SpectraError: Ray is not installed, no cluster answers, or no node has what a cell needs.
    """

    def __init__(self, resources: Resources, *, address: str | None, workers: int | None, say: Say) -> None:
        threads = workers * resources.threads if workers is not None else None
        self._ray, _, self._leave = join(address, threads, say)
        self._resources = resources
        try:
            room = self._room()
        except BaseException:
            self.__exit__()
            raise
        self._limit = room if workers is None else min(workers, room)
        environment = {"env_vars": dict.fromkeys(THREADS, str(resources.threads))}
        self._task = self._ray.remote(
            num_cpus=resources.threads, num_gpus=resources.gpus, max_retries=RETRIES, runtime_env=environment
        )(_run)
        self._jobs: dict[Any, Job] = {}
        say(f"Ray: nodes {len(self._ray.nodes())}, {self._limit} cells at once")

    def _room(self) -> int:
        found, wanted = self._ray.cluster_resources(), self._resources
        cpus, gpus = int(found.get("CPU", 0)), float(found.get("GPU", 0))
        room = cpus // wanted.threads
        if wanted.gpus:
            room = min(room, int(gpus / wanted.gpus))
        if room < 1:
            raise SpectraError(
                f"The Ray cluster has {cpus} CPUs and {gpus:g} GPUs, and a cell needs {wanted.threads} and {wanted.gpus:g}. "
                "Add nodes, or change resources in the experiment."
            )
        return room

    def __enter__(self) -> RayCrew:
        return self

    def __exit__(self, *_: object) -> None:
        for reference in getattr(self, "_jobs", {}):
            self._ray.cancel(reference, force=True)
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
        self._jobs[self._task.remote(job)] = job

    def wait(self) -> list[Ended[Job]]:
        """Wait until something ended."""
        if not self._jobs:
            return []
        done, _ = self._ray.wait(list(self._jobs), num_returns=1)
        return [self._ended(reference) for reference in done]

    def _ended(self, reference: Any) -> Ended[Job]:
        job, errors = self._jobs.pop(reference), self._ray.exceptions
        try:
            return Ended(job=job, record=self._ray.get(reference))
        except errors.RayTaskError as error:
            cause = error.cause
            reason = str(cause) if isinstance(cause, SpectraError) else f"{type(cause).__name__}: {first_line(cause)}"
            return Ended(job=job, record=None, reason=reason)
        except errors.RayError as error:
            reason = f"Ray lost it {RETRIES + 1} times ({type(error).__name__}: {first_line(error)}); memory is the usual reason"
            return Ended(job=job, record=None, reason=reason, died=True)


def _run(job: Job) -> dict[str, Any]:
    """A task: one cell on as many threads as it was promised."""
    import torch

    torch.set_num_threads(int(os.environ.get(THREADS[0], "1")))
    return experiment_cell.run(job, lambda _: None)
