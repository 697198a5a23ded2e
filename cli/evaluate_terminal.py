"""A task result as text for the terminal. Prints what is in the JSON; computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from plasticity.scores import ScoreValue
    from plasticity.task_result import TaskResult

_WIDTH = 120
_SOURCES = 3  # named; the JSON has all
_FINISH = {
    "stop": "ended",
    "length": "cut at the token limit",
    "window": "cut at the end of the context",
    "too_long": "not asked (prompt too long)",
}


def print_result(result: TaskResult, folder: Path) -> None:
    """What was scored, a line a score, what a reader must know of the responses, and where it all lies."""
    console = terminal.report_width(_WIDTH)
    version = f" version {result.task_version}" if result.task_version is not None else ""
    profile = f", profile {result.profile}" if result.profile != "default" else ""
    console.print(Text(f"{result.checkpoint['source']} on {result.task}{version}{profile}", style="bold"))
    trained = result.checkpoint.get("trained")
    if trained:
        console.print(Text(_trained(trained)))
        console.print(Text(_seen(trained.get("questions_seen"), result.n_questions)))
    console.print(_table(result))
    for line in _remarks(result):
        console.print(Text(line))
    terminal.print_written([folder / "result.json", *(folder / name for name in result.files)])


def _trained(trained: Mapping[str, Any]) -> str:
    start = " from random weights" if trained.get("from_scratch") else ""
    examples = trained.get("examples")
    count = f", {examples:,} examples" if isinstance(examples, int) else ""
    return f"fine-tuned{start} on {trained.get('task') or 'a task that it does not name'}{count}"


def _seen(seen: int | None, questions: int) -> str:
    if seen is None:
        return "overlap with the training rows was not checked"
    if not seen:
        return f"none of the {questions:,} questions was trained on"
    return f"WARNING: {seen:,} of {questions:,} questions {'was' if seen == 1 else 'were'} trained on"


def _table(result: TaskResult) -> Table:
    guesses = {name: value for name, value in result.baseline.items() if value is not None}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("score", no_wrap=True)
    for column in ("value", "95% interval", "questions", *(["guessing"] if guesses else [])):
        table.add_column(column, justify="right", no_wrap=True)
    for name, score in result.scores.items():
        table.add_row(name, *_cells(score), *([f"{guesses[name]:.4f}"] if name in guesses else []))
    for part, found in result.parts.items():
        for name, score in found.scores.items():
            table.add_row(f"  {part} {name}", *_cells(score))
    return table


def _cells(score: ScoreValue) -> tuple[str, str, str]:
    interval = "" if score.ci95 is None else f"{score.ci95[0]:.4f} to {score.ci95[1]:.4f}"
    return "-" if score.value is None else f"{score.value:.4f}", interval, f"{score.n:,}"


def _remarks(result: TaskResult) -> list[str]:
    lines = [
        f"not measured: {', '.join(name for name in result.missing if result.missing[name] == reason)}: {reason}"
        for reason in dict.fromkeys(result.missing.values())
    ]
    lines += [f"checkpoint: {remark}" for remark in result.checkpoint.get("remarks") or ()]
    for name, counts in result.counts.items():
        if "finish" not in counts:  # of a cloze task
            if counts["contexts_cut"]:
                window = result.settings["lm_eval"]["max_length"]
                lines.append(
                    f"{counts['contexts_cut']:,} of {counts['scored']:,} {name} are of contexts cut to fit into {window:,} tokens"
                )
            continue
        ends = [f"{count:,} {_FINISH.get(end, end)}" for end, count in counts["finish"].items()]
        lines.append(
            f"{name}: {counts['responses']:,} responses: {', '.join(ends)}; {counts['no_answer']:,} without an answer"
        )
        if counts.get("questions_too_long") and name == "greedy":  # of the samples they are the same ones
            effect = "have no score" if "harmfulness" in result.scores else "count as wrong"
            asked = f"{counts['questions_too_long']:,} of {result.n_questions:,} questions"
            lines.append(f"{asked} were not asked (prompt too long) and {effect}")
        if counts["undecided"]:
            lines.append(
                f"{name}: {counts['undecided']:,} comparisons of answers ran out of time and count as not equal"
            )
        if counts.get("new_turns"):
            lines.append(
                f"{name}: {counts['new_turns']:,} responses go on with a new turn, Human:, of their own; the answer of "
                f"{counts['answers_after_new_turn']:,} is from after it"
            )
        if counts.get("rewards_truncated"):
            lines.append(f"{name}: {counts['rewards_truncated']:,} responses were cut to fit the reward model")
        if counts.get("rewards_of_no_text"):
            lines.append(f"{name}: {counts['rewards_of_no_text']:,} responses without text got a reward like any other")
        for note, count in counts["notes"].items():
            lines.append(f"{name}: {count:,} questions noted as {note}")
    lines += _data(result.data)
    lines += [f"data: {remark}" for remark in result.data.get("remarks") or ()]
    return lines


def _data(data: Mapping[str, Any]) -> list[str]:
    """Which rows were scored, and why others were not."""
    if "kept" not in data or not data.get("source"):
        return []
    found = [data["source"]] if isinstance(data["source"], str) else list(data["source"])
    source = ", ".join(found[:_SOURCES]) + (f" and {len(found) - _SOURCES} more" if len(found) > _SOURCES else "")
    dropped = data.get("dropped") or {}
    if not dropped:
        return [f"data: {data['kept']:,} rows of {source}"]
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
    return [f"data: {data['rows_read']:,} rows of {source} read, {data['kept']:,} kept; {reasons}"]
