"""A ranking as text for the terminal. Prints what is in the JSON; computes nothing. Candidates are letters, with a legend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plasticity.rank_result import RankResult, Signal
    from plasticity.stats_ranking import Agreement

    from .terminal import Output

_WIDTH = 120
_FIRST, _COLUMN = 25, 14  # widths of the signals' column and of a candidate's, spaces between them counted


def print_rank(result: RankResult, folder: Path) -> None:
    """What comes first and how sure that is; each signal with the ranking it gives; agreement with an experiment; remarks."""
    from plasticity.rank_result import NAME

    console = terminal.report_width(_WIDTH)
    names = _letters(result)
    console.print(Text(f"which base to fine-tune on {result.task}", style="bold"))
    for line in (_verdict(result, names), result.experience):
        if line:
            console.print(Text(line))
    console.print()
    for label, letter in names.items():
        _say(console, f"{letter}  {label}{_base(result, label)}")
    console.print()
    _signals(result, names, console)
    for line in _notes(result, names):
        console.print(Text(line))
    if result.agreement:
        console.print(Text(f"\nagreement with {result.experiment} in full", style="bold"))
        _agreement(result, names, console)
    for remark in result.remarks:
        console.print(Text(remark))
    terminal.print_written([folder / NAME])


def _letters(result: RankResult) -> dict[str, str]:
    """Candidate -> A, B, C, ..., in the order given."""
    return {label: _letter(number) for number, label in enumerate(result.signals[0].values)}


def _letter(number: int) -> str:
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def _base(result: RankResult, label: str) -> str:
    base = result.candidates.get(label, {}).get("base")
    return f"  ({base})" if base and base != label else ""


def _signals(result: RankResult, names: Mapping[str, str], console: Output) -> None:
    """A row a signal, `value (rank)`; a column a candidate, best first; as many tables as the width makes it."""
    order = result.combined.order
    many = max(1, (console.width - _FIRST) // _COLUMN)
    for at in range(0, len(order), many):
        console.print(_part(result, names, order[at : at + many]))


def _part(result: RankResult, names: Mapping[str, str], labels: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("signal", no_wrap=True)
    table.add_column("better", no_wrap=True)
    for label in labels:
        table.add_column(names[label], justify="right", no_wrap=True)
    for one in result.signals:
        table.add_row(one.name, one.better, *(_ranked(one, label) for label in labels))
    combined = result.combined
    table.add_row("mean rank", "lower", *(f"{combined.mean_rank[label]:.2f}" for label in labels))
    first = combined.first
    shares = ("-" if first is None else f"{100 * first[label]:.0f}%" for label in labels)
    table.add_row("first in draws", "higher", *shares)
    return table


def _verdict(result: RankResult, names: Mapping[str, str]) -> str:
    from plasticity.rank_words import told_nothing

    combined = result.combined
    top = combined.order[0]
    tied = [label for label in combined.order if combined.mean_rank[label] == combined.mean_rank[top]]
    if len(tied) > 1:
        return f"{', '.join(names[label] for label in tied)} come first alike: not settled."
    if result.short is None:
        return f"{names[top]} comes first; how sure that is cannot be said without a short fine-tuning."
    if combined.first is None or result.short.first is None:
        return f"{names[top]} comes first; how sure that is cannot be said: {told_nothing(result.short.values)}."
    sure = "settled, as far as questions go" if combined.settled else "not settled"
    return (
        f"{names[top]} comes first, in {100 * combined.first[top]:.0f}% of draws of questions, by the short fine-tuning alone in "
        f"{100 * result.short.first[top]:.0f}%: {sure}."
    )


def _notes(result: RankResult, names: Mapping[str, str]) -> list[str]:
    """What the table's ranks are made of."""
    from plasticity.rank_words import lacking

    combined = result.combined
    used = [one for one in result.signals if one.used]
    silent = [one.name for one in used if one.name not in combined.told]
    exact = [one.name for one in used if one.name in combined.told and one.exact]
    lines = [
        "(1), (2): rank; candidates that a signal does not show to differ share the mean of their ranks.",
        f"combined from {', '.join(combined.signals)}: {combined.method}",
    ]
    if silent:
        lines.append(f"no two candidates are shown to differ by {', '.join(silent)}")
    if exact:
        lines.append(f"any difference counts in {', '.join(exact)}: computed from the weights, without uncertainty")
    for one in (one for one in result.signals if not one.used):
        known = lacking(one.values, one.why) != one.remark  # another reason than that
        why = one.remark if known else lacking(one.values, one.why, names)
        lines += [f"{one.name} is not ranked by: {why}"]
    return lines


def _agreement(result: RankResult, names: Mapping[str, str], console: Output) -> None:
    found = result.agreement
    bases = {str(one["base"]): names[label] for label, one in result.candidates.items() if one.get("base")}
    for base in dict.fromkeys(one.top for one in found.values() if one.top is not None):
        if base not in bases:
            bases[base] = _letter(
                len(names) + len([letter for letter in bases.values() if letter not in names.values()])
            )
            _say(console, f"{bases[base]}  {base}")
    console.print(_agreements(found, bases))
    same = _span([one.n for one in found.values()], "d")
    chance = _span([one.regret_at_random for one in found.values()], ".3f")
    console.print(
        Text(
            f"over {same} bases; best: share of draws in which its first choice is best; lost: score lost by that choice (95% "
            f"interval); a choice at random loses {chance} on average"
        )
    )
    for line in _doubts(found):
        console.print(Text(line))


def _agreements(found: Mapping[str, Agreement], bases: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ranking by", no_wrap=True)
    for heading in ("tau", "leave one out", "first", "best", "lost", "95%"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, one in found.items():
        table.add_row(
            name, _number(one.kendall.value, "+.2f"), _interval(one.kendall.loo_range, "+.2f"),
            _first(one, bases),
            "-" if one.top_is_best is None else f"{100 * one.top_is_best:.0f}%",
            _number(one.regret.value, ".3f"), _interval(one.regret.ci95, ".3f"),
        )  # fmt: skip
    return table


def _first(one: Agreement, bases: Mapping[str, str]) -> str:
    return "-" if one.top is None else bases[one.top] + (" (tied)" if one.status == "tied" else "")


def _doubts(found: Mapping[str, Agreement]) -> list[str]:
    """What keeps these numbers from being sure, each sentence once, with the rankings that it is said of."""
    said: dict[str, dict[str, None]] = {}
    for name, one in found.items():
        for part in (one, one.kendall, one.regret):
            if part.status != "ok" and part.why:
                said.setdefault(part.why, {})[name] = None
    return [f"{', '.join(names)}: {why}" for why, names in said.items()]


def _ranked(one: Signal, label: str) -> str:
    """Value and rank; of a signal that is not ranked by the value alone."""
    value, place = one.values[label], one.ranks[label]
    if value is None or place is None:
        return "-"
    return f"{value:.4g} ({place:g})" if one.used else f"{value:.4g}"


def _span(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    least, most = format(min(known), form), format(max(known), form)
    return least if least == most else f"{least} to {most}"


def _interval(found: tuple[float, float] | None, form: str) -> str:
    return "-" if found is None else f"{found[0]:{form}} to {found[1]:{form}}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _say(console: Output, text: str) -> None:
    """One line, not wrapped: names and paths can be copied."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
