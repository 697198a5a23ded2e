"""Worker processes that are given jobs and send records back: started once, everything imported, killed with their parent.

A job that raises ends as a record with its reason, and the worker goes on; a worker that dies costs its job only, and another
is hired when there is work for it.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib
import multiprocessing
import pkgutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from spectra.errors import SpectraError
from spectra.variables import inherited

Job = TypeVar("Job")
Say = Callable[[str], None]
Work = Callable[[Any, Say], dict[str, Any]]
STARTS = 3  # workers in a row that die before they can work; then none will
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Ended(Generic[Job]):
    """How a job ended: `record` is what the work returned; else None, and `reason` says why (`died`: the process did)."""

    job: Job
    record: dict[str, Any] | None
    reason: str = ""
    died: bool = False


@dataclass(kw_only=True)
class _Worker(Generic[Job]):
    process: Any
    pipe: Connection
    place: int
    ready: bool = False
    job: Job | None = None


class Crew(Generic[Job]):
    """So many workers of so many threads; a context manager.

    Args:
        work: a function of a module (it travels by name): job and `say` -> record of plain data.
        packages: names of packages whose every module is imported first, so that a later change of the code does not change a
            running worker; commit and SHA-256 of their sources, as they are then, are added to each record's `provenance`.
        say: told of what workers say.
        environments: a worker's own environment variables, one mapping a worker; empty: none.
    """

    lives = 2  # workers that a job may cost

    def __init__(
        self, work: Work, *, workers: int, threads: int = 1, packages: Sequence[str] = (), say: Say | None = None,
        environments: Sequence[Mapping[str, str]] = (),
    ) -> None:  # fmt: skip
        self._work, self._threads, self._packages = work, threads, tuple(packages)
        self._say: Say = say or (lambda _: None)
        self._size, self._environments, self._stillborn = workers, tuple(environments), 0
        self._workers: list[_Worker[Job]] = []
        try:
            for place in range(workers):
                self._workers.append(self._hire(place))
        except BaseException:  # nobody else would end them, and this process waits for them at its end
            self.__exit__()
            raise

    def __enter__(self) -> Crew[Job]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    @property
    def idle(self) -> int:
        """Jobs that can be begun now."""
        return self._size - len(self.busy)

    @property
    def busy(self) -> list[Job]:
        """Jobs under way."""
        return [worker.job for worker in self._workers if worker.job is not None]

    def begin(self, job: Job) -> None:
        """Give a job to an idle worker, there must be room for one; it is hired anew where one has died."""
        self._workers = [worker for worker in self._workers if worker.job is not None or worker.process.is_alive()]
        worker = next((worker for worker in self._workers if worker.job is None), None)
        if worker is None:
            worker = self._replace()
        self._give(worker, job)

    def wait(self, seconds: float | None = None) -> list[Ended[Job]]:
        """Wait until something ended, or so long; jobs in the order in which they did.

        Raises:
            SpectraError: workers die before they can do anything.
        """
        ended: list[Ended[Job]] = []
        until = None if seconds is None else time.monotonic() + seconds
        while not ended:
            working = [worker for worker in self._workers if worker.job is not None]
            if not working:
                return []
            ready = wait([worker.pipe for worker in working], None if until is None else until - time.monotonic())
            for worker in [worker for worker in working if worker.pipe in ready]:
                found = self._take(worker)
                if found is not None:
                    ended.append(found)
            if until is not None and time.monotonic() >= until:
                break
        return ended

    def _take(self, worker: _Worker[Job]) -> Ended[Job] | None:
        job = worker.job
        assert job is not None
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            return self._buried(worker, job)
        if kind == "ready":
            worker.ready, self._stillborn = True, 0
            return None
        if kind == "say":
            self._say(content)
            return None
        worker.job = None
        return Ended(job=job, record=content) if kind == "done" else Ended(job=job, record=None, reason=content)

    def _buried(self, worker: _Worker[Job], job: Job) -> Ended[Job] | None:
        """A worker is dead: its job has ended, or goes to another where the worker had not come to begin it."""
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        code = worker.process.exitcode
        if worker.ready:
            return Ended(job=job, record=None, reason=f"its worker died (exit code {code})", died=True)
        self._stillborn += 1
        if self._stillborn >= STARTS:
            raise SpectraError(
                f"{STARTS} workers in a row died as they started (exit code {code}): before any work, so that none can be done. "
                "Memory is the usual reason: free some, or ask for fewer --workers."
            )
        self._give(self._replace(), job)
        return None

    def _replace(self) -> _Worker[Job]:
        place = min(set(range(self._size)) - {worker.place for worker in self._workers})
        worker = self._hire(place)
        self._workers.append(worker)
        return worker

    def _give(self, worker: _Worker[Job], job: Job) -> None:
        worker.job = job
        with contextlib.suppress(BrokenPipeError):  # it is dead; `wait` finds that
            worker.pipe.send(job)

    def _hire(self, place: int) -> _Worker[Job]:
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        own = dict.fromkeys(THREADS, str(self._threads))  # read by the libraries when the child loads them
        own |= self._environments[place] if self._environments else {}
        with inherited(own):
            arguments = (theirs, self._work, self._threads, self._packages)
            process = context.Process(target=_live, args=arguments, daemon=False)  # a job may want processes of its own
            process.start()
        theirs.close()
        return _Worker(process=process, pipe=mine, place=place)


def reason_of(error: Exception) -> str:
    """What a failed job's record says."""
    return str(error) if isinstance(error, SpectraError) else f"{type(error).__name__}: {error}"


def _live(pipe: Connection, work: Work, threads: int, packages: Sequence[str]) -> None:
    """A worker's life: jobs in, records out, until the other end closes."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a job in the background may have inherited that it is ignored
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    code = _import_all(packages, threads)

    one_at_a_time = threading.Lock()  # jobs may speak from threads of theirs

    def send(kind: str, content: Any) -> None:
        with contextlib.suppress(BrokenPipeError), one_at_a_time:
            pipe.send((kind, content))

    send("ready", None)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            record = work(job, lambda text: send("say", text))
            record["provenance"] = {**record.get("provenance", {}), **code}
        except KeyboardInterrupt:
            return
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other jobs go on, and the reason is kept
            send("failed", reason_of(error))
        else:
            send("done", record)


def _stop_with_parent() -> None:
    """Interrupt the running job when the parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        _thread.interrupt_main()


def _import_all(packages: Sequence[str], threads: int) -> dict[str, Any]:
    """Import every module of the packages; which commit and which sources they are."""
    from spectra import provenance

    for name in packages:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}.", onerror=lambda _: None):
            with contextlib.suppress(
                ImportError, SyntaxError
            ):  # an extra that is not installed; a job that needs it says so
                importlib.import_module(found.name)
    if "torch" in sys.modules:  # else the environment says it to whatever job imports it
        sys.modules["torch"].set_num_threads(threads)
    return provenance.note_code(packages)
