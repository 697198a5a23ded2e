"""Documents from local files: which files a split is made of, a hash of their bytes, and their texts one by one."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from spectra.atomic import write_text
from spectra.errors import SpectraError

from .data_config import DataConfig

TABLES = (".parquet", ".arrow")
TEXTS = (".txt", ".jsonl", ".json")
PACKED = (".gz", ".zst")
SUPPORTED = ", ".join((*TEXTS, *TABLES)) + " (.txt, .jsonl and .json also as .gz or .zst)"
_METADATA = {"dataset_info.json", "state.json", "dataset_dict.json"}  # of datasets.save_to_disk
_RACY_NS = 2_000_000_000  # a file changed this shortly before it was hashed may change again unnoticed
_READ_ROWS = 1024


def kind(path: Path) -> str | None:
    """The suffix that decides the reader, without .gz or .zst; None: not a format that is read."""
    packed = path.suffix.lower() in PACKED
    suffix = Path(path.stem).suffix.lower() if packed else path.suffix.lower()
    return suffix if suffix in TEXTS or (suffix in TABLES and not packed) else None


def split_files(config: DataConfig) -> tuple[list[Path], list[Path]]:
    """The files of `split` and of `validation_split` (none without one), sorted by path.

    Raises:
        SpectraError: a suffix that is not read, a folder without files to read, or without files of a split.
    """
    path = Path(config.source).expanduser()
    if path.is_file():
        if kind(path) is None:
            raise SpectraError(f"Cannot read {path}: its suffix is {path.suffix!r}, expected {SUPPORTED}.")
        if config.validation_split is not None or config.split != "train":
            wanted = config.validation_split or config.split
            raise SpectraError(f"{path} is one file and has no split {wanted!r}. Name a folder that has the splits.")
        return [path], []
    found = sorted(p for p in path.rglob("*") if p.is_file() and kind(p) and p.name not in _METADATA)
    found = [p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts)]
    if not found:
        raise SpectraError(f"The folder {path} holds no file to read: expected {SUPPORTED}.")
    validation = [
        p for p in found if config.validation_split and _belongs(p.relative_to(path), config.validation_split)
    ]
    training = [p for p in found if _belongs(p.relative_to(path), config.split)]
    if config.split == "train" and not training:  # a folder without named splits
        training = [p for p in found if p not in validation]
    for name, files in ((config.split, training), (config.validation_split, validation)):
        if name and not files:
            names = ", ".join(str(p.relative_to(path)) for p in found[:5])
            raise SpectraError(
                f"The folder {path} has no files of a split {name!r}; found {names}. Name another split."
            )
    return training, validation


def _belongs(relative: Path, split: str) -> bool:
    """Whether a file is of a split: `train/a.txt`, `train.txt`, `train-000.parquet`, `train_1.jsonl.gz`."""
    if split in relative.parts[:-1]:
        return True
    rest = relative.name.removeprefix(split)
    return rest != relative.name and rest[0] in ".-_"


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What a file looked like when it was hashed."""

    bytes: int
    modified_ns: int
    sha256: str


def stamp(path: Path, memos: Path) -> Stamp:
    """Size, time and SHA-256 of a file; the hash comes from a note in the folder `memos` where size and time are unchanged.

    Raises:
        SpectraError: the file cannot be read.
    """
    memo = memos / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]}.json"
    try:
        state = path.stat()
        try:
            noted: dict[str, Any] = json.loads(memo.read_text(encoding="utf-8"))
            same = (noted["bytes"], noted["modified_ns"]) == (state.st_size, state.st_mtime_ns)
            if same and state.st_mtime_ns < noted["hashed_ns"] - _RACY_NS:
                return Stamp(bytes=state.st_size, modified_ns=state.st_mtime_ns, sha256=str(noted["sha256"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no note, or not one of ours: hash
        begun = time.time_ns()
        with path.open("rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as error:
        raise SpectraError(f"Cannot read {path}: {error.strerror or error}.") from error
    made = Stamp(bytes=state.st_size, modified_ns=state.st_mtime_ns, sha256=digest)
    with contextlib.suppress(OSError, SpectraError):  # a note that cannot be kept costs time, not results
        memos.mkdir(parents=True, exist_ok=True)
        write_text(memo, json.dumps({**vars(made), "hashed_ns": begun}))
    return made


def texts(files: list[Path], config: DataConfig) -> Iterator[object]:
    """The documents of files, in order; what stands in the text field, whatever its type.

    Raises:
        SpectraError: a row without the text field, a file that is damaged or not UTF-8.
    """
    for path in files:
        suffix = kind(path)
        try:
            if suffix in TABLES:
                yield from _rows_of_table(path, suffix, config.text_field)
                continue
            with _opened(path) as f:
                if suffix == ".txt":
                    yield from _txt(f, config.txt_document)
                else:
                    yield from _json(f, path, config.text_field)
        except UnicodeDecodeError as error:
            raise SpectraError(f"{path} is not UTF-8 text: {error.reason}. Convert it to UTF-8.") from error
        except (OSError, EOFError, ValueError) as error:  # gzip, pyarrow and json raise these on damage
            raise SpectraError(f"Cannot read {path}: {error}. Check that the file is whole.") from error


def missing_field(where: str, wanted: str, found: list[str]) -> SpectraError:
    """The error for a row without the text field."""
    return SpectraError(f"{where} has no field {wanted!r}; found {', '.join(found) or 'none'}. Set data.text_field.")


def _opened(path: Path) -> IO[str]:
    packing = path.suffix.lower()
    if packing == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    if packing == ".zst":
        import pyarrow as pa

        return io.TextIOWrapper(pa.input_stream(str(path), compression="zstd"), encoding="utf-8")
    return path.open(encoding="utf-8")


def _txt(f: IO[str], unit: str) -> Iterator[str]:
    if unit == "file":
        yield f.read()
    elif unit == "line":
        for line in f:
            yield line.rstrip("\n")
    else:
        held: list[str] = []
        for line in f:
            if line.strip():
                held.append(line)
            elif held:
                yield "".join(held).rstrip("\n")
                held = []
        if held:
            yield "".join(held).rstrip("\n")


def _json(f: IO[str], path: Path, field: str) -> Iterator[object]:
    """JSON lines, or one JSON list of rows (held in memory whole)."""
    first = f.readline()
    if first.lstrip().startswith("["):
        rows: Iterator[tuple[int, object]] = enumerate(json.loads(first + f.read()), 1)
    else:
        rows = _lines(first, f, path)
    for number, row in rows:
        if not isinstance(row, dict):
            raise SpectraError(f"Row {number} of {path} is a {type(row).__name__}, expected an object with {field!r}.")
        if field not in row:
            raise missing_field(f"Row {number} of {path}", field, list(row))
        yield row[field]


def _lines(first: str, f: IO[str], path: Path) -> Iterator[tuple[int, object]]:
    number, line = 1, first
    while line:
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise SpectraError(
                    f"Line {number} of {path} is not JSON: {error.msg}. Write one object a line."
                ) from error
        number, line = number + 1, f.readline()


def _rows_of_table(path: Path, suffix: str, field: str) -> Iterator[object]:
    """A column of a Parquet file, or of an Arrow file or stream (what `datasets` saves), batch by batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if suffix == ".parquet":
        with pq.ParquetFile(path) as table:
            if field not in table.schema_arrow.names:
                raise missing_field(f"Row 1 of {path}", field, table.schema_arrow.names)
            for batch in table.iter_batches(batch_size=_READ_ROWS, columns=[field]):
                yield from batch.column(0).to_pylist()
        return
    with pa.memory_map(str(path)) as mapped:
        try:
            stream = pa.ipc.open_stream(mapped)
        except pa.ArrowInvalid:
            mapped.seek(0)
            opened = pa.ipc.open_file(mapped)
            stream = (opened.get_batch(i) for i in range(opened.num_record_batches))
            names = opened.schema.names
        else:
            names = stream.schema.names
        if field not in names:
            raise missing_field(f"Row 1 of {path}", field, names)
        for batch in stream:
            yield from batch.column(names.index(field)).to_pylist()
