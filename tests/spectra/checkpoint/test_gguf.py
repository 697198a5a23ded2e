"""GGUF: the own parser against gguf's GGUFReader, quantised reads against gguf's dequantisation, damaged files."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spectra.checkpoint import open_checkpoint
from spectra.checkpoint.gguf_header import read_header
from spectra.errors import CheckpointError

Q = gguf.GGMLQuantizationType
QUANTISED = [Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0]


def random(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def write(path: Path, tensors: dict[str, Any], types: dict[str, Q] | None = None, endian: str = "LITTLE") -> Path:
    """A small llama-like GGUF; `tensors` maps names to arrays, `types` to the type they are quantised to."""
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian[endian])
    writer.add_name("tiny")
    writer.add_file_type(int(gguf.LlamaFileType.MOSTLY_Q4_1))
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_head_count(8)
    writer.add_head_count_kv([2, 4])
    writer.add_key_length(8)
    writer.add_token_list([f"token{i}" for i in range(300)])
    writer.add_token_scores([0.5] * 300)
    writer.add_bool("llama.flag", True)
    for name, value in tensors.items():
        kind = (types or {}).get(name)
        if kind is None:
            writer.add_tensor(name, value)
        else:
            writer.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    tensors = {f"blk.0.{kind.name}.weight": random(8, 64) for kind in QUANTISED}
    types = {f"blk.0.{kind.name}.weight": kind for kind in QUANTISED}
    tensors |= {"norm.weight": random(64), "experts.weight": random(3, 4, 64), "half": random(4, 4).astype(np.float16)}
    tensors |= {"bf16": random(2, 8), "double": random(2, 2).astype(np.float64), "ids": np.arange(4, dtype=np.int32)}
    return write(tmp_path / "tiny.gguf", tensors, types | {"experts.weight": Q.Q8_0, "bf16": Q.BF16})


def test_header_and_values_equal_those_of_gguf(tiny: Path) -> None:
    opened = open_checkpoint(tiny)
    reader = gguf.GGUFReader(tiny)
    assert [tensor.name for tensor in reader.tensors] == list(opened.tensors)
    for tensor in reader.tensors:
        info, stored = opened.tensors[tensor.name], opened.read(tensor.name)
        assert info.shape == stored.shape == tuple(int(size) for size in tensor.shape[::-1])
        if info.dtype.startswith("int"):
            np.testing.assert_array_equal(stored.raw, tensor.data)
            continue
        plain = tensor.tensor_type in (Q.F64, Q.F32, Q.F16)
        truth = tensor.data if plain else gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(stored.decode(), truth.reshape(info.shape).astype(np.float64))
    header = read_header(tiny, "x")
    for key, value in header.metadata.items():
        if isinstance(value, int | float | str | list):
            assert reader.fields[key].contents() == value


def test_names_of_dtypes_config_and_details(tiny: Path) -> None:
    opened = open_checkpoint(tiny)
    assert opened.format == "gguf"
    dtypes = {name: info.dtype for name, info in opened.tensors.items()}
    assert dtypes["blk.0.Q4_1.weight"] == "Q4_1"
    assert (dtypes["half"], dtypes["bf16"], dtypes["norm.weight"]) == ("float16", "bfloat16", "float32")
    assert (dtypes["double"], dtypes["ids"]) == ("float64", "int32")
    assert opened.config == {
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 8,
        "num_key_value_heads": [2, 4], "head_dim": 8, "vocab_size": 300,
    }  # fmt: skip
    assert opened.details["gguf_file_type"] == "MOSTLY_Q4_1"
    assert opened.details["quantisation"]["Q8_0"] == 2
    assert open_checkpoint(tiny, config={"a": 1}).config == {"a": 1}


def test_one_expert_of_a_stack(tiny: Path) -> None:
    opened = open_checkpoint(tiny)
    np.testing.assert_array_equal(opened.read("experts.weight", 1).raw, opened.read("experts.weight").raw[1])
    np.testing.assert_array_equal(opened.read("blk.0.Q4_0.weight", 3).raw, opened.read("blk.0.Q4_0.weight").raw[3])
    with pytest.raises(CheckpointError, match=r"'experts\.weight'.*no index 3"):
        opened.read("experts.weight", 3)


def test_split(tmp_path: Path) -> None:
    write(tmp_path / "m-00001-of-00002.gguf", {"a": random(2, 2)})
    write(tmp_path / "m-00002-of-00002.gguf", {"b": random(3, 3)})
    for source in (tmp_path, tmp_path / "m-00002-of-00002.gguf"):
        opened = open_checkpoint(source)
        assert list(opened.tensors) == ["a", "b"]
        assert len(opened.files) == 2
        assert opened.details["quantisation"] == {"F32": 2}
    (tmp_path / "m-00001-of-00002.gguf").unlink()
    for source in (tmp_path, tmp_path / "m-00002-of-00002.gguf"):
        with pytest.raises(CheckpointError, match=r"m-00001-of-00002\.gguf"):
            open_checkpoint(source)


def test_big_endian(tmp_path: Path) -> None:
    path = write(tmp_path / "b.gguf", {"w": random(2, 2)}, endian="BIG")
    with pytest.raises(CheckpointError, match=r"b\.gguf: is a big-endian GGUF.*gguf-convert-endian"):
        open_checkpoint(path)


def header(tensors: bytes, count: int, pairs: bytes = b"", pair_count: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, count, pair_count) + pairs + tensors


def info(name: bytes, dims: list[int], kind: int, offset: int) -> bytes:
    sizes = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
    return struct.pack("<Q", len(name)) + name + sizes + struct.pack("<IQ", kind, offset)


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"GGUF", "too short"),
        (b"NOPE" + bytes(40), "not a GGUF file"),
        (header(b"", 0, version=1), "GGUF version 1, expected 2 or 3"),
        (header(b"", 0), "no tensors"),
        (header(b"", 2**60), "damaged or truncated GGUF header"),
        (header(info(b"w", [4], 0, 0), 1) + bytes(16), r"tensor 'w': truncated"),
        (header(info(b"w", [4], 99, 0), 1) + bytes(80), r"tensor 'w': has GGUF type number 99"),
        (header(info(b"w", [30], 2, 0), 1) + bytes(80), r"tensor 'w': rows of 30 values are no multiple"),
        (header(info(b"w", [4], 0, 7), 1) + bytes(80), r"tensor 'w': its offset 7"),
        (header(info(b"w", [2**60, 2**60], 0, 0), 1) + bytes(80), r"tensor 'w': impossible shape"),
        (header(info(b"w", [1] * 5, 0, 0), 1) + bytes(80), r"tensor 'w': 5 dimensions"),
        (header(info(b"w", [4], 0, 0) + info(b"v", [4], 0, 0), 2) + bytes(80), r"tensor '[wv]': overlaps '[wv]'"),
        (header(info(b"w", [4], 0, 0) + info(b"w", [4], 0, 32), 2) + bytes(80), r"tensor 'w': appears twice"),
        (header(b"", 0, pair(b"k", 77, b""), 1) + bytes(80), "'k' has a value of unknown type 77"),
        (
            header(b"", 0, pair(b"k", 9, struct.pack("<IQ", 77, 1)), 1) + bytes(80),
            "'k' has an array of unknown type 77",
        ),
        (header(b"", 0, pair(b"k", 9, struct.pack("<IQ", 8, 2**61)), 1) + bytes(80), "damaged or truncated"),
        (header(b"", 0, pair(b"k", 0, b"\1") * 2, 2) + bytes(80), "'k' appears twice"),
        (header(b"", 0, pair(b"\xff", 0, b"\1"), 1) + bytes(80), "not UTF-8"),
        (header(b"", 0, pair(b"general.alignment", 4, struct.pack("<I", 3)), 1) + bytes(80), "power of two"),
    ],
)
def test_damaged_header_says_what_and_where(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=expected) as caught:
        open_checkpoint(path)
    assert "bad.gguf" in str(caught.value)


def test_type_that_gguf_cannot_dequantise(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(header(info(b"w", [32], int(Q.Q8_1), 0), 1) + bytes(200))
    opened = open_checkpoint(path)
    assert opened.tensors["w"].dtype == "Q8_1"
    with pytest.raises(CheckpointError, match=r"m\.gguf: tensor 'w': has type Q8_1"):
        opened.read("w")


def test_nested_arrays_and_long_vocabularies(tmp_path: Path) -> None:
    nested = struct.pack("<IQ", 9, 2) + struct.pack("<IQ2B", 0, 2, 1, 2) + struct.pack("<IQB", 0, 1, 3)
    words = b"".join(struct.pack("<Q", 9) + b"some word" for _ in range(200_000))
    pairs = pair(b"n", 9, nested) + pair(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 200_000) + words)
    pairs += pair(b"general.architecture", 8, struct.pack("<Q", 5) + b"llama")
    path = tmp_path / "m.gguf"
    path.write_bytes(header(info(b"w", [4], 0, 0), 1, pairs, 3) + bytes(80))
    start = time.perf_counter()
    opened = open_checkpoint(path)
    assert time.perf_counter() - start < 2  # 0.05 s; GGUFReader takes several seconds
    assert opened.config == {"model_type": "llama", "vocab_size": 200_000}
    assert read_header(path, "x").metadata["n"] == [[1, 2], [3]]
    assert opened.read("w").raw.tolist() == [0, 0, 0, 0]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzz_flipped_and_truncated(tiny: Path, tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(tiny.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    path = tmp_path / "f.gguf"
    path.write_bytes(bytes(raw))
    try:
        opened = open_checkpoint(path)
        opened.header_hash()
        for name in opened.tensors:
            opened.read(name)
    except CheckpointError as error:
        assert str(error)
