"""Locks: one process at a time, also where the file system has no locks or none that another node sees."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from alphadecay import data_cache, locks


def owned(path: Path, **known: Any) -> Path:
    """The owner's file of a lock, as another process left or keeps it."""
    owner = path.with_name(f"{path.name}.owner")
    owner.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "noon"} | known), encoding="utf-8")
    return owner


def without_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_the_second_is_told_who_holds_it_and_waits_or_does_not(tmp_path: Path) -> None:
    path, told, began = tmp_path / ".lock", list[str](), threading.Event()

    def second() -> None:
        with locks.held(path, lambda who: (told.append(who), began.set())[0]):  # type: ignore[func-returns-value]
            told.append("mine")

    with locks.held(path, None):
        with pytest.raises(locks.BusyError, match=f"process {os.getpid()} on .*, since 20"), locks.held(path, None):
            pass
        waiting = threading.Thread(target=second)
        waiting.start()
        assert began.wait(20)
        assert len(told) == 1 and f"process {os.getpid()}" in told[0]
    waiting.join(20)
    assert told[-1] == "mine"
    assert [one.name for one in tmp_path.iterdir()] == [".lock"]


def test_what_a_killed_process_of_this_node_held_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom alphadecay import locks\n"
        f"with locks.held(Path({str(tmp_path / '.lock')!r}), None):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (tmp_path / ".lock.owner").exists()
    with locks.held(tmp_path / ".lock", None):
        pass


@pytest.mark.parametrize("locked", [True, False])
def test_an_owner_on_another_node_counts_until_it_is_silent(
    locked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks of a node (Lustre, localflock), or none at all: the owner's file decides."""
    if not locked:
        monkeypatch.setattr(fcntl, "flock", without_locks)
    path = tmp_path / ".lock"
    owner = owned(path)
    with pytest.raises(locks.BusyError, match="process 1 on elsewhere, since noon"), locks.held(path, None):
        pass
    past = owner.stat().st_mtime - locks.GONE_SECONDS - 1
    os.utime(owner, (past, past))
    with locks.held(path, None):
        assert json.loads(owner.read_text())["pid"] == os.getpid()
    assert not owner.exists()


def test_an_owner_says_now_and_then_that_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.01)
    touched = threading.Event()
    monkeypatch.setattr(locks.os, "utime", lambda path: touched.set())
    with locks.held(tmp_path / ".lock", None):
        assert touched.wait(20)


def test_without_locks_a_process_of_this_node_counts_while_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", without_locks)
    path = tmp_path / ".lock"
    with (
        locks.held(path, None),
        pytest.raises(locks.BusyError, match=f"process {os.getpid()} on"),
        locks.held(path, None),
    ):
        pass
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    owned(path, host=locks.socket.gethostname(), pid=ended.pid)
    with locks.held(path, None):
        pass


def test_a_cache_without_locks_is_filled_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", without_locks)
    left = tmp_path / "key.1.2.tmp"
    left.mkdir()
    with data_cache.held(tmp_path / "key", lambda _: None):
        assert left.exists()  # another process may be at it


@pytest.mark.parametrize(("silent", "free"), [(False, False), (True, True)])
def test_without_locks_a_number_that_another_process_has_now_holds_nothing_for_ever(
    silent: bool, free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container begun again: the same host name, the same small numbers."""
    monkeypatch.setattr(fcntl, "flock", without_locks)
    path = tmp_path / ".lock"
    owner = owned(path, host=locks.socket.gethostname(), pid=os.getpid())
    if silent:
        past = owner.stat().st_mtime - locks.GONE_SECONDS - 1
        os.utime(owner, (past, past))
    try:
        with locks.held(path, None):
            assert free
    except locks.BusyError:
        assert not free


def test_who_was_overtaken_leaves_the_other_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.01)
    looked, real = threading.Event(), locks._is_mine

    def is_mine(owner: Path, token: str) -> bool:
        mine = real(owner, token)
        if not mine:
            looked.set()
        return mine

    with locks.held(tmp_path / ".lock", None):
        (tmp_path / ".lock.owner").unlink()
        owner = owned(tmp_path / ".lock", token="another")
        os.utime(owner, (1.0, 1.0))
        monkeypatch.setattr(locks, "_is_mine", is_mine)
        assert looked.wait(20)
    assert owner.stat().st_mtime == 1.0 and json.loads(owner.read_text())["token"] == "another"


def test_of_two_that_judge_a_file_stale_one_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other has put its own there before the stale one is renamed away."""
    path, real = tmp_path / ".lock", locks._private
    owner = owned(path)
    stale = locks._see(owner)
    assert stale is not None

    def faster(_: Path) -> Path:
        owner.unlink()
        owned(path, token="another")
        return real(owner)

    monkeypatch.setattr(locks, "_private", faster)
    assert not locks._removed(owner, stale)
    assert json.loads(owner.read_text())["token"] == "another"
    assert not locks._removed(owner, stale)  # seen before anything is renamed
    assert [one.name for one in tmp_path.iterdir()] == [owner.name]
