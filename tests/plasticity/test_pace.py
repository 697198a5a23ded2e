"""The clock of long work."""

from __future__ import annotations

import pytest

from plasticity import pace


def test_due_now_and_then_and_how_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    clock = pace.Pace(10.0)
    told = []
    for second in range(1, 26):
        now[0] = 100.0 + second
        if clock.due():
            told.append(second)
    assert told == [10, 20]
    assert clock.left(5, 20) == 75.0  # 25 seconds for 5
