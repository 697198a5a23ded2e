"""A task's split: rows read, turned into examples or questions, cleaned, counted, and kept apart from the test split.

A training row whose question is also in the test split is dropped, and counted as `overlap`. Equal means: the same text but for
case and spacing. Rows are otherwise left as they are: repeated training questions stay (MetaMathQA has them on purpose).
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

    With `limit`, reading stops after that many kept rows a source and the first `limit` are returned, in turn over the sources;
    held-out splits and samples are still cut from all rows.

    Raises:
        SpectraError: no data, wrong fields (found, expected, the first bad row), nothing left after cleaning, no network.
    """
    path = data.expanduser() if data is not None else None
    batch = _read(task, split, path, limit)
    overlap = None
    if split == "train":
        overlap = _drop_overlap(task, batch, path)
    if limit is not None:
        batch.keep(_in_turn(batch.items, limit), f"beyond the limit of {limit}")
    if not batch.items:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in batch.dropped.items()) or "no rows"
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


def _rows(
    task: Task, split: Split, data: Path | None, full: set[Source] | None = None
) -> Iterator[tuple[Source, Row, str]]:
    """Source, row as it is there, and where it stands; a source that the caller puts into `full` is read no further.

    Without `full`, whole hub data sets are downloaded (and cached); with it, they are read over the network as needed.
    """
    sources = _sources(task, split)
    streaming = full is not None
    full = full if full is not None else set()
    if data is None:
        for source in sources:
            rows = from_hub(source, streaming=streaming) if source.hub else iter(task.generated(split))
            for number, row in enumerate(rows, 1):
                where = f"Row {number} of {source.hub or task.header.name}"
                yield _source_of(row, (source,), where), row, where
                if source in full:
                    break
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
            if full.issuperset(of_file):
                break


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


def _read(task: Task, split: Split, data: Path | None, limit: int | None) -> _Batch:
    """Rows -> items, cleaned and counted; held-out questions and samples cut."""
    batch = _Batch()
    cut = _is_cut(task, data)
    sampled = any(source.sample is not None for source in _sources(task, split))
    early = limit if not (cut or sampled) else None
    kept: Counter[Source] = Counter()
    of: dict[int, Source] = {}
    full: set[Source] = set()
    asked: set[str] = set()
    for source, row, where in _rows(task, split, data, full if early is not None else None):
        if source in full:
            continue
        batch.read += 1
        try:
            known = task.upstream(row)
            if cut:
                asked.add(question_key(task.question(known, batch.read - 1, source.part)))
            item = _item(task, split, known, batch.read - 1, source.part)
        except Drop as reason:
            batch.dropped[str(reason)] += 1
            continue
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise SpectraError(
                f"{where} is not a row of {task.header.name}: {type(error).__name__}: {error}; got {_brief(row)}. "
                f"See plasticity tasks {task.header.name} for what a row is."
            ) from error
        kept[source] += 1
        if kept[source] == early:
            full.add(source)
        of[id(item)] = source
        batch.items.append(item)
    if cut:
        _hold_out(task, split, batch, asked)
    if sampled:
        _sample(task, split, batch, of)
    return batch


def _item(task: Task, split: Split, row: Row, index: int, part: str) -> Example | Question:
    if split == "test":
        return task.question(row, index, part)
    made = task.example(row, index)
    return dataclasses.replace(made, part=part) if part and not made.part else made


def _brief(row: Row) -> str:
    return ", ".join(f"{name}={str(value)[:30]!r}" for name, value in row.items())[:200]


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


def _in_turn(items: list[Example | Question], limit: int) -> list[Example | Question]:
    """The first `limit` items, as evenly over the parts as they allow, in their order."""
    queues: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        queues.setdefault(item.part, []).append(index)
    chosen: list[int] = []
    depth = 0
    while len(chosen) < min(limit, len(items)):
        chosen += [queue[depth] for queue in queues.values() if depth < len(queue)]
        depth += 1
    return [items[index] for index in sorted(chosen[:limit])]


def _drop_overlap(task: Task, batch: _Batch, data: Path | None) -> int | None:
    """Drop training items whose question is a test question; how many, or None where there is no test split to look at."""
    if _is_cut(task, data):
        return 0  # cut by question: disjoint by construction
    if data is not None and (data.is_file() or not local_files(data, task.header, "test")):
        batch.remarks.append("overlap with the test split not checked: --data has none")
        return None
    held = {question_key(item) for item in _read(task, "test", data, None).items}
    before = len(batch.items)
    batch.keep([item for item in batch.items if question_key(item) not in held], OVERLAP)
    return before - len(batch.items)
