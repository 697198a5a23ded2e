"""An analysis spread over a Ray cluster: the driver reads, tasks compute, rows come back as they finish.

The driver reads one group at a time and hands its raw bits to Ray's object store, so that workers need neither the checkpoint
nor a shared file system, and a task whose worker dies is run again elsewhere from the same bits. A task does what a worker
thread does locally, on one BLAS thread: the same rows bit for bit on machines of one kind. Where the cluster has GPUs, a
task has one of them and a batch of matrices of equal shape.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import spectra
from spectra.batches import Read, ahead, buckets
from spectra.errors import SpectraError, first_line
from spectra.options import AnalysisOptions
from spectra.ray_connection import check_versions, join, versions
from spectra.stored import Stored
from spectra.types import MatrixRef
from spectra.work import Finished, Group, Wanted, cut_all, measure

Want = Callable[[MatrixRef], Wanted]
Item = tuple[MatrixRef, Wanted]

RETRIES = 3  # times a task is run again after its worker died
_WAIT_SECONDS = 30.0  # for a cluster to show resources for a first task
_THREADS_PER_GPU = 8  # at most, for the fits of a batch


class RayCluster:
    """A connection to a Ray cluster, or a local one that was started for the analysis. Use as a context manager."""

    def __init__(self, options: AnalysisOptions, message: Callable[[str], None] | None = None) -> None:
        """Connect.

        Raises:
            SpectraError: Ray is not installed, no cluster answers at the address, or it has not what was asked for.
        """
        if options.device not in ("auto", "cpu", "cuda"):
            raise SpectraError(
                f"Ray assigns its GPUs itself: use --device auto, cpu or cuda with --engine ray, not {options.device}."
            )
        self._options = options
        self._ray, self._local, self._started = join(options.address, options.workers, message)
        try:
            self.gpus, self.cpus = self._resources(options.device)
            if message is not None:
                message(f"Ray: nodes {len(self._ray.nodes())}, CPUs {self.cpus}, GPUs {self.gpus}")
        except BaseException:
            self.close()
            raise

    @property
    def device(self) -> str:
        """What tasks compute eigenvalues on."""
        return "cuda" if self.gpus else "cpu"

    @property
    def limit(self) -> int:
        """Tasks under way: as many as `workers` says, else one at work and one waiting for each CPU (or GPU)."""
        return self._options.workers or 2 * (self.gpus or self.cpus)

    def _resources(self, device: str) -> tuple[int, int]:
        """GPUs and CPUs to use; waits a little for a cluster that is starting."""
        until = time.monotonic() + (0.0 if self._local else _WAIT_SECONDS)
        while True:
            found = self._ray.cluster_resources()
            gpus, cpus = int(found.get("GPU", 0)), int(found.get("CPU", 0))
            if device == "cuda" and gpus >= 1:
                return gpus, max(cpus, 1)
            if device != "cuda" and (cpus >= 1 or gpus >= 1):
                return (gpus if device == "auto" else 0), max(cpus, 1)
            if time.monotonic() > until:
                raise SpectraError(
                    f"The Ray cluster has {cpus} CPUs and {gpus} GPUs, and --device {device} was "
                    "asked for. Add nodes, or choose another device."
                )
            time.sleep(0.5)

    def run(self, groups: Iterable[Group], read: Read, want: Want) -> Iterator[Finished]:
        """Analyse groups, in their order of submission; what finishes is yielded as it finishes."""
        payloads = self._batches(groups, read, want) if self.gpus else self._groups(groups, read, want)
        pending: dict[Any, None] = {}
        try:
            for task, arguments in payloads:
                while len(pending) >= self.limit:
                    yield from self._collect(pending)
                pending[task.remote(*arguments)] = None
            while pending:
                yield from self._collect(pending)
        except BaseException:
            for reference in pending:
                self._ray.cancel(reference, force=False)
            raise

    def _groups(self, groups: Iterable[Group], read: Read, want: Want) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        task = self._ray.remote(num_cpus=1, max_retries=RETRIES)(analyse_group)
        for group, stored in ahead(groups, read):
            wanted = [(ref, want(ref)) for ref in group.matrices]
            yield task, (_shipped(stored), group, wanted, self._options, versions())

    def _batches(self, groups: Iterable[Group], read: Read, want: Want) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        threads = max(1, min(_THREADS_PER_GPU, self.cpus // self.gpus))
        task = self._ray.remote(num_gpus=1, num_cpus=threads, max_retries=RETRIES)(analyse_batch)
        for batch in buckets(ahead(groups, read)):
            wanted = [(ref, want(ref)) for ref, _ in batch]
            yield task, ([_shipped(m) for _, m in batch], wanted, self._options, "cuda", threads, versions())

    def _collect(self, pending: dict[Any, None]) -> Iterator[Finished]:
        done, _ = self._ray.wait(list(pending), num_returns=1)
        for reference in done:
            del pending[reference]
            yield from self._result(reference)

    def _result(self, reference: Any) -> Sequence[Finished]:
        errors = self._ray.exceptions
        try:
            found: Sequence[Finished] = self._ray.get(reference)
        except errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, SpectraError):
                raise SpectraError(str(cause)) from error
            if isinstance(cause, ImportError):
                raise SpectraError(
                    f"A Ray worker cannot import what it needs ({cause}). Install spectra-plasticity {spectra.__version__} on "
                    "every node of the cluster."
                ) from error
            if isinstance(cause, MemoryError):
                raise SpectraError(f"A Ray worker has not enough memory ({cause}). Use fewer --workers.") from error
            raise
        except errors.RayError as error:  # a worker, a node or the memory of one is gone, again and again
            raise SpectraError(
                f"Ray lost a task for good ({type(error).__name__}: {first_line(error).rstrip('.')}). What was finished is "
                "kept: mend the cluster (memory is the usual reason) and run again with --resume."
            ) from error
        return found

    def close(self) -> None:
        """Leave the cluster; a local Ray that was started here ends."""
        if self._started:
            self._ray.shutdown()

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _shipped(stored: Stored) -> Stored:
    return Stored(np.ascontiguousarray(stored.raw) if not stored.raw.flags.forc else stored.raw, stored.dtype)


def analyse_group(
    stored: Stored, group: Group, wanted: Sequence[Item], options: AnalysisOptions, driver: dict[str, str]
) -> list[Finished]:
    """A CPU task: all matrices of one read."""
    check_versions(driver)
    with threadpool_limits(1):
        matrices = cut_all(stored, group)
        return [measure(ref, m, None, asked, options) for (ref, asked), m in zip(wanted, matrices, strict=True)]


def analyse_batch(
    matrices: Sequence[Stored],
    wanted: Sequence[Item],
    options: AnalysisOptions,
    device: str,
    threads: int,
    driver: dict[str, str],
) -> list[Finished]:
    """A GPU task: eigenvalues of a batch of equal shapes on the device, everything else on `threads` threads."""
    from spectra.torch_route import TorchRoute, open_device

    check_versions(driver)
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        found = next(TorchRoute(open_device(device)).spectra([matrices]))
        return list(
            pool.map(
                lambda one: measure(one[0][0], one[1], one[2], one[0][1], options),
                zip(wanted, matrices, found, strict=True),
            )
        )
