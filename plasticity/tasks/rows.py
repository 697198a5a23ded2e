"""Rows of a task's source: from local files (`--data`), from the hub at a pinned commit, or from the task's own generator.

Local files: .jsonl, .json (a list of rows; an object of rows by id, as PubMedQA's; `{"instructions": [...]}`, as
I-MaliciousInstructions), .parquet, .arrow; JSON also as .gz or .zst.
"""

from __future__ import annotations

import fnmatch
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alphadecay.data_files import TABLES, kind
from spectra.errors import SpectraError

from .base import Header, Row, Source

READ = ".jsonl, .json, .parquet, .arrow (JSON also as .gz or .zst)"
_NAMES = {"train": ("train",), "test": ("test",), "validation": ("validation", "valid", "val", "dev")}
_METADATA = {"dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json"}  # of `datasets`


def is_data(path: Path) -> bool:
    """Whether a file is one that is read."""
    return kind(path) not in (None, ".txt") and path.name not in _METADATA


def local_files(data: Path, header: Header, split: str) -> list[Path]:
    """The files of `--data` that belong to a split: the file itself; in a folder those named after the split or a source.

    Upstream's own name of the split comes first (HellaSwag is tested on `validation`), then any other that is not the other
    split's. A folder without any name of a split in it is all training data. No file of the split: an empty list.

    Raises:
        SpectraError: nothing there, or nothing that is read.
    """
    if data.is_file():
        if not is_data(data):
            raise SpectraError(f"Cannot read --data {data}: its suffix is {data.suffix!r}, expected {READ}.")
        return [data]
    if not data.is_dir():
        raise SpectraError(f"--data {data}: no such file or folder. Name one with {READ}.")
    found = sorted(p for p in data.rglob("*") if p.is_file() and is_data(p))
    found = [p for p in found if not any(part.startswith(".") for part in p.relative_to(data).parts)]
    if not found:
        raise SpectraError(f"--data {data}: the folder holds no file that is read, expected {READ}.")
    sources = header.train if split == "train" else header.test
    if any(source.file for source in sources):
        return [path for path in found if any(matches(path, source) for source in sources)]
    labels = {path: _label(str(path.relative_to(data))) for path in found}
    if not any(labels.values()):
        return found if split == "train" else []
    train = {"train", *(source.split for source in header.train)}
    if split == "train":
        return [path for path in found if labels[path] in train]
    upstream = {source.split for source in sources}
    first = [path for path in found if labels[path] in upstream - train]
    return first or [path for path in found if labels[path] and labels[path] not in train]


def matches(path: Path, source: Source) -> bool:
    """Whether a file has the name that the files of a source have."""
    return bool(source.file) and fnmatch.fnmatch(path.name.lower(), source.file.lower())


def _label(name: str) -> str | None:
    """`train/a.jsonl`, `train-000.parquet`, `x_train.jsonl` -> train; the last such word decides."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((split for word in reversed(words) for split, known in _NAMES.items() if word in known), None)


def read(path: Path) -> Iterator[Row]:
    """The rows of one file, in order.

    Raises:
        SpectraError: the file is damaged, or a row is not an object.
    """
    try:
        if kind(path) in TABLES:
            yield from _table(path)
        else:
            yield from _objects(path)
    except UnicodeDecodeError as error:
        raise SpectraError(f"{path} is not UTF-8 text: {error.reason}. Convert it to UTF-8.") from error
    except (OSError, EOFError, ValueError) as error:  # pyarrow and json raise these on damage
        raise SpectraError(f"Cannot read {path}: {error}. Check that the file is whole.") from error


def _table(path: Path) -> Iterator[Row]:
    from datasets import Dataset

    from alphadecay.data_files import kind as suffix

    if suffix(path) == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    else:
        yield from Dataset.from_file(str(path))


def _objects(path: Path) -> Iterator[Row]:
    import pyarrow as pa

    with io.TextIOWrapper(pa.input_stream(str(path), compression="detect"), encoding="utf-8") as f:
        if kind(path) == ".jsonl":
            yield from _lines(f, path)
            return
        text = f.read()
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:  # one object a line under the name .json
        yield from _lines(text.splitlines(), path)
        return
    if isinstance(whole, Mapping) and isinstance(whole.get("instructions"), list):
        whole = [{"instruction": text} for text in whole["instructions"]]
    elif isinstance(whole, Mapping) and whole and all(isinstance(row, Mapping) for row in whole.values()):
        whole = [{"pubid": key, **row} for key, row in whole.items()]
    for number, row in enumerate(whole if isinstance(whole, list) else [whole], 1):
        yield _object(row, f"Row {number} of {path}")


def _lines(lines: Iterable[str], path: Path) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SpectraError(f"Line {number} of {path} is not JSON: {error.msg}. Write one object a line.") from error
        yield _object(row, f"Line {number} of {path}")


def _object(row: object, where: str) -> Row:
    if not isinstance(row, Mapping):
        raise SpectraError(f"{where} is a {type(row).__name__}, expected an object with the task's fields.")
    return row


def from_hub(source: Source, *, streaming: bool) -> Iterator[Row]:
    """The rows of a source on the hub, at its commit; `streaming` reads them over the network as needed.

    Raises:
        SpectraError: the source is not on the hub, or cannot be read; says how to use `--data`.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    from alphadecay.data_hub import network_errors

    if source.url:
        raise SpectraError(
            f"{source.hub} is not a hub data set. Download it from {source.url} and name it with --data FOLDER."
        )
    try:
        table: Any = load_dataset(
            source.hub, source.subset, split=source.split, revision=source.revision, streaming=streaming
        )
        yield from table
    except (DatasetsError, *network_errors()) as error:
        name = source.hub + (f" ({source.subset})" if source.subset else "")
        reason = " ".join(str(error).split())[:200].rstrip(".") + "."
        raise SpectraError(
            f"Cannot read the hub data set {name}: {reason} Check the network, or download it elsewhere and name the file "
            f"or folder with --data (fields {', '.join(source.fields)})."
        ) from error
