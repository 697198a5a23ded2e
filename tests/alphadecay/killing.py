"""Run as a script: trains the small recipe in child processes that are killed with SIGKILL, then lets one run finish.

python -m tests.alphadecay.killing OUT KILLS SEED PROCESSES. Children are forked after the imports, so that a kill costs no
seconds; several get the environment that torchrun gives. Kill 1 falls before the first checkpoint, every third while a
checkpoint is being written, the others at random.
"""
# ruff: noqa: T201

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import alphadecay.callback
import alphadecay.loop
import alphadecay.watch  # noqa: F401 -- so that children need not import
from alphadecay import saves
from alphadecay.train import train

from .recipes_of_tests import small

STEPS, SAVE_EVERY = 40, 2


def launch(out: Path, processes: int) -> list[int]:
    """Begin or go on, in processes of their own; their ids."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [_child(out, rank, processes, port) for rank in range(processes)]


def _child(out: Path, rank: int, processes: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    torch.set_num_threads(1)
    if processes > 1:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    code = 1
    try:
        train(small({"steps": STEPS, "save_every": SAVE_EVERY, "eval_every": 10}), out, resume=True)
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)


def alive(pids: list[int]) -> bool:
    return all(os.waitpid(pid, os.WNOHANG) == (0, 0) for pid in pids)


def wait_for(pids: list[int], happened: Callable[[], bool]) -> bool:
    """Until something happened or a child ended; whether they are still running."""
    while alive(pids):
        if happened():
            return True
        time.sleep(0.0005)
    return False


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


def newest(out: Path) -> int:
    """Step of the newest whole checkpoint; 0: none."""
    return max((int(path.name.removeprefix("checkpoint-")) for path in saves.checkpoints(out)), default=0)


def saving(out: Path) -> bool:
    return any((out / saves.STAGING).glob("checkpoint-*/*"))


def main() -> None:
    out, kills, rng, processes = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3])), int(sys.argv[4])
    during_saves = 0
    for number in range(1, kills + 1):
        pids = launch(out, processes)
        wanted = newest(out) + SAVE_EVERY * rng.randint(0, 1)
        if number == 1:
            running = wait_for(pids, (out / "decay.jsonl").exists)
        elif number % 3 == 2:
            running = wait_for(pids, lambda: saving(out))
        else:
            running = wait_for(pids, lambda wanted=wanted: newest(out) >= wanted)  # type: ignore[misc]
            time.sleep(rng.uniform(0.0, 0.15))
        during = saving(out)
        if not running:
            raise SystemExit(f"the run ended before kill {number}")
        kill(pids)
        during_saves += during
        print(f"{number}: killed{' during a save' if during else ''}; newest {newest(out)}", flush=True)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in launch(out, processes)]
    print("exit", max(codes), "during saves", during_saves, flush=True)


if __name__ == "__main__":
    main()
