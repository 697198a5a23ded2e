"""safetensors: every dtype bit for bit, slices, shards, and files that are damaged in each way the format allows."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from spectra.checkpoint import open_checkpoint
from spectra.errors import CheckpointError

DTYPES = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
    "e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "e4m3fnuz": torch.float8_e4m3fnuz,
    "e5m2fnuz": torch.float8_e5m2fnuz, "e8m0": torch.float8_e8m0fnu,
    "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
    "u8": torch.uint8, "u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64, "bool": torch.bool,
}  # fmt: skip


def write(path: Path, header: Any, data: bytes = b"") -> Path:
    """A safetensors file with any header, valid or not."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def entry(shape: list[Any], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def message(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    return str(caught.value)


def all_dtypes() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, dtype in DTYPES.items():
        raw = torch.randint(0, 256, (3, 5, dtype.itemsize), dtype=torch.uint8, generator=generator)
        tensors[name] = raw.squeeze(-1) % 2 == 1 if dtype == torch.bool else raw.view(dtype).reshape(3, 5)
    return tensors


def test_every_dtype_bit_for_bit(tmp_path: Path) -> None:
    tensors = all_dtypes()
    tensors["scalar"] = torch.tensor(3.5)
    tensors["empty"] = torch.zeros(0, 7)
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    opened = open_checkpoint(tmp_path / "a.safetensors")
    assert opened.format == "safetensors"
    assert set(opened.tensors) == set(tensors)
    for name, truth in tensors.items():
        info, stored = opened.tensors[name], opened.read(name)
        assert info.dtype == stored.dtype == str(truth.dtype).removeprefix("torch.")
        assert info.shape == stored.shape == tuple(truth.shape)
        if truth.numel() and truth.ndim:
            assert stored.raw.tobytes() == truth.contiguous().view(torch.uint8).numpy().tobytes()
            assert opened.read(name, 1).raw.tobytes() == truth[1].contiguous().view(torch.uint8).numpy().tobytes()
    assert opened.read("scalar").decode() == 3.5


def test_decoded_values_equal_torch(tmp_path: Path) -> None:
    tensors = {name: value for name, value in all_dtypes().items() if value.is_floating_point()}
    save_file(tensors, tmp_path / "a.safetensors")
    opened = open_checkpoint(str(tmp_path / "a.safetensors"))
    for name, truth in tensors.items():
        with np.errstate(invalid="ignore"):  # the random bits include signalling NaNs
            np.testing.assert_array_equal(opened.read(name).decode(), truth.double().numpy())


def test_reads_own_writable_memory_and_no_map(tmp_path: Path) -> None:
    save_file({"w": torch.ones(4, 4)}, tmp_path / "a.safetensors")
    raw = open_checkpoint(tmp_path / "a.safetensors").read("w").raw
    raw[0, 0] = 5
    assert not isinstance(raw, np.memmap)
    assert open_checkpoint(tmp_path / "a.safetensors").read("w").raw[0, 0] == 1


def test_opening_and_reading_never_imports_torch(tmp_path: Path) -> None:
    save_file({"w": torch.ones(4, 4)}, tmp_path / "a.safetensors")
    code = (
        "import sys; from spectra.checkpoint import open_checkpoint; "
        "heavy = {'torch', 'gguf', 'huggingface_hub', 'safetensors'}; assert not heavy & set(sys.modules); "
        f"c = open_checkpoint({str(tmp_path / 'a.safetensors')!r}); c.read('w'); assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_threads_read_the_same_file(tmp_path: Path) -> None:
    tensors = {f"w{i}": torch.full((50, 50), float(i)) for i in range(8)}
    save_file(tensors, tmp_path / "a.safetensors")
    opened = open_checkpoint(tmp_path / "a.safetensors")
    wrong: list[str] = []

    def work(name: str, value: float) -> None:
        for _ in range(20):
            wrong.extend([] if (opened.read(name).raw == value).all() else [name])

    threads = [threading.Thread(target=work, args=(f"w{i}", float(i))) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_index_out_of_range_and_unknown_tensor(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2, 3)}, tmp_path / "a.safetensors")
    opened = open_checkpoint(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"'w'.*no index 2"):
        opened.read("w", 2)
    with pytest.raises(CheckpointError, match="no tensor 'v'"):
        opened.read("v")


def test_four_bit_floats_are_listed_but_not_read(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", {"w": entry([2, 4], 0, 4, "F4")}, bytes(4))
    opened = open_checkpoint(tmp_path / "a.safetensors")
    assert opened.tensors["w"].dtype == "F4"
    with pytest.raises(CheckpointError, match=r"a\.safetensors: tensor 'w': has dtype F4"):
        opened.read("w")


BAD_HEADERS: list[tuple[Any, int, str]] = [
    ({"w": entry([2], 0, 12)}, 12, r"tensor 'w'.*needs 8 bytes, data_offsets give 12"),
    ({"w": entry([2], 0, 8)}, 12, "4 bytes too long"),
    ({"w": entry([2], 0, 8)}, 4, r"truncated.*'w'"),
    ({"w": entry([2], 0, 8), "v": entry([2], 4, 12)}, 12, "tensor 'v': overlaps"),
    ({"w": entry([2], 0, 8), "v": entry([1], 12, 16)}, 16, "tensor 'v': leaves a hole"),
    ({"w": entry([2], 0, 8, "F33")}, 8, r"tensor 'w'.*unknown dtype 'F33'"),
    ({"w": entry([-2], 0, 8)}, 8, r"tensor 'w'.*shape"),
    ({"w": entry([True, 2], 0, 8)}, 8, r"tensor 'w'.*shape"),
    ({"w": entry([2.0], 0, 8)}, 8, r"tensor 'w'.*shape"),
    ({"w": entry([1] * 40, 0, 4)}, 4, r"tensor 'w'.*at most 32"),
    ({"w": entry([2], 8, 0)}, 8, r"tensor 'w'.*data_offsets"),
    ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}, 8, r"tensor 'w'.*data_offsets"),
    ({"w": {"dtype": "F32", "shape": [2]}}, 8, r"tensor 'w'.*expected dtype, shape and data_offsets"),
    ({"w": 3}, 8, r"tensor 'w'.*expected dtype"),
    ({"__metadata__": {"a": 1}, "w": entry([2], 0, 8)}, 8, "__metadata__"),
    (b'{"w": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}, "w": 1}', 4, "'w' appears twice"),
    (b'{"\\ud800": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4, "not valid text"),
    (b"[1]", 0, "not a safetensors file"),
    (b'{"w"', 0, "not valid JSON"),
    (b"{\xff}", 0, "not valid JSON"),
    (b'{"a":' * 100_000, 0, "JSON"),
    ({}, 0, "no tensors"),
]


@pytest.mark.parametrize(("header", "size", "expected"), BAD_HEADERS)
def test_damaged_header_says_what_and_where(tmp_path: Path, header: Any, size: int, expected: str) -> None:
    path = write(tmp_path / "model.safetensors", header, bytes(size))
    with pytest.raises(CheckpointError, match=expected) as caught:
        open_checkpoint(path)
    assert "model.safetensors" in str(caught.value)


def test_wrong_lengths(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"abc")
    assert "too short" in message(path)
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    assert "claims a safetensors header" in message(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert "git-lfs pointer" in message(path)
    assert "git lfs pull" in message(path)


def test_file_that_shrinks_after_opening(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"w": torch.ones(100)}, path)
    opened = open_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=r"m\.safetensors: tensor 'w': truncated"):
        opened.read("w")
    path.unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        opened.read("w")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"w": torch.ones(3)}, path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "permission denied" in message(path)


def sharded(folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    save_file({"a": torch.ones(2, 2), "b": torch.zeros(3)}, folder / "model-00001-of-00002.safetensors")
    save_file({"c": torch.full((2,), 7.0)}, folder / "model-00002-of-00002.safetensors")
    index = {
        "metadata": {"total_size": 36},
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00001-of-00002.safetensors",
            "c": "model-00002-of-00002.safetensors",
        },
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return index


def test_sharded(tmp_path: Path) -> None:
    sharded(tmp_path / "m")
    said: list[str] = []
    opened = open_checkpoint(tmp_path / "m", progress=said.append)
    assert list(opened.tensors) == ["a", "b", "c"]
    assert opened.config == {"model_type": "llama"}
    assert opened.read("c").decode().tolist() == [7, 7]
    assert len(opened.files) == 2
    assert len(said) == 2
    assert opened.header_hash() == open_checkpoint(tmp_path / "m" / "model.safetensors.index.json").header_hash()
    (tmp_path / "m" / "model.safetensors.index.json").unlink()
    assert list(open_checkpoint(tmp_path / "m").tensors) == ["a", "b", "c"]
    one = open_checkpoint(tmp_path / "m" / "model-00002-of-00002.safetensors")
    assert list(one.tensors) == ["c"]
    assert "one shard" in one.details["note"]


def test_sharded_through_links_like_the_hub_cache(tmp_path: Path) -> None:
    sharded(tmp_path / "blobs")
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in (tmp_path / "blobs").iterdir():
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    assert len(open_checkpoint(snapshot).tensors) == 3
    (tmp_path / "blobs" / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors: no such file"):
        open_checkpoint(snapshot)


def test_tensor_outside_the_index_is_included_once(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    save_file(
        {"c": torch.ones(2), "x": torch.ones(1), "a": torch.ones(9)}, tmp_path / "model-00002-of-00002.safetensors"
    )
    opened = open_checkpoint(tmp_path)
    assert set(opened.tensors) == {"a", "b", "c", "x"}
    assert opened.tensors["a"].shape == (2, 2)
    assert index["weight_map"]["a"].startswith("model-00001")


@pytest.mark.parametrize(
    ("weight_map", "expected"),
    [
        ({"a": "../x.safetensors"}, r"\.\./x\.safetensors.*outside"),
        ({"a": "/etc/x.safetensors"}, "outside"),
        ({"a": "x\0y"}, "outside"),
        ({"a": 3}, "'a'"),
        ({"a": "\ud800"}, "tensor"),
        ({"a": "none.safetensors"}, r"1 of 1 shards are missing \(none\.safetensors\)"),
        ({"a": "sub/none.safetensors"}, "none.safetensors: no such file"),
        ({"z": "model-00001-of-00002.safetensors"}, r"model-00001-of-00002\.safetensors: lacks tensor 'z'"),
        ({}, "weight_map"),
        ([], "weight_map"),
    ],
)
def test_bad_index(tmp_path: Path, weight_map: Any, expected: str) -> None:
    sharded(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=expected):
        open_checkpoint(tmp_path)


def test_index_that_is_not_json(tmp_path: Path) -> None:
    sharded(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{oops")
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json: not valid JSON"):
        open_checkpoint(tmp_path)


def open_and_read_all(path: Path) -> None:
    """Whatever the bytes are: an answer, or a CheckpointError."""
    try:
        opened = open_checkpoint(path)
        opened.header_hash()
        for name in opened.tensors:
            opened.read(name)
    except CheckpointError as error:
        assert str(error)


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.data())
def test_fuzz_flipped_and_truncated(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "f.safetensors"
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b.weight": torch.ones(4, dtype=torch.bfloat16)}
    save_file(tensors, path, metadata={"k": "v"})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    path.write_bytes(bytes(raw))
    open_and_read_all(path)


@FUZZ
@given(raw=st.binary(max_size=200), suffix=st.sampled_from([".safetensors", ".gguf", ".bin", ".what"]))
def test_fuzz_random_bytes(tmp_path: Path, raw: bytes, suffix: str) -> None:
    path = tmp_path / f"f{suffix}"
    path.write_bytes(raw)
    open_and_read_all(path)
