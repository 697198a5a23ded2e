"""Devices by name, and a model that does not fit on one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from plasticity.devices import chosen, placed, put
from spectra.errors import SpectraError


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert chosen("auto", "auto") == ("cpu", torch.float32) and chosen("cpu", "bf16") == ("cpu", torch.bfloat16)
    for name, said in (
        ("mps", "expected auto, cpu, cuda or cuda:1"),
        ("meta", "expected auto, cpu, cuda or cuda:1"),
        ("tpu9", "expected auto, cpu, cuda or cuda:1"),
        ("cuda", "no GPU that torch can use"),
    ):
        with pytest.raises(SpectraError, match=said):
            placed(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert chosen("auto", "auto") == ("cuda", torch.bfloat16) and chosen("cuda:1", "fp32") == ("cuda:1", torch.float32)
    with pytest.raises(SpectraError, match="there are 2 GPUs"):
        placed("cuda:2")


class Full(torch.nn.Linear):
    """A model that no device has room for."""

    def to(self, *given: Any, **named: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_a_model_that_does_not_fit_is_said_with_its_size() -> None:
    model = torch.nn.Linear(4, 4)
    assert put(model, "cpu", torch.bfloat16, name="m").weight.dtype == torch.bfloat16
    with pytest.raises(
        SpectraError, match=r"m cannot be put on cuda in bfloat16, where it takes 0\.5 GiB \(CUDA out of memory"
    ):
        put(Full(1 << 14, 1 << 14, device="meta"), "cuda", torch.bfloat16, name="m")
