"""A cloze task's own rows as a local task of lm-eval: the shipped YAML, so prompts and metrics are lm-eval's, on our data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spectra.atomic import write_text
from spectra.errors import SpectraError

from .cloze_index import shipped_yaml
from .tasks.base import Drop, Question, Row, Task
from .tasks.loading import upstream_rows
from .tasks.report import fingerprint
from .tasks.rows import local_files
from .tasks.user_code import check_item, user_file


@dataclass(frozen=True, kw_only=True)
class ClozeRows:
    """The rows that lm-eval is given, and what was left out.

    Attributes:
        rows: with the upstream names, in order.
        questions: what the task makes of them, in the same order.
        source: files, or hub id with commit.
        rows_read: rows looked at; with a limit, reading stops early.
        dropped: reason -> rows.
        fingerprint: SHA-256 over questions, choices and answers, as of `plasticity.tasks.report`.
    """

    rows: tuple[Row, ...]
    questions: tuple[Question, ...]
    source: tuple[str, ...]
    rows_read: int
    dropped: Mapping[str, int]
    fingerprint: str


def cloze_rows(task: Task, data: Path | None, limit: int | None) -> ClozeRows:
    """The first `limit` (None: all) rows of the test split that have a question and an answer.

    Raises:
        SpectraError: no data, no network, a row that cannot be read, an answer that is none of the choices, nothing left.
    """
    header = task.header
    path = data.expanduser() if data is not None else None
    rows: list[Row] = []
    questions: list[Question] = []
    dropped: Counter[str] = Counter()
    read = 0
    try:
        for row in upstream_rows(task, "test", path):
            read += 1
            try:
                question = task.question(row, read - 1, "")
            except Drop as reason:
                dropped[str(reason)] += 1
                continue
            check_item(task, question, f"row {read} of the test split")
            if not 0 <= int(question.gold) < len(question.choices):
                raise IndexError(f"its answer is choice {question.gold} of {len(question.choices)}, counted from 0")
            questions.append(question)
            rows.append({name: row[name] for name in header.test[0].fields})
            if len(rows) == limit:
                break
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise SpectraError(
            f"Row {read or 1} of the test split of {header.name} cannot be read ({type(error).__name__}: {error}). "
            f"Expected the fields {', '.join(header.test[0].fields)} as upstream has them. Repair or remove it"
            f"{f', or mend {file}' if (file := user_file(task)) else ''}."
        ) from error
    if not rows:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in dropped.items()) or "no rows"
        raise SpectraError(
            f"Nothing is left of the test split of {header.name}: {read} rows read, dropped: {reasons}. Name other data "
            "with --data."
        )
    return ClozeRows(
        rows=tuple(rows), questions=tuple(questions), source=_source(task, path), rows_read=read, dropped=dict(dropped),
        fingerprint=fingerprint(questions),
    )  # fmt: skip


def _source(task: Task, data: Path | None) -> tuple[str, ...]:
    if data is not None:
        return tuple(str(path) for path in local_files(data, task.header, "test"))
    return tuple(
        f"{s.hub}{f' ({s.subset})' if s.subset else ''}@{s.revision or 'main'} {s.split}" for s in task.header.test
    )


def write_task(name: str, rows: tuple[Row, ...], folder: Path) -> None:
    """Write rows and a YAML of the same name that includes lm-eval's own and reads them, and nothing else.

    Raises:
        SpectraError: lm-eval ships no such task, or the folder cannot be written.
    """
    shipped = shipped_yaml(name)
    if shipped is None:
        raise SpectraError(f"lm-eval ships no task {name!r}. Name one of its tasks as lm_eval in the task's header.")
    data = folder / "rows.jsonl"
    write_text(data, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    settings = {
        "include": str(shipped), "task": name, "dataset_path": "json", "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
        "training_split": None, "validation_split": None, "fewshot_split": None, "test_split": "test",
    }  # fmt: skip
    write_text(folder / f"{name}.yaml", "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
