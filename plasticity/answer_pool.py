"""Time-limited mathematics: a few worker processes, started once, killed and replaced when a check does not end.

Workers are fresh interpreters (`answer_worker.py`, never a fork: torch threads may be around) that speak lines over pipes. Any
thread may ask; a forked child starts workers of its own; at exit the workers end, at the latest when their input closes.
POSIX only.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

from spectra.errors import SpectraError

Outcome = Literal["same", "different", "out of time", "died"]

_START_SECONDS = 120.0  # importing sympy on a busy machine
_WORKERS = 4  # at most, in one process


class _Worker:
    """One process and its two pipes, used by one thread at a time."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("answer_worker.py")
        # What it prints besides answers goes nowhere: a pipe that nobody reads would fill and stop it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._ready = False
        self._rest = b""

    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Until it has loaded math-verify; raises `SpectraError` where it cannot."""
        if self._ready:
            return
        reply = self._read(_START_SECONDS)
        if isinstance(reply, dict) and reply.get("ready"):
            self._ready = True
            return
        reason = reply.get("error") if isinstance(reply, dict) else "its process ended or did not answer"
        raise SpectraError(
            f"Answers cannot be compared because math-verify does not start ({reason}); "
            "install it with pip install 'spectra-plasticity[plasticity]'."
        )

    def ask(self, request: dict[str, Any], seconds: float) -> Outcome:
        """The verdict; after "out of time" and "died" the worker is of no more use."""
        assert self._process.stdin is not None
        end = time.monotonic() + seconds
        try:
            line = (json.dumps({**request, "seconds": seconds}) + "\n").encode()
            while line:  # an unbuffered pipe may take a part only
                line = line[self._process.stdin.write(line) :]
        except OSError:
            return "died"
        reply = self._read(seconds)
        if isinstance(reply, dict):
            return "same" if reply["same"] else "different"
        alarmed = not reply and self._process.wait() == -14  # SIGALRM: it ended itself, at the limit
        return "out of time" if reply or alarmed or time.monotonic() >= end else "died"

    def _read(self, seconds: float) -> dict[str, Any] | bool:
        """The next line; True: none within the time; False: the process ended."""
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, end - time.monotonic())):
                    return True
                data = os.read(self._process.stdout.fileno(), 65536)
                if not data:
                    return False
                self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """Kill it and wait for it."""
        self._process.kill()
        self._process.wait()
        self.forget()

    def forget(self) -> None:
        """Close this process's ends of the pipes: all that a forked child may do to its parent's worker."""
        self._process.returncode = self._process.returncode if self._process.returncode is not None else 0
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Pool:
    """Workers of this process. `check` may be called from any thread; one that finds all of them busy waits for its turn."""

    def __init__(self, workers: int = _WORKERS) -> None:
        self._size = workers
        self._renew()

    def _renew(self) -> None:
        self._turn = threading.BoundedSemaphore(self._size)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()

    def check(self, first: str, second: str, *, seconds: float, box: bool = True) -> Outcome:
        """Whether math-verify finds two texts equal, in either direction, within `seconds` (without start-up and waiting).

        Args:
            box: wrap both in `\\boxed{}` (math-verify 0.9 reads bare text wrongly: `x^2` is nothing to it, `2\\sqrt{3}` is 2).
        """
        request = {"first": first, "second": second, "box": box}
        with self._turn:
            began = time.monotonic()
            outcome = self._check(request, seconds)
            rest = seconds - (time.monotonic() - began)
            if outcome == "died" and rest > 0:  # not by its own alarm: something killed it, maybe while it was idle
                outcome = self._check(request, rest)
            return outcome

    def _check(self, request: dict[str, Any], seconds: float) -> Outcome:
        worker = self._worker()
        usable = False
        try:
            worker.wait_ready()
            outcome = worker.ask(request, seconds)
            usable = outcome in ("same", "different")
            return outcome
        finally:
            if usable:
                self._idle.append(worker)
            else:  # also after Ctrl-C: its reply would be taken for the next one's
                self._all.discard(worker)
                worker.close()

    def _worker(self) -> _Worker:
        while self._idle:
            try:
                worker = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if worker.alive():
                return worker
            self._all.discard(worker)
            worker.close()
        worker = _Worker()
        self._all.add(worker)
        return worker

    def close(self) -> None:
        """End all workers; the next check starts new ones."""
        workers = list(self._all)
        self._renew()
        for worker in workers:
            worker.close()

    def after_fork(self) -> None:
        """In a forked child: its parent's workers are not its own."""
        workers = list(self._all)
        self._renew()
        for worker in workers:
            worker.forget()


POOL = Pool()
atexit.register(POOL.close)
os.register_at_fork(after_in_child=POOL.after_fork)
