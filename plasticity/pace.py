"""When to say how far long work is: not at every step, and how long it will still take."""

from __future__ import annotations

import time


class Pace:
    """A clock that is due every so many seconds, counted from when it was made."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._began = self._told = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to say something; if so, the next time is that many seconds from now."""
        now = time.monotonic()
        if now - self._told < self._seconds:
            return False
        self._told = now
        return True

    def left(self, done: float, total: float) -> float:
        """Seconds that the rest takes at the pace so far; `done` of `total` since the clock was made, above 0."""
        return (time.monotonic() - self._began) / done * (total - done)
