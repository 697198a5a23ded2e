"""Worker processes that are given jobs and send records back: started once, everything imported, killed with their parent.

A job that raises ends as a record with its reason, and the worker goes on; a worker that dies costs its job only.
"""

from __future__ import annotations

import _thread
import contextlib
import hashlib
import importlib
import multiprocessing
import os
import pkgutil
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from spectra.errors import SpectraError

Job = TypeVar("Job")
Say = Callable[[str], None]
Work = Callable[[Any, Say], dict[str, Any]]
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
    job: Job | None = None


class Crew(Generic[Job]):
    """So many workers of so many threads; a context manager.

    Args:
        work: a function of a module (it travels by name): job and `say` -> record of plain data.
        packages: names of packages whose every module is imported first, so that a later change of the code does not change a
            running worker; the SHA-256 of their sources is added to each record's `provenance`.
        say: told of what workers say, and of deaths.
    """

    def __init__(
        self, work: Work, *, workers: int, threads: int = 1, packages: Sequence[str] = (), say: Say | None = None
    ) -> None:
        self._work, self._threads, self._packages = work, threads, tuple(packages)
        self._say: Say = say or (lambda _: None)
        self._workers: list[_Worker[Job]] = [self._hire() for _ in range(workers)]

    def __enter__(self) -> Crew[Job]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    @property
    def idle(self) -> int:
        """Workers without a job; raises `SpectraError` where every worker has died."""
        if not self._workers:
            raise SpectraError("Every worker died (killed, or out of memory). Run the same command again to go on.")
        return sum(worker.job is None for worker in self._workers)

    @property
    def busy(self) -> list[Job]:
        """Jobs under way."""
        return [worker.job for worker in self._workers if worker.job is not None]

    def begin(self, job: Job) -> None:
        """Give a job to an idle worker; there must be one."""
        worker = next(worker for worker in self._workers if worker.job is None)
        worker.job = job
        worker.pipe.send(job)

    def wait(self) -> list[Ended[Job]]:
        """Wait until something ended; jobs in the order in which they did."""
        ended: list[Ended[Job]] = []
        while not ended:
            working = [worker for worker in self._workers if worker.job is not None]
            if not working:
                return []
            ready = wait([worker.pipe for worker in working])
            for worker in [worker for worker in working if worker.pipe in ready]:
                found = self._take(worker)
                if found is not None:
                    ended.append(found)
        self._workers = [worker for worker in self._workers if worker.process.is_alive()]
        return ended

    def _take(self, worker: _Worker[Job]) -> Ended[Job] | None:
        job = worker.job
        assert job is not None
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            worker.job = None
            reason = f"its worker died (exit code {worker.process.exitcode})"
            return Ended(job=job, record=None, reason=reason, died=True)
        if kind == "say":
            self._say(content)
            return None
        worker.job = None
        return Ended(job=job, record=content) if kind == "done" else Ended(job=job, record=None, reason=content)

    def _hire(self) -> _Worker[Job]:
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        before = {name: os.environ.get(name) for name in THREADS}
        os.environ.update(dict.fromkeys(THREADS, str(self._threads)))  # read by the libraries when the child loads them
        try:
            arguments = (theirs, self._work, self._threads, self._packages)
            process = context.Process(target=_live, args=arguments, daemon=True)
            process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        theirs.close()
        return _Worker(process=process, pipe=mine)


def sources(packages: Sequence[str]) -> str:
    """SHA-256 over names and contents of the sources of packages."""
    digest = hashlib.sha256()
    for name in packages:
        folder = Path(importlib.import_module(name).__path__[0])
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


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
    import torch

    from spectra import provenance

    torch.set_num_threads(threads)
    for name in packages:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}.", onerror=lambda _: None):
            with contextlib.suppress(
                ImportError, SyntaxError
            ):  # an extra that is not installed; a job that needs it says so
                importlib.import_module(found.name)
    return {"commit": provenance.commit(), "sources": sources(packages)}
