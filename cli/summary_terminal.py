"""The summary of an experiment as text for the terminal. Prints what is in `summary.json`; computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from . import terminal

_WIDTH = 120
_MAIN = ("greedy", "harmfulness", "acc")
Values = Mapping[str, Any]


def print_summary(summary: Values) -> None:
    """Cells, scores by x with intervals, losses, findings in words, warnings, failed cells."""
    console = terminal.report_width(_WIDTH)
    about, counts = summary["experiment"], summary["counts"]
    console.print(Text(f"{about['name']}: {counts['done']} of {counts['cells']} cells done", style="bold"))
    for group in dict.fromkeys(entry["group"] for entry in (*summary["points"], *summary["loss"])):
        console.print(Text(f"\n{group}"))
        console.print(_scores(summary, group))
    for finding in summary["findings"]:
        console.print(Text(f"\n{finding['group']}: {finding['question']}"))
        console.print(Text(f"  {finding['status']}. {finding['answer']}"))
    for warning in summary["warnings"]:
        console.print(Text(f"\nnote: {warning}"))
    for cell in summary["failed"]:
        console.print(Text(f"\nfailed: {cell['label']}: {cell['reason']}"))


def _scores(summary: Values, group: str) -> Table:
    """A row a base (seeds together) and fine-tuning setting; a column a task, of its main score; the loss."""
    points = [one for one in summary["points"] if one["group"] == group]
    tasks = {one["task"]: one["score"] for one in reversed(points) if one["score"] in _MAIN}
    tasks |= {one["task"]: one["score"] for one in reversed(points) if one["task"] not in tasks}
    losses = {_base(one): one for one in summary["loss"] if one["group"] == group}
    rows: dict[tuple[str, str], dict[str, Values]] = {}
    for one in points:
        row = rows.setdefault((_base(one), _setting(one["setting"])), {})
        if tasks.get(one["task"]) == one["score"]:
            row[one["task"]] = one
    for base in losses:
        if not any(known == base for known, _ in rows):
            rows[base, ""] = {}
    columns = sorted(tasks, key=lambda task: (task == "mean", list(tasks)[::-1].index(task)))
    settings = any(setting for _, setting in rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(Text(str(summary["experiment"]["axis"])), overflow="fold")
    if settings:
        table.add_column("setting", overflow="fold")
    table.add_column("loss", justify="right", no_wrap=True)
    for task in columns:
        table.add_column(Text(f"{task} {tasks[task]}"), justify="right")
    for (base, setting), row in rows.items():
        cells = [_value(losses.get(base), 4), *(_value(row.get(task), 3) for task in columns)]
        table.add_row(Text(base), *([Text(setting)] if settings else []), *cells)
    return table


def _base(one: Values) -> str:
    more = " ".join(f"{key}={value}" for key, value in one["axes"].items()) if one["x"] is not None else ""
    return " ".join(part for part in (str(one["name"]), more) if part)


def _setting(setting: Values) -> str:
    return " ".join(f"{key}={value}" for key, value in setting.items())


def _value(one: Values | None, digits: int) -> Text:
    if one is None or one["value"] is None:
        return Text("-")
    return Text(
        f"{one['value']:.{digits}f}{_interval(one['ci95'], digits)}{', not comparable' if 'warning' in one else ''}"
    )


def _interval(ci95: Sequence[float] | None, digits: int) -> str:
    return "" if ci95 is None else f" ({ci95[0]:.{digits}f} to {ci95[1]:.{digits}f})"
