"""Files of torch.save: lazy reads against the tensors saved, nested containers, and pickles that must not run."""

from __future__ import annotations

import argparse
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spectra.checkpoint import Checkpoint, open_checkpoint
from spectra.errors import CheckpointError


def tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "base": base,
        "same": base,
        "transposed": base.T,
        "rows": base[1:3],
        "column": base[:, 2],
        "strided": base[::2, 1::2],
        "expanded": torch.tensor([1.0, 2.0]).expand(3, 2),
        "bf16": torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).bfloat16(),
        "f16": torch.ones(2, 2, dtype=torch.float16),
        "f8": torch.ones(2, 3).to(torch.float8_e4m3fn),
        "i64": torch.tensor([1, 2, 3]),
        "flag": torch.tensor([True, False]),
        "scalar": torch.tensor(4.0),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.full((2, 2), 3.0)),
        "stack": torch.arange(24.0).reshape(2, 3, 4).transpose(1, 2),
    }


def check(opened: Checkpoint, truth: dict[str, torch.Tensor]) -> None:
    for name, value in truth.items():
        assert opened.tensors[name].shape == tuple(value.shape)
        assert opened.tensors[name].dtype == str(value.dtype).removeprefix("torch.")
        stored = opened.read(name)
        if stored.dtype in ("int64", "bool"):
            assert stored.raw.tolist() == value.tolist()
            continue
        np.testing.assert_array_equal(stored.decode(), value.detach().double().numpy())
        if value.ndim and value.numel():
            np.testing.assert_array_equal(opened.read(name, 1).decode(), value[1].detach().double().numpy())


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth", ".ckpt", ".unknown"])
def test_lazy_reads_equal_what_was_saved(tmp_path: Path, suffix: str) -> None:
    torch.save(tensors(), tmp_path / f"m{suffix}")
    opened = open_checkpoint(tmp_path / f"m{suffix}")
    assert opened.format == "torch"
    assert "loaded_whole" not in opened.details
    assert opened.aliases == {"same": "base"}
    check(opened, tensors())


def test_legacy_file_is_loaded_whole_and_says_so(tmp_path: Path) -> None:
    truth = {name: value for name, value in tensors().items() if name not in ("f8", "parameter")}
    torch.save(truth, tmp_path / "m.pt", _use_new_zipfile_serialization=False)
    opened = open_checkpoint(tmp_path / "m.pt")
    assert "legacy" in opened.details["loaded_whole"]
    assert opened.aliases == {"same": "base"}
    assert opened.files == {str(tmp_path / "m.pt"): (tmp_path / "m.pt").stat().st_size}
    check(opened, truth)


def test_compressed_zip_is_loaded_whole(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(100, 100)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as old,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    opened = open_checkpoint(tmp_path / "b.pt")
    assert opened.read("w").raw.sum() == 10_000
    assert "loaded_whole" in opened.details


@pytest.mark.parametrize(
    ("saved", "container"),
    [
        ({"state_dict": {"w": torch.ones(2)}, "epoch": 3, "loss": torch.tensor(1.0)}, "state_dict"),
        ({"model": {"w": torch.ones(2)}, "optimizer": {"state": {}, "param_groups": []}}, "model"),
        ({"module": {"w": torch.ones(2), "v": torch.ones(2)}, "step": 1}, "module"),
        ({"ema": {"w": torch.zeros(2)}, "model_state_dict": {"w": torch.ones(2)}}, "model_state_dict"),
        ({"params_ema": {"w": torch.ones(2)}}, "params_ema"),
        ({"anything": {"w": torch.ones(2)}}, "anything"),
        ({"model": {"state_dict": {"w": torch.ones(2)}}}, "model.state_dict"),
    ],
)
def test_nested_state_dicts(tmp_path: Path, saved: Any, container: str) -> None:
    torch.save(saved, tmp_path / "m.ckpt")
    opened = open_checkpoint(tmp_path / "m.ckpt")
    assert opened.details["container"] == container
    assert opened.read("w").decode().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        (
            {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1}]},
            r"m\.pt: this is an optimizer's state",
        ),
        (torch.ones(2), r"m\.pt: holds an object of type Tensor"),
        ([torch.ones(2)], "holds an object of type list"),
        ({"a": 1, "b": "x"}, r"no tensors by name \(its keys: a, b\)"),
        ({"g": {"w": torch.ones(2)}, "d": {"w": torch.ones(2)}}, r"several mappings hold tensors \(g, d\)"),
    ],
)
def test_not_a_model(tmp_path: Path, saved: Any, expected: str) -> None:
    torch.save(saved, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=expected):
        open_checkpoint(tmp_path / "m.pt")


class Evil:
    """Pickles to a call of a program; the file it would make must not appear."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_that_wants_to_run_code(tmp_path: Path, zipped: bool) -> None:
    saved = {"w": torch.ones(2), "x": Evil(tmp_path / "ran")}
    torch.save(saved, tmp_path / "m.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"m\.bin: refused.*\w+\.system.*NOT executed.*safetensors"):
        open_checkpoint(tmp_path / "m.bin")
    assert not (tmp_path / "ran").exists()


def test_harmless_but_unknown_class_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "args": argparse.Namespace(x=1)}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace.*NOT executed"):
        open_checkpoint(tmp_path / "m.pt")


def test_torchscript(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/constants.pkl", b"")
        archive.writestr("m/data.pkl", b"")
    with pytest.raises(CheckpointError, match=r"m\.pt: is a TorchScript archive"):
        open_checkpoint(tmp_path / "m.pt")


def test_sparse_tensors_are_left_out_and_named(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "s": torch.eye(3).to_sparse()}, tmp_path / "m.pt")
    opened = open_checkpoint(tmp_path / "m.pt")
    assert list(opened.tensors) == ["w"]
    assert opened.details["unreadable_tensors"] == {"s": "layout sparse_coo"}


def test_truncated_and_empty(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"w": torch.ones(100)}, path)
    raw = path.read_bytes()
    path.write_bytes(raw[:300])
    with pytest.raises(CheckpointError, match=r"m\.pt: not a complete file.*truncated"):
        open_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"m\.pt: is empty"):
        open_checkpoint(path)
    path.write_bytes(b"hello, this is no pickle")
    with pytest.raises(CheckpointError, match=r"m\.pt: not a readable file of torch\.save"):
        open_checkpoint(path)


def test_sharded_bin(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.zeros(2)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    names = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    opened = open_checkpoint(tmp_path)
    assert opened.read("b").decode().tolist() == [0, 0]
    assert opened.format == "torch"
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(CheckpointError, match=r"pytorch_model-00002-of-00002\.bin"):
        open_checkpoint(tmp_path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), zipped=st.booleans())
def test_fuzz_flipped_and_truncated(tmp_path: Path, data: st.DataObject, zipped: bool) -> None:
    path = tmp_path / "f.pt"
    saved = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4).bfloat16()}
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    path.write_bytes(bytes(raw))
    try:
        opened = open_checkpoint(path)
        for name in opened.tensors:
            opened.read(name)
    except CheckpointError as error:
        assert str(error)
