"""The summary of an experiment as text for the terminal. Prints what is in `summary.json`; computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from . import terminal

_WIDTH = 120
_MAIN = ("greedy", "harmfulness", "acc")
_UNKNOWN = "not measured"
_MEANS = {"mean": "generated", "mean_cloze": "cloze"}
_PAIRS = 24  # lines of comparisons
Values = Mapping[str, Any]


def print_summary(summary: Values) -> None:
    """Cells, scores by x with intervals, losses, which base is ahead, findings in words, warnings, failed cells."""
    console = terminal.report_width(_WIDTH)
    about, counts = summary["experiment"], summary["counts"]
    console.print(Text(f"{about['name']}: {counts['done']} of {counts['cells']} cells done", style="bold"))
    for group in dict.fromkeys(entry["group"] for entry in (*summary["points"], *summary["loss"])):
        console.print(Text(f"\n{group}"))
        console.print(_scores(summary, group))
    for line in _pairs(summary["statistics"].get("pairs", ()), summary["points"]):
        console.print(Text(line))
    for finding in summary["findings"]:
        if finding["status"] != _UNKNOWN:
            console.print(Text(f"\n{finding['group']}: {finding['question']}"))
            console.print(Text(f"  {finding['status']}. {finding['answer']}"))
    unknown = _unknown([finding for finding in summary["findings"] if finding["status"] == _UNKNOWN])
    if unknown:
        console.print(Text(f"\n{unknown}"))
    for warning in summary["warnings"]:
        console.print(Text(f"\nnote: {warning}"))
    for cell in summary["failed"]:
        console.print(Text(f"\nfailed: {cell['label']}: {cell['reason']}"))


def _scores(summary: Values, group: str) -> Table:
    """A row a base (seeds together) and fine-tuning setting; a column a task, of its main score; the loss where one is known."""
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
    columns = sorted(tasks, key=lambda task: (task in _MEANS, list(tasks)[::-1].index(task)))
    before = _before(summary, tasks)
    settings = any(setting for _, setting in rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(Text(_axis(summary, [*points, *losses.values()])), overflow="fold")
    if settings:
        table.add_column("setting", overflow="fold")
    if losses:
        table.add_column("loss", justify="right", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    for task in columns:
        if any(task in of for of in before.values()):
            table.add_column(Text(f"{task} before"), justify="right", overflow="fold")
        asked = [row[task]["n_questions"] for row in rows.values() if task in row]
        lower = ", lower is better" if tasks[task] == "harmfulness" else ""
        title = f"{_task(points, task)} {tasks[task]}{lower}, {_count(asked)} questions"
        table.add_column(Text(title), justify="right", overflow="fold")
    for (base, setting), row in rows.items():
        cells = [Text(base), *([Text(setting)] if settings else [])]
        cells += [_value(losses.get(base), 4)] if losses else []
        cells.append(Text(_count([one["n_seeds"] for one in row.values()])))
        for task in columns:
            if any(task in of for of in before.values()):
                cells.append(_as_it_was(row.get(task), before, task))
            cells.append(_value(row.get(task), 3))
        table.add_row(*cells)
    return table


def _task(points: Sequence[Values], task: str) -> str:
    """A mean by the number of tasks that it is over; other tasks by their names."""
    if task not in _MEANS:
        return task
    over = next((one["tasks"] for one in points if one["task"] == task and one.get("tasks")), ())
    return f"mean of {len(over)} {_MEANS[task]} tasks," if over else f"mean of {_MEANS[task]} tasks,"


def _axis(summary: Values, entries: Sequence[Values]) -> str:
    """What the first column holds: values of the axis, or names of bases where there are none."""
    known = [one["x"] is not None for one in entries if one.get("start") != "scratch"]
    axis = str(summary["experiment"]["axis"])
    return axis if all(known) and known else f"{axis}, or base" if any(known) else "base"


def _before(summary: Values, tasks: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Label of a base -> task -> its score before fine-tuning."""
    made: dict[str, dict[str, float]] = {}
    for base in summary["bases"]:
        for task, scores in base["before"].items():
            found = scores.get(tasks.get(task, ""))
            if found is not None and found["value"] is not None:
                made.setdefault(base["label"], {})[task] = found["value"]
    return made


def _as_it_was(one: Values | None, before: Mapping[str, Mapping[str, float]], task: str) -> Text:
    """Mean over the bases of a point; from random weights there is no before."""
    bases = one.get("bases", ()) if one is not None and one.get("start") != "scratch" else ()
    found = [before[label][task] for label in bases if task in before.get(label, {})]
    return Text(f"{sum(found) / len(found):.3f}" if found else "-")


def _count(found: Sequence[int]) -> str:
    if not found:
        return "-"
    return f"{min(found):,}" if min(found) == max(found) else f"{min(found):,} to {max(found):,}"


def _pairs(found: Sequence[Values], points: Sequence[Values]) -> list[str]:
    """Two bases a line: by how much, how sure, and which is ahead."""
    if not found:
        return []
    lines = ["\nwhich base is better (a line is one comparison by itself, not all at once):"]
    lines += [f"  {_pair(one, _task(points, one['task']))}" for one in found[:_PAIRS]]
    if len(found) > _PAIRS:
        lines.append(f"  and {len(found) - _PAIRS} more in summary.json (statistics, pairs)")
    return lines


def _pair(one: Values, task: str) -> str:
    interval = "no interval" if one["ci95"] is None else f"95% {one['ci95'][0]:+.3f} to {one['ci95'][1]:+.3f}"
    seeds = f"{one['n_seeds']} seed{'' if one['n_seeds'] == 1 else 's'}"
    if one["status"] == "settled":
        ending = f"{one['ahead']} is ahead"
    elif one["ahead"] is not None:
        ending = f"{one['ahead']} is ahead on these questions; one seed: what another would change is not known"
    else:
        ending = "not settled"
    lower = ", lower is better" if one["better"] == "lower" else ""
    return (
        f"{task} {one['score']}{lower}: {one['name_b']} {one['value_b']:.3f}, {one['name_a']} {one['value_a']:.3f}, "
        f"difference {one['value']:+.3f} ({interval}; {one['n_questions']:,} questions, {seeds}): {ending}"
        + "".join(f". {said}".removesuffix(".") for said in _remarks(one))
    )


def _remarks(one: Values) -> list[str]:
    """What the seeds of a pair cannot tell, where that is not said yet, and why it may not be one to compare."""
    known = one["status"] == "one seed"
    made = [one.get("remark") if not known else "", one.get("said_of_seeds"), one.get("warning")]
    return [str(said) for said in made if said]


def _unknown(findings: Sequence[Values]) -> str:
    """All that was not measured in one line; families that lack the same are not told apart."""
    why: dict[str, dict[str, None]] = {}
    for one in findings:
        why.setdefault(one["answer"].rstrip("."), {})[one["claim"]] = None
    return (
        "not measured: "
        + "; ".join(f"{', '.join(claims)} ({reason[0].lower()}{reason[1:]})" for reason, claims in why.items())
        if why
        else ""
    )


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
