"""Tasks for the terminal: the list, one task's header, one example with its loss mask, what came of loading. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from plasticity.tasks.base import Header, Task
    from plasticity.tasks.encoding import Encoded
    from plasticity.tasks.report import LoadReport

_WIDTH = 120
_MASKED, _COUNTED = ".", "#"


def print_names(tasks: Mapping[str, type[Task]]) -> None:
    """A line a task: name, kind, sizes, main score, what guessing gets, what it asks."""
    from plasticity.tasks import describe

    console = terminal.report_width(_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("task", "kind"):
        table.add_column(column, no_wrap=True)
    for column in ("train", "test", "guess"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("what")
    for name, task in tasks.items():
        header = task.header
        guess = header.baseline.get(header.scores[0])
        sizes = (describe.rows(header.train), describe.rows(header.test))
        table.add_row(name, header.kind, *sizes, f"{guess:.2f}" if guess is not None else "", header.title)
    console.print(table)
    console.print(
        Text(
            "\ntrain, test: rows upstream; guess: main score of guessing. plasticity tasks NAME shows one with an example."
        )
    )


def print_header(header: Header) -> None:
    """Everything that a header says."""
    from plasticity.tasks import describe

    console = terminal.report_width(_WIDTH)
    console.print(Text(f"{header.name} (version {header.version}, {header.kind}): {header.title}", style="bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label, text in describe.facts(header).items():
        table.add_row(Text(label), Text(text))
    console.print(table)


def print_example(encoded: Encoded, pieces: Sequence[str], *, source: str, tokenizer: str) -> None:
    """The tokens of an example, those that the loss counts marked below."""
    console = terminal.report_width(_WIDTH)
    prompt, response = len(encoded.prompt_ids), len(encoded.response_ids)
    console.print(Text(f"\none example ({source}), tokenised by {tokenizer}", style="bold"))
    console.print(
        Text(
            f"{_COUNTED * 3} counts in the loss: {response} tokens, the last is EOS; {_MASKED * 3} does not: {prompt} tokens"
        )
    )
    for text, marks in drawn(pieces, prompt, console.width):
        console.print()
        console.print(Text(text), no_wrap=True, overflow="crop")
        console.print(Text(marks, style="dim"), no_wrap=True, overflow="crop")


def drawn(pieces: Sequence[str], masked: int, width: int) -> list[tuple[str, str]]:
    """Lines of tokens, divided by `|`, and below each the mask: `.` for the first `masked` tokens, `#` for the others."""
    lines, text, marks = [], "", ""
    for index, piece in enumerate(pieces):
        shown = visible(piece)[: width - 1]
        if text and len(text) + len(shown) + 1 > width:
            lines.append((text, marks))
            text, marks = "", ""
        text += f"{shown}|"
        marks += (_MASKED if index < masked else _COUNTED) * len(shown) + " "
        if "\n" in piece:
            lines.append((text, marks))
            text, marks = "", ""
    return [*lines, *([(text, marks)] if text else [])]


def visible(piece: str) -> str:
    """A token with its spaces and line breaks made visible, and what could steer the terminal escaped."""
    plain = piece.replace(" ", "\u00b7").replace("\n", "\u23ce")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in plain) or "\u2205"


def print_report(report: LoadReport) -> None:
    """Rows read, kept, dropped and why."""
    console = terminal.report_width(_WIDTH)
    parts = "".join(f", {name} {count:,}" for name, count in report.parts.items())
    console.print(Text(f"\n{report.split}: {report.rows_read:,} rows read, {report.kept:,} kept{parts}", style="bold"))
    for reason, count in report.dropped.items():
        console.print(Text(f"  {count:,} dropped: {reason}"))
    if report.overlap is not None:
        console.print(Text(f"  {report.overlap:,} training questions were in the test split"))
    for remark in report.remarks:
        console.print(Text(f"  {remark}"))
    console.print(Text(f"  fingerprint {report.fingerprint[:16]}; from {', '.join(report.source)}"))


def show(task: Task, data: Path | None, tokenizer: str | None) -> None:
    """Header; report of `data`, if any; one example, tokenised."""
    from plasticity.tasks import showing

    found = showing.show(task, data, tokenizer)  # first: a failure should not follow half an answer
    print_header(task.header)
    for report in found.reports:
        print_report(report)
    if found.encoded is not None:
        print_example(found.encoded, found.pieces, source=found.source, tokenizer=found.tokenizer)
