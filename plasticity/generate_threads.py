"""Work in threads, results as they come; a thread that hangs keeps nobody from leaving."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], items: Sequence[T], threads: int, stopped: threading.Event) -> Iterator[R]:
    """`work(item)` for every item, in the order in which they are done.

    The first exception is raised here. However this ends, `stopped` is set and no further item is begun; the threads are
    daemons, so that one in the middle of a request does not delay the end of the program.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    done: queue.SimpleQueue[R | BaseException] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)

    def serve() -> None:
        while not stopped.is_set():
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put(work(item))
            except BaseException as error:  # noqa: BLE001 -- raised again in the caller's thread
                done.put(error)

    try:
        for _ in range(min(threads, len(items))):
            threading.Thread(target=serve, daemon=True).start()
        for _ in items:
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stopped.set()
