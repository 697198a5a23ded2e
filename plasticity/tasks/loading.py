"""A task's split: rows read, turned into examples or questions, cleaned, counted, and kept apart from the test split.

A training row whose question is also in the test split is dropped, and counted as `overlap`. Equal means: the same text but for
case and spacing. Rows are otherwise left as they are: repeated training questions stay (MetaMathQA has them on purpose).
A limit is a sample of the whole split, drawn by hash: always the same one, and each part in it with the share that it has.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, overload

from spectra.errors import SpectraError

from .base import Drop, Example, Question, Row, Source, Task
from .report import Loaded, LoadReport, fingerprint, question_key
from .rows import from_hub, local_files, matches, read
from .user_code import check_item, user_file

Split = Literal["train", "test"]
OVERLAP = "question is in the test split"
SAMPLED = "not in the sample"
HELD_OUT = {"train": "held out for testing", "test": "not held out for testing"}


@dataclass
class _Batch:
    """What has been read so far of one split."""

    items: list[Example | Question] = field(default_factory=list)
    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    def keep(self, kept: list[Example | Question], reason: str) -> None:
        """Go on with some of the items; the others are dropped for that reason."""
        if len(kept) < len(self.items):
            self.dropped[reason] += len(self.items) - len(kept)
        self.items = kept


@overload
def load(
    task: Task, split: Literal["train"], data: Path | None = None, limit: int | None = None
) -> Loaded[Example]: ...
@overload
def load(
    task: Task, split: Literal["test"], data: Path | None = None, limit: int | None = None
) -> Loaded[Question]: ...
def load(
    task: Task, split: Split, data: Path | None = None, limit: int | None = None
) -> Loaded[Example] | Loaded[Question]:
    """A split of a task: of the local files `data` (a file is the split asked for), else from the hub or the generator.

    With `limit`, that many of the items are drawn by hash, of all parts together, and kept in their order; the report says so.

    Raises:
        SpectraError: no data, wrong fields (found, expected, the first bad row), nothing left after cleaning, no network.
    """
    path = data.expanduser() if data is not None else None
    batch = _read(task, split, path)
    overlap = None
    if split == "train":
        overlap = _drop_overlap(task, batch, path)
    if limit is not None and limit < len(batch.items):
        batch.remarks.append(f"a random sample, always the same: {limit:,} of {len(batch.items):,}")
        batch.keep(_drawn(batch.items, limit), f"beyond the limit of {limit}")
    if not batch.read:
        what = "The file is empty" if path is not None and path.is_file() else "There are no rows"
        named = ", ".join(_named(task, split, path))
        raise SpectraError(f"{what}: {named} (the {split} split of {task.header.name}). Name other data with --data.")
    if not batch.items:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in batch.dropped.items())
        raise SpectraError(
            f"Nothing is left of the {split} split of {task.header.name}: {batch.read} rows read, dropped: {reasons}. "
            "Name other data with --data."
        )
    parts = Counter(item.part for item in batch.items)
    report = LoadReport(
        task=task.header.name, version=task.header.version, split=split, source=_named(task, split, path),
        rows_read=batch.read, kept=len(batch.items), dropped=dict(batch.dropped), parts=dict(parts) if any(parts) else {},
        overlap=overlap, fingerprint=fingerprint(batch.items), remarks=tuple(batch.remarks),
    )  # fmt: skip
    if split == "train":
        return Loaded(items=tuple(item for item in batch.items if isinstance(item, Example)), report=report)
    return Loaded(items=tuple(item for item in batch.items if isinstance(item, Question)), report=report)


def first_example(task: Task) -> Example:
    """The first training example of the hub data set that is kept, without reading the rest.

    Raises:
        SpectraError: as `load`.
    """
    for number, (source, row, where) in enumerate(_rows(task, "train", None, streaming=True)):
        with contextlib.suppress(Drop):
            item = _made(task, "train", row, number, source.part, where)
            assert isinstance(item, Example)
            return item
    raise SpectraError(f"Nothing is left of the train split of {task.header.name}: every row is dropped.")


def upstream_rows(task: Task, split: Split, data: Path | None = None) -> Iterator[Row]:
    """The rows of a split with the upstream names, uncleaned: what lm-eval reads as local JSON."""
    for _, row, _ in _rows(task, split, data.expanduser() if data is not None else None):
        with contextlib.suppress(Drop):
            yield task.upstream(row)


def _sources(task: Task, split: Split) -> tuple[Source, ...]:
    return task.header.train if split == "train" else task.header.test


def _named(task: Task, split: Split, data: Path | None) -> tuple[str, ...]:
    if data is not None:
        return tuple(str(path) for path in _files(task, split, data))
    named = (
        f"{s.hub}{f' ({s.subset})' if s.subset else ''}@{s.revision or 'main'} {s.split}" if s.hub else "generated"
        for s in _sources(task, split)
    )
    return tuple(dict.fromkeys(named))


def _files(task: Task, split: Split, data: Path) -> list[Path]:
    """The local files of a split; a held-out split is cut from the training files where there are no others."""
    found = local_files(data, task.header, split)
    if not found and split == "test" and task.header.held_out:
        return local_files(data, task.header, "train")
    return found


def _is_cut(task: Task, data: Path | None) -> bool:
    """Whether train and test are cut from the same rows here."""
    if not task.header.held_out:
        return False
    return data is None or not data.is_dir() or not local_files(data, task.header, "test")


def _rows(task: Task, split: Split, data: Path | None, *, streaming: bool = False) -> Iterator[tuple[Source, Row, str]]:
    """Source, row as it is there, and where it stands.

    Hub data sets are downloaded whole (and cached); `streaming`: read over the network as needed.
    """
    sources = _sources(task, split)
    if data is None:
        for source in sources:
            rows = from_hub(source, streaming=streaming) if source.hub else iter(task.generated(split))
            for number, row in enumerate(rows, 1):
                where = f"Row {number} of {source.hub or task.header.name}"
                yield _source_of(row, (source,), where), row, where
        return
    files = _files(task, split, data)
    if not files:
        expected = [source.file for source in sources if source.file] or [f"{split}.jsonl", f"{split}/*.parquet"]
        raise SpectraError(
            f"--data {data} has no files of the {split} split of {task.header.name}: expected names such as "
            f"{', '.join(expected)}. Rename them, or name one file."
        )
    for path in files:
        of_file = tuple(s for s in sources if matches(path, s)) or sources
        for number, row in enumerate(read(path), 1):
            where = f"Row {number} of {path}"
            yield _source_of(row, of_file, where), row, where


def _source_of(row: Row, sources: tuple[Source, ...], where: str) -> Source:
    """The first source whose fields, or one of whose layouts, a row has."""
    for source in sources:
        for fields in (source.fields, *source.layouts):
            if all(name in row for name in fields):
                return source
    expected = dict.fromkeys(", ".join(fields) for s in sources for fields in (s.fields, *s.layouts))
    raise SpectraError(
        f"{where} has the fields {', '.join(map(str, row)) or 'none'}; expected {' or '.join(expected)}. "
        "Rename its columns to these."
    )


def _read(task: Task, split: Split, data: Path | None) -> _Batch:
    """Rows -> items, cleaned and counted; held-out questions and samples cut."""
    batch = _Batch()
    cut = _is_cut(task, data)
    sampled = any(source.sample is not None for source in _sources(task, split))
    of: dict[int, Source] = {}
    asked: set[str] = set()
    for source, row, where in _rows(task, split, data):
        batch.read += 1
        try:
            item = _made(task, split, row, batch.read - 1, source.part, where, asked if cut else None)
        except Drop as reason:
            batch.dropped[str(reason)] += 1
            continue
        of[id(item)] = source
        batch.items.append(item)
    if cut:
        _hold_out(task, split, batch, asked)
    if sampled:
        _sample(task, split, batch, of)
    return batch


def _made(
    task: Task, split: Split, row: Row, index: int, part: str, where: str, asked: set[str] | None = None
) -> Example | Question:
    """A row as an item; the key of its question is added to `asked`, whether or not it can be trained on.

    Raises:
        Drop: a cleaning rule leaves it out.
        SpectraError: it is not a row of this task, or a user's task fails on it.
    """
    try:
        known = task.upstream(row)
        if asked is not None:
            question = task.question(known, index, part)
            check_item(task, question, where)
            asked.add(question_key(question))
        item = _item(task, split, known, index, part)
    except (Drop, SpectraError):
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _not_a_row(task, where, row, error) from error
    except Exception as error:
        if user_file(task) is None:
            raise
        raise _not_a_row(task, where, row, error) from error
    check_item(task, item, where)
    return item


def _not_a_row(task: Task, where: str, row: Row, error: Exception) -> SpectraError:
    file = user_file(task)
    remedy = f"See plasticity tasks {task.header.name} for what a row is" if file is None else f"Repair it, or {file}"
    return SpectraError(
        f"{where} is not a row of {task.header.name}: {type(error).__name__}: {error}; got {_brief(row)}. {remedy}."
    )


def _item(task: Task, split: Split, row: Row, index: int, part: str) -> Example | Question:
    if split == "test":
        return task.question(row, index, part)
    made = task.example(row, index)
    return dataclasses.replace(made, part=part) if part and isinstance(made, Example) and not made.part else made


def _brief(row: Row) -> str:
    return ", ".join(f"{name}={str(value)[:30]!a}" for name, value in row.items())[:200]


def _hold_out(task: Task, split: Split, batch: _Batch, keys: set[str]) -> None:
    """Cut test questions from all questions `keys`: those of least hash, `held_out` of them, or a tenth if that is less.

    `keys` are those of all rows, whether or not they can be trained on: both splits are cut alike.
    """
    count = min(task.header.held_out, max(1, len(keys) // 10))
    if count < task.header.held_out:
        batch.remarks.append(
            f"{count} of {len(keys)} questions are held out for testing, in place of {task.header.held_out}: the data "
            "are few (a folder with train and test files is not cut)"
        )
    held = set(heapq.nsmallest(count, keys, key=lambda key: hashlib.sha256(f"held out {key}".encode()).digest()))
    if split == "train":
        batch.keep([item for item in batch.items if question_key(item) not in held], HELD_OUT[split])
        return
    batch.keep([item for item in batch.items if question_key(item) in held], HELD_OUT[split])
    once = {question_key(item): item for item in reversed(batch.items)}
    first = {id(item) for item in once.values()}
    batch.keep([item for item in batch.items if id(item) in first], "the same question again")


def _sample(task: Task, split: Split, batch: _Batch, of: dict[int, Source]) -> None:
    """Of each source with a `sample`, the items of least hash, in their order."""
    chosen: set[int] = set()
    for source in _sources(task, split):
        items = [item for item in batch.items if of[id(item)] is source]
        if source.sample is None:
            chosen |= {id(item) for item in items}
            continue
        if len(items) < source.sample:
            batch.remarks.append(f"{len(items)} rows of {source.part or source.hub}, expected {source.sample}")
        chosen |= {id(item) for item in heapq.nsmallest(source.sample, items, key=lambda item: fingerprint([item]))}
    batch.keep([item for item in batch.items if id(item) in chosen], SAMPLED)


def _drawn(items: list[Example | Question], limit: int) -> list[Example | Question]:
    """The `limit` items of least hash, in their order. Salted: `_sample` has left items of small hash in some parts."""

    def key(index: int) -> bytes:
        return hashlib.sha256(f"limit {fingerprint([items[index]])}".encode()).digest()

    return [items[index] for index in sorted(heapq.nsmallest(limit, range(len(items)), key=key))]


def _drop_overlap(task: Task, batch: _Batch, data: Path | None) -> int | None:
    """Drop training items whose question is a test question; how many, or None where there is no test split to look at."""
    if _is_cut(task, data):
        return 0  # cut by question: disjoint by construction
    if data is not None and (data.is_file() or not local_files(data, task.header, "test")):
        batch.remarks.append("overlap with the test split not checked: --data has none")
        return None
    held = {question_key(item) for item in _read(task, "test", data).items}
    before = len(batch.items)
    batch.keep([item for item in batch.items if question_key(item) not in held], OVERLAP)
    return before - len(batch.items)
