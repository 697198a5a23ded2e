"""Checks that never end, workers that are stopped or killed, threads, forks: each costs its time limit and no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plasticity.answer_pool import Outcome, Pool, _Worker
from plasticity.answers import judge

TOWER = r"9^{9^{9^{9}}} + 1"  # a power tower: its digits do not fit on earth
HANGS = r"\sum_{n=1}^{10^{12}} \frac{1}{n^n + \sin n}"  # sympy starts adding
SLACK = 3.0  # seconds that a busy machine may add to a limit


@pytest.fixture
def pool() -> Iterator[Pool]:
    """A pool whose two workers are already up, so that a limit is not spent on starting them."""
    made = Pool(2)
    assert made.check("1/2", "0.5", seconds=60) == "same"
    yield made
    made.close()


def timed(pool: Pool, first: str, second: str, seconds: float) -> tuple[Outcome, float]:
    began = time.monotonic()
    return pool.check(first, second, seconds=seconds), time.monotonic() - began


def pids(pool: Pool) -> list[int]:
    return [worker._process.pid for worker in pool._all]


@pytest.mark.parametrize("never", [TOWER, HANGS])
def test_a_check_that_never_ends_costs_its_limit(pool: Pool, never: str) -> None:
    verdict, seconds = timed(pool, never, "7", 0.5)
    assert verdict != "same" and seconds < 0.5 + SLACK
    assert pool.check("3/4", "0.750", seconds=60) == "same"  # by a new worker, where the old one was lost


def test_a_stopped_worker_costs_its_limit_and_is_gone(pool: Pool) -> None:
    """SIGSTOP also stops the worker's own alarm: the parent's clock decides, and kills what no longer runs."""
    [pid] = pids(pool)
    os.kill(pid, signal.SIGSTOP)
    verdict, seconds = timed(pool, "1/3", "2/6", 0.5)
    assert verdict == "out of time" and 0.5 <= seconds < 0.5 + SLACK
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert pool.check("1/3", "2/6", seconds=60) == "same"


def test_a_killed_worker_is_replaced_within_the_limit(pool: Pool) -> None:
    [pid] = pids(pool)
    os.kill(pid, signal.SIGSTOP)  # so that it is in the middle of the check when it dies
    threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
    verdict, seconds = timed(pool, "1/3", "2/6", 30)
    assert verdict == "same" and 0.3 <= seconds < 20
    for wait in (0.0, 0.2):  # while idle: noticed before the check, or by it
        os.kill(pids(pool)[0], signal.SIGKILL)
        time.sleep(wait)
        assert pool.check("1/3", "2/6", seconds=60) == "same"


def test_workers_that_always_die_are_said_to(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(self: Any, request: dict[str, Any], seconds: float) -> Outcome:
        self._process.kill()
        return ask(self, request, seconds)

    ask = _Worker.ask
    monkeypatch.setattr(_Worker, "ask", dying)
    assert pool.check("1/3", "2/6", seconds=60) == "died"
    assert not pids(pool)


def test_threads_get_their_own_answers_while_others_hang(pool: Pool) -> None:
    """Six threads on two workers, two of them with checks that never end: the others wait their turn and are right."""
    asked = [(TOWER, "7"), ("1/2", "0.5"), (HANGS, "7"), ("1/4", "0.25"), ("1/8", "0.126"), ("1/5", "0.2")]
    found: dict[int, Outcome] = {}

    def ask(number: int) -> None:
        found[number] = pool.check(*asked[number], seconds=2.0)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [found[n] for n in (1, 3, 4, 5)] == ["same", "same", "different", "same"]
    assert "same" not in (found[0], found[2])
    assert len(pool._all) <= 2


def test_a_fork_has_workers_of_its_own(pool: Pool) -> None:
    before = pids(pool)
    child = os.fork()
    if not child:
        code = 1
        try:
            ours = pool.check("7/8", "0.875", seconds=60) == "same" and judge("5/6", "10/12") == "same"
            code = 0 if ours and not set(before) & set(pids(pool)) else 2
            pool.close()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert pids(pool) == before  # untouched by the child
    assert pool.check("5/8", "0.625", seconds=60) == "same"


def test_no_worker_outlives_its_program() -> None:
    program = (
        "import os, signal, sys; from plasticity.answer_pool import POOL; POOL.check('1/2', '0.5', seconds=60); "
        "print(*[w._process.pid for w in POOL._all], flush=True); sys.stdin.read() or os.kill(os.getpid(), signal.SIGKILL)"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
    )
    assert made.returncode == -signal.SIGKILL
    [pid] = map(int, made.stdout.split())
    end = time.monotonic() + 30
    while _runs(pid):
        assert time.monotonic() < end
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # no /proc here, or gone meanwhile
        return not Path("/proc/self").exists()
