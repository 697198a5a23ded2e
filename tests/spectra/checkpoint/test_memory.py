"""Live modules and state dicts: names, classes, ties, dtypes, and tensors without values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spectra.checkpoint import open_checkpoint
from spectra.errors import CheckpointError


class Config:
    def to_dict(self) -> dict[str, Any]:
        return {"model_type": "tiny", "hidden_size": 4}


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
        self.config = Config()


def test_module_has_kinds_ties_and_config() -> None:
    model = Tiny()
    opened = open_checkpoint(model)
    assert opened.format == "module"
    assert opened.source == "Tiny"
    assert opened.config["model_type"] == "tiny"
    assert opened.tensors["embed.weight"].kind == "Embedding"
    assert opened.tensors["norm.running_mean"].kind == "BatchNorm1d"
    assert opened.aliases == {"head.weight": "embed.weight"}
    assert list(opened.tensors) == list(model.state_dict())
    np.testing.assert_array_equal(opened.read("head.weight").raw, model.embed.weight.detach().numpy())
    np.testing.assert_array_equal(opened.read("embed.weight", 2).raw, model.embed.weight[2].detach().numpy())


def test_config_behind_a_wrapper() -> None:
    """DistributedDataParallel keeps the model behind `.module`; a wrapper's own config goes before the model's."""
    wrapped = nn.DataParallel(nn.DataParallel(Tiny()))
    opened = open_checkpoint(wrapped)
    assert opened.config["model_type"] == "tiny"
    assert opened.tensors["module.module.embed.weight"].kind == "Embedding"
    wrapped.config = {"model_type": "own"}
    assert open_checkpoint(wrapped).config == {"model_type": "own"}
    assert open_checkpoint(nn.DataParallel(nn.Linear(3, 3))).config == {}


def test_config_argument_wins() -> None:
    assert open_checkpoint(Tiny(), config={"a": 1}).config == {"a": 1}


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float64]
)
def test_dtypes(dtype: torch.dtype) -> None:
    value = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    stored = open_checkpoint({"w": value.T, "x": torch.ones(1)}).read("w")
    assert stored.dtype == str(dtype).removeprefix("torch.")
    np.testing.assert_array_equal(stored.decode(), value.T.double().numpy())


def test_bfloat16_is_not_copied() -> None:
    value = torch.ones(3, 4, dtype=torch.bfloat16)
    raw = open_checkpoint({"w": value}).read("w").raw
    assert raw.dtype == np.uint16
    assert raw.__array_interface__["data"][0] == value.data_ptr()


def test_numpy_state_dict() -> None:
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    big_endian = w.astype(">f4")
    opened = open_checkpoint(
        {"w": w, "again": w, "swapped": big_endian, "name": "x", "o": np.array(["x"], dtype=object)}
    )
    assert opened.aliases == {"again": "w"}
    assert opened.details["not_tensors"] == "name"
    assert opened.details["unreadable_tensors"] == {"o": "numpy dtype object"}
    np.testing.assert_array_equal(opened.read("swapped").decode(), w)


def test_nested_state_dict() -> None:
    opened = open_checkpoint({"model": {"w": torch.ones(2)}, "step": 4})
    assert opened.details["container"] == "model"
    assert opened.read("w").decode().tolist() == [1, 1]


def test_slices_of_one_storage_are_no_aliases() -> None:
    whole = torch.arange(8.0).reshape(4, 2)
    opened = open_checkpoint({"a": whole[:2], "b": whole[2:], "c": whole[:2]})
    assert opened.aliases == {"c": "a"}


def test_meta_tensors_have_no_values() -> None:
    with pytest.raises(CheckpointError, match=r"tensor 'weight': is on the meta device"):
        open_checkpoint(nn.Linear(2, 2, device="meta"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (3, "object of type int"),
        (nn.ReLU(), "ReLU has no parameters"),
        ({}, "no tensors"),
        ({"state": {}, "param_groups": []}, "optimizer's state"),
        ("", "empty"),
    ],
)
def test_not_a_checkpoint(source: Any, expected: str) -> None:
    with pytest.raises(CheckpointError, match=expected):
        open_checkpoint(source)


def test_base_without_an_adapter() -> None:
    with pytest.raises(CheckpointError, match="goes with a LoRA adapter"):
        open_checkpoint({"w": torch.ones(2)}, base="somewhere")


def test_dtensor_is_gathered(tmp_path: Path) -> None:
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        value = torch.arange(6.0).reshape(2, 3)
        sharded = distribute_tensor(value, init_device_mesh("cpu", (1,)), [Shard(0)])
        opened = open_checkpoint({"w": sharded, "b": sharded.to(torch.bfloat16)})
        assert opened.tensors["w"].shape == (2, 3)
        np.testing.assert_array_equal(opened.read("w").decode(), value.numpy())
        np.testing.assert_array_equal(opened.read("b", 1).decode(), value[1].numpy())
    finally:
        distributed.destroy_process_group()
