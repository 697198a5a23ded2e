"""One process at a time: flock, which ends with the process that holds it, and a file beside it that says who that is.

Some file systems have no locks, and some (Lustre mounted with `localflock`) have locks that another node does not see. There the
owner's file decides: its owner touches it every `BEAT_SECONDS`, and one that was not touched for `GONE_SECONDS` is of a process
that is gone: of another node, or of this one where its number may be another process's now (a container begun again). A token in
the file tells whose it is: a process touches and deletes its own alone, also after another has taken over.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
        while (token := _taken(owner, locked)) is None:
            if told is None:
                raise BusyError(owner_of(owner))
            told(owner_of(owner))
            time.sleep(_LOOK_SECONDS)
        done = threading.Event()
        beating = threading.Thread(target=_beat, args=(owner, token, done), daemon=True)
        beating.start()
        try:
            yield
        finally:
            done.set()
            beating.join()
            if _is_mine(owner, token):
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


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """An owner's file as it was when it was judged; one that differs in any of this is another's, or its owner is there."""

    text: str
    inode: int
    touched_ns: int

    @property
    def known(self) -> dict[str, Any] | None:
        """What it says; None: nothing that can be read."""
        try:
            known = json.loads(self.text)
        except ValueError:
            return None
        return known if isinstance(known, dict) and {"host", "pid", "since"} <= set(known) else None


def _taken(owner: Path, locked: bool) -> str | None:
    """Write the owner's file, unless another's is there that counts (None); the token in it."""
    token = secrets.token_hex(8)
    about = {"host": socket.gethostname(), "pid": os.getpid(), "since": now(), "token": token}
    for _ in range(2):
        try:
            with owner.open("x", encoding="utf-8") as file:  # one of several at once, where there are no locks
                json.dump(about, file)
        except FileExistsError:
            seen = _see(owner)
            if seen is not None and not (_gone(owner, seen, locked) and _removed(owner, seen)):
                return None
        else:
            return token
    return None


def _removed(owner: Path, seen: _Seen) -> bool:
    """Take away an owner's file that was judged to be of a process that is gone; whether it was still that one.

    Under a private name first: what another process has put there meanwhile goes back.
    """
    if _see(owner) != seen:
        return False
    private = _private(owner)
    try:
        owner.rename(private)
    except FileNotFoundError:  # another process was first
        return True
    stale = _see(private) == seen
    if not stale:
        with contextlib.suppress(OSError):  # no links here, or a third one is there by now
            os.link(private, owner)
    private.unlink(missing_ok=True)
    return stale


def _gone(owner: Path, seen: _Seen, locked: bool) -> bool:
    """Whether an owner is no more: on this node the lock says so, or its number; elsewhere, and in any case, its silence."""
    known = seen.known
    if known is not None and known["host"] == socket.gethostname() and (locked or not _alive(known["pid"])):
        return True
    return _clock(owner) - seen.touched_ns / 1e9 > GONE_SECONDS


def _see(path: Path) -> _Seen | None:
    """An owner's file as it is now; None where there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            status = os.fstat(file.fileno())
            return _Seen(text=file.read(), inode=status.st_ino, touched_ns=status.st_mtime_ns)
    except OSError:
        return None


def _is_mine(owner: Path, token: str) -> bool:
    return (_read(owner) or {}).get("token") == token


def _private(owner: Path) -> Path:
    """A name beside the owner's file that no other process has."""
    return owner.with_name(f"{owner.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}")


def _clock(owner: Path) -> float:
    """Now, by the clock of the file system that the owner's file is on."""
    mine = _private(owner)
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
    seen = _see(path)
    return None if seen is None else seen.known


def _beat(owner: Path, token: str, done: threading.Event) -> None:
    while not done.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            if _is_mine(owner, token):
                os.utime(owner)
