"""Local files: every format gives the same documents; what cannot be read is said in one sentence."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alphadecay import data_files
from alphadecay.data import DataConfig
from spectra.errors import SpectraError

TEXTS = ["one", "two\nlines", "zwölf", "four"]


def _jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(TEXTS)), encoding="utf-8")


def _json_list(path: Path) -> None:
    path.write_text(json.dumps([{"text": t} for t in TEXTS], indent=1), encoding="utf-8")


def _gzip(path: Path) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as f:
        f.writelines(json.dumps({"text": t}) + "\n" for t in TEXTS)


def _zstandard(path: Path) -> None:
    with pa.output_stream(str(path), compression="zstd") as f:
        f.write("\n\n".join(TEXTS).encode())


def _txt(path: Path) -> None:
    path.write_text("\n\n".join(TEXTS) + "\n", encoding="utf-8")


def _parquet(path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(4)), "text": TEXTS}), path)


def _arrow_stream(path: Path) -> None:
    table = pa.table({"n": list(range(4)), "text": TEXTS})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table, max_chunksize=3)


def _arrow_file(path: Path) -> None:
    table = pa.table({"n": list(range(4)), "text": TEXTS})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table, max_chunksize=3)


FORMATS: dict[str, Callable[[Path], None]] = {
    "a.jsonl": _jsonl, "b.json": _jsonl, "c.json": _json_list, "d.json.gz": _gzip, "e.txt.zst": _zstandard, "f.txt": _txt,
    "g.parquet": _parquet, "h.arrow": _arrow_stream, "i.arrow": _arrow_file,
}  # fmt: skip


def read(source: Path, **fields: str) -> list[object]:
    config = DataConfig(source=str(source), **fields)  # type: ignore[arg-type]
    return list(data_files.texts(data_files.split_files(config)[0], config))


@pytest.mark.parametrize("name", FORMATS)
def test_formats_give_the_same_documents(name: str, tmp_path: Path) -> None:
    FORMATS[name](tmp_path / name)
    assert read(tmp_path / name) == TEXTS


def test_saved_datasets_are_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(tmp_path / "saved")
    assert read(tmp_path / "saved") == TEXTS


def test_units_of_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\nb\n\n \n\nc\n", encoding="utf-8")
    assert read(path) == ["a\nb", "c"]
    assert read(path, txt_document="line") == ["a", "b", "", " ", "", "c"]
    assert read(path, txt_document="file") == ["a\nb\n\n \n\nc\n"]


def test_splits_of_a_folder(tmp_path: Path) -> None:
    for name in ("train-0.txt", "train-1.txt", "validation/x.txt", "trained.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "README.md").write_text("not read", encoding="utf-8")
    assert read(tmp_path) == ["train-0.txt", "train-1.txt"]
    assert read(tmp_path, split="validation") == ["validation/x.txt"]
    train, validation = data_files.split_files(DataConfig(source=str(tmp_path), validation_split="validation"))
    assert [p.name for p in train] == ["train-0.txt", "train-1.txt"]
    assert [p.name for p in validation] == ["x.txt"]
    with pytest.raises(SpectraError, match="no files of a split 'test'; found"):
        read(tmp_path, split="test")


def test_a_folder_without_named_splits_is_all_training_but_for_validation(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "held.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert read(tmp_path) == ["a.txt", "b.txt", "held.txt"]
    train, validation = data_files.split_files(DataConfig(source=str(tmp_path), validation_split="held"))
    assert [p.name for p in train] == ["a.txt", "b.txt"]
    assert [p.name for p in validation] == ["held.txt"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text\nx\n", "suffix is '.csv', expected .txt"),
        ("a.jsonl", '{"text": "x"}\n{"content": "y", "id": 3}\n', "Row 2 of .* no field 'text'; found content, id"),
        ("a.jsonl", '{"text": "x"}\nnonsense\n', "Line 2 of .* is not JSON"),
        ("a.jsonl", '{"text": "x"}\n"only text"\n', "Row 2 of .* is a str, expected an object"),
        ("a.json", '[{"text": "x"', "Cannot read .*a.json"),
        ("a.txt.gz", "not gzip", "Cannot read .*a.txt.gz"),
        ("a.parquet", "not parquet", "Cannot read .*a.parquet"),
        ("a.arrow", "not arrow", "Cannot read .*a.arrow"),
    ],
)
def test_errors_name_the_place(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(SpectraError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["g.parquet", "h.arrow"])
def test_missing_column_of_a_table(name: str, tmp_path: Path) -> None:
    FORMATS[name](tmp_path / name)
    with pytest.raises(SpectraError, match=r"no field 'body'; found n, text\. Set data.text_field"):
        read(tmp_path / name, text_field="body")


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("zwölf".encode("latin-1"))
    with pytest.raises(SpectraError, match="not UTF-8"):
        read(tmp_path / "a.txt")


def test_a_folder_without_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x", encoding="utf-8")
    with pytest.raises(SpectraError, match="holds no file to read"):
        read(tmp_path)


def test_one_file_has_no_splits(tmp_path: Path) -> None:
    _txt(tmp_path / "a.txt")
    with pytest.raises(SpectraError, match="no split 'test'"):
        read(tmp_path / "a.txt", split="test")


def test_hash_is_taken_again_only_when_the_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, notes = tmp_path / "a.txt", tmp_path / "notes"
    path.write_text("one", encoding="utf-8")
    os.utime(path, ns=(10**18, 10**18))
    first = data_files.stamp(path, notes)

    def fail(*_: object) -> None:
        raise AssertionError("hashed again")

    with monkeypatch.context() as patch:
        patch.setattr(data_files.hashlib, "file_digest", fail)
        assert data_files.stamp(path, notes) == first
    path.write_text("two", encoding="utf-8")  # of the same size, a moment ago
    assert data_files.stamp(path, notes).sha256 != first.sha256
    path.write_text("six", encoding="utf-8")  # so recent that its time proves nothing
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert data_files.stamp(path, notes).sha256 == data_files.stamp(path, tmp_path / "other").sha256
