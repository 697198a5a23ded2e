"""What came of loading a task's data: the items, and how many rows were read, kept and dropped for which reason."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from .base import Example, Question

Item = TypeVar("Item", Example, Question)


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Where rows came from and what became of them: rows_read = kept + sum of dropped.

    Attributes:
        task, version, split: of what.
        source: hub ids with commits, or local files.
        rows_read, kept: rows.
        dropped: reason -> rows.
        parts: part -> kept, where a split is pooled of several.
        overlap: training rows whose question is in the test split (they are among the dropped); None: not checked, see remarks.
        fingerprint: SHA-256 over the kept items, in order: equal where questions, responses and answers are.
        remarks: what else a reader must know.
    """

    task: str
    version: int
    split: str
    source: tuple[str, ...]
    rows_read: int
    kept: int
    dropped: Mapping[str, int]
    parts: Mapping[str, int]
    overlap: int | None
    fingerprint: str
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Loaded(Generic[Item]):
    """A split, ready for use."""

    items: tuple[Item, ...]
    report: LoadReport


def question_key(item: Example | Question) -> str:
    """What two rows of the same question share: the text without differences of case and spacing, hashed."""
    text = " ".join((item.key or item.question).casefold().split())
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint(items: Iterable[Example | Question]) -> str:
    """SHA-256 over what the items say (not their ids), in order."""
    digest = hashlib.sha256()
    for item in items:
        fields = (
            (item.question, item.response)
            if isinstance(item, Example)
            else (item.part, item.question, *item.choices, item.gold)
        )
        digest.update("\x1f".join(fields).encode("utf-8", "surrogatepass") + b"\x1e")
    return digest.hexdigest()
