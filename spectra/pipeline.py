"""Reading, computing and collecting at once, with a bounded number of matrices in memory.

The calling thread reads one group ahead while worker threads compute (numpy's LAPACK and BLAS calls release the GIL); results are
yielded to the caller as they finish. On the CPU at most `workers + 1` groups are in memory; on a device the batches of `batch_size`
under way and up to 1 GB that waits for others of its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from spectra.batches import Read, ahead, buckets
from spectra.errors import SpectraError
from spectra.spectrum import Spectrum
from spectra.stored import Stored
from spectra.torch_route import TorchRoute
from spectra.types import MatrixRef
from spectra.work import Finished, Group, cut_all

Work = Callable[[MatrixRef, Stored, Spectrum | None], Finished]


class Pool:
    """Worker threads with a bounded backlog. Use as a context manager; an exception cancels what has not begun."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="spectra")
        self._pending: set[Future[list[Finished]]] = set()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self._executor.shutdown(wait=kind is None, cancel_futures=kind is not None)

    def aside(self, task: Callable[[], object]) -> None:
        """Run a task whose result nobody waits for (null draws land in their cache)."""
        self._executor.submit(task)

    def submit(self, task: Callable[[], list[Finished]]) -> Iterator[Finished]:
        """Queue a task; first waits, and yields what finishes, until a worker is free for it."""
        while len(self._pending) >= self._workers:
            yield from self._collect()
        self._pending.add(self._executor.submit(_in_memory, task))

    def drain(self) -> Iterator[Finished]:
        """Everything still running, as it finishes."""
        while self._pending:
            yield from self._collect()

    def _collect(self) -> Iterator[Finished]:
        done, self._pending = wait(self._pending, return_when=FIRST_COMPLETED)
        # What succeeded is handed on before what failed is raised, so that the journal has it.
        for future in sorted(done, key=lambda f: f.exception() is not None):
            yield from future.result()


def _in_memory(task: Callable[[], list[Finished]]) -> list[Finished]:
    try:
        return task()
    except MemoryError as error:
        raise SpectraError(f"Not enough memory ({error}). Use fewer --workers, or --include fewer matrices.") from error


def run_cpu(groups: Iterable[Group], read: Read, work: Work, pool: Pool) -> Iterator[Finished]:
    """Analyse groups on worker threads."""

    def job(group: Group, stored: Stored) -> list[Finished]:
        return [work(ref, matrix, None) for ref, matrix in zip(group.matrices, cut_all(stored, group), strict=True)]

    for group in groups:
        yield from pool.submit(_bind(job, group, read(group)))
    yield from pool.drain()


def _bind(job: Callable[[Group, Stored], list[Finished]], group: Group, stored: Stored) -> Callable[[], list[Finished]]:
    return lambda: job(group, stored)


def run_torch(groups: Iterable[Group], read: Read, work: Work, pool: Pool, route: TorchRoute) -> Iterator[Finished]:
    """Analyse groups with eigenvalues from a torch device and everything else on worker threads.

    A reader thread fills batches of equal shape and dtype (`spectra.batches`).
    """
    waiting: list[list[tuple[MatrixRef, Stored]]] = []

    def batches() -> Iterator[list[Stored]]:
        for batch in buckets(ahead(groups, read)):
            waiting.append(batch)
            yield [matrix for _, matrix in batch]

    for spectra in route.spectra(batches()):
        for (ref, matrix), found in zip(waiting.pop(0), spectra, strict=True):
            yield from pool.submit(_one(work, ref, matrix, found))
    yield from pool.drain()


def _one(work: Work, ref: MatrixRef, matrix: Stored, found: Spectrum) -> Callable[[], list[Finished]]:
    return lambda: [work(ref, matrix, found)]
