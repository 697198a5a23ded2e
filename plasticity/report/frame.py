"""Where every number of an experiment stands on the page: on which lines, and over which category of the axis.

A line is a family of the summary: bases that differ on the axis alone. Values of the axis are few and unevenly spaced (0, 0.1,
0.3, 1, 3), so they are categories under their true labels. A base without weight decay is on the lines of all policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plasticity.experiment_data import SCRATCH

Entry = Mapping[str, Any]
_NAMES = {
    "decay.base": "weight decay",
    "train.lr": "learning rate",
    "train.batch_size": "batch size",
    "train.steps": "steps",
}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Lines and categories of the figures.

    Attributes:
        title: what the axis is.
        categories: labels along the axis: numbers in order, then names as they come.
        lines: labels of the families.
        groups: the group of each line.
        nominal: some categories are names, between which nothing lies.
        bases: label of a base -> its entry.
    """

    title: str
    categories: tuple[str, ...]
    lines: tuple[str, ...]
    groups: tuple[str, ...]
    nominal: bool
    bases: Mapping[str, Entry]

    def on(self, entry: Entry) -> list[int]:
        """The lines of a base, a point or a loss; of a run those of its base; of a statistic the one that it is of.

        A control from random weights is drawn with the first line of its group.
        """
        if is_control(entry):
            return [line for line, group in enumerate(self.groups) if group == str(entry["group"])][:1]
        if "families" in entry:
            return [self.lines.index(str(family)) for family in entry["families"]]
        if "base" in entry:
            base = self.bases.get(str(entry["base"]))
            return self.on(base) if base is not None else []
        return [self.lines.index(str(entry["group"]))] if str(entry["group"]) in self.lines else []

    def at(self, entry: Entry) -> int | None:
        """Its category; None where it has none, as a control."""
        if is_control(entry):
            return None
        label = category(entry if "base" not in entry else self.bases.get(str(entry["base"]), entry))
        return self.categories.index(label) if label in self.categories else None


def frame(axis: str, bases: Iterable[Entry], others: Iterable[Entry]) -> Frame:
    """The frame of all entries with `families`, `x` and `name`; bases also have `label`."""
    known = {str(base["label"]): base for base in bases}
    lines: dict[str, str] = {}
    places: dict[str, tuple[int, float]] = {}
    for number, entry in enumerate(entry for entry in (*known.values(), *others) if not is_control(entry)):
        for family in entry["families"]:
            lines.setdefault(str(family), str(entry["group"]))
        x = entry.get("x")
        is_number = isinstance(x, (int, float)) and not isinstance(x, bool)
        places.setdefault(category(entry), (0, float(x)) if is_number else (1, float(number)))  # type: ignore[arg-type]
    nominal = any(rank for rank, _ in places.values())
    return Frame(
        title="base" if all(rank for rank, _ in places.values()) else _NAMES.get(axis, axis),
        categories=tuple(sorted(places, key=lambda label: places[label])), lines=tuple(lines),
        groups=tuple(lines.values()), nominal=nominal, bases=known,
    )  # fmt: skip


def is_control(entry: Entry) -> bool:
    """Whether it is of fine-tuning from random weights, which belongs to no value of the axis."""
    return entry.get("start") == SCRATCH


def category(entry: Entry) -> str:
    """The label under which an entry stands on the axis: its value there, or its name where it has none."""
    x = entry.get("x")
    return value_label(x) if x is not None else str(entry.get("name") or entry.get("label") or "none")


def value_label(value: object) -> str:
    """A value of the axis as it is written: 0.1, 3, none."""
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
