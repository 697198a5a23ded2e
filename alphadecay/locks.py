"""One process at a time: flock, which ends with the process that holds it, and a file beside it that says who that is.

Some file systems have no locks, and some (Lustre mounted with `localflock`) have locks that another node does not see. There the
owner's file decides: its owner touches it every `BEAT_SECONDS`, and one of another node that was not touched for `GONE_SECONDS`
is of a process that is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError
from spectra.provenance import now

BEAT_SECONDS = 15.0
GONE_SECONDS = 60.0
_LOOK_SECONDS = 2.0
_OWNER = ".owner"
Say = Callable[[str], None]


class BusyError(SpectraError):
    """Another process holds the lock; the message says which."""


@contextlib.contextmanager
def flocked(path: Path, waiting: Callable[[], None] | None) -> Iterator[bool]:
    """Hold the lock of a file; whether there is one (False: the system or the file system has no locks).

    Args:
        waiting: called once before waiting for another process; None: do not wait.

    Raises:
        BlockingIOError: another process holds it, and `waiting` is None.
        OSError: the file cannot be made.
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    with path.open("a") as file:
        locked = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            locked = False
        yield locked


@contextlib.contextmanager
def held(path: Path, waiting: Say | None) -> Iterator[None]:
    """Be the only process that works on something, on whatever node.

    Args:
        path: of the lock; the owner's file is beside it.
        waiting: told once who holds it, before waiting; None: do not wait.

    Raises:
        BusyError: another process holds it, and `waiting` is None.
    """
    owner = path.with_name(path.name + _OWNER)
    told = _once(waiting)
    with contextlib.ExitStack() as stack:
        try:
            locked = stack.enter_context(flocked(path, None if told is None else lambda: told(owner_of(owner))))
        except BlockingIOError:
            raise BusyError(owner_of(owner)) from None
        while not _taken(owner, locked):
            if told is None:
                raise BusyError(owner_of(owner))
            told(owner_of(owner))
            time.sleep(_LOOK_SECONDS)
        done = threading.Event()
        beating = threading.Thread(target=_beat, args=(owner, done), daemon=True)
        beating.start()
        try:
            yield
        finally:
            done.set()
            beating.join()
            owner.unlink(missing_ok=True)


def owner_of(path: Path) -> str:
    """Who holds a lock, for people; `path`: the owner's file."""
    known = _read(path)
    return f"process {known['pid']} on {known['host']}, since {known['since']}" if known else "another process"


def _once(waiting: Say | None) -> Say | None:
    """What is said once, however often it is called."""
    if waiting is None:
        return None
    said: list[str] = []

    def tell(text: str) -> None:
        if not said:
            said.append(text)
            waiting(text)

    return tell


def _taken(owner: Path, locked: bool) -> bool:
    """Write the owner's file, unless another's is there that counts."""
    for _ in range(2):
        try:
            with owner.open("x", encoding="utf-8") as file:  # one of several at once, where there are no locks
                json.dump({"host": socket.gethostname(), "pid": os.getpid(), "since": now()}, file)
        except FileExistsError:
            if not _gone(owner, locked):
                return False
            owner.unlink(missing_ok=True)
        else:
            return True
    return False


def _gone(owner: Path, locked: bool) -> bool:
    """Whether no owner is written down, or one that is no more: on this node the lock says so, elsewhere its silence."""
    known = _read(owner)
    if known is not None and known["host"] == socket.gethostname():
        return locked or not _alive(known["pid"])
    try:
        return _clock(owner) - owner.stat().st_mtime > GONE_SECONDS
    except FileNotFoundError:
        return True


def _clock(owner: Path) -> float:
    """Now, by the clock of the file system that the owner's file is on."""
    mine = owner.with_name(f"{owner.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        mine.write_text("", encoding="utf-8")
        return mine.stat().st_mtime
    finally:
        mine.unlink(missing_ok=True)


def _alive(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except PermissionError:
        pass
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and {"host", "pid", "since"} <= set(known) else None


def _beat(owner: Path, done: threading.Event) -> None:
    while not done.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(owner)
