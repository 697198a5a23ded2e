"""What there is to compute on."""

from __future__ import annotations

import os

import pytest

from spectra import devices


def test_auto_is_the_cpu_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.resolve("auto") == "cpu"
    assert devices.resolve("cuda:3") == "cuda:3"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_cores_follow_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert devices.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= devices.cores() <= len(before)
