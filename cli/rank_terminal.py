"""A ranking as text for the terminal. Prints what is in the JSON; computes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plasticity.rank_result import RankResult
    from plasticity.stats_ranking import Agreement

_WIDTH = 120


def print_rank(result: RankResult, folder: Path) -> None:
    """Each signal beside the ranking it gives, the combined ranking with its certainty, agreement, remarks."""
    from plasticity.rank_result import NAME

    console = terminal.report_width(_WIDTH)
    combined = result.combined
    console.print(Text(f"which base to fine-tune on {result.task}: candidates by mean rank", style="bold"))
    console.print(_candidates(result))
    console.print(Text(f"combined from {', '.join(combined.signals)}; {combined.method}"))
    console.print(Text(_verdict(result)))
    for one in result.signals:
        if not one.used:
            console.print(Text(f"{one.name} is not ranked by: {one.remark}"))
    if result.agreement:
        console.print(Text(f"\nagreement with {result.experiment} in full", style="bold"))
        console.print(_agreement(result.agreement))
        for line in _doubts(result.agreement):
            console.print(Text(line))
    for remark in result.remarks:
        console.print(Text(remark))
    terminal.print_written([folder / NAME])


def _candidates(result: RankResult) -> Table:
    """A row a candidate, best first; a column a signal, `value (rank)`."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("candidate", overflow="fold")
    for one in result.signals:
        table.add_column(Text(f"{one.name}\n({one.better} is better)"), justify="right")
    table.add_column("mean rank", justify="right")
    table.add_column("first in draws", justify="right")
    first = result.combined.first
    for label in result.combined.order:
        cells = [_ranked(one.values[label], one.ranks[label]) for one in result.signals]
        share = "-" if first is None else f"{100 * first[label]:.0f}%"
        table.add_row(Text(label), *cells, f"{result.combined.mean_rank[label]:.2f}", share)
    return table


def _verdict(result: RankResult) -> str:
    combined = result.combined
    top = combined.order[0]
    tied = [label for label in combined.order if combined.mean_rank[label] == combined.mean_rank[top]]
    if len(tied) > 1:
        return f"{', '.join(tied)} come first alike: not settled."
    if combined.first is None:
        return f"{top} comes first; how sure that is cannot be said without a short fine-tuning."
    alone = "" if result.short is None else f", by the short fine-tuning alone in {100 * result.short.first[top]:.0f}%"
    sure = "settled, as far as questions go" if combined.settled else "not settled"
    return f"{top} comes first, in {100 * combined.first[top]:.0f}% of draws of questions{alone}: {sure}."


def _agreement(found: Mapping[str, Agreement]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ranking by", no_wrap=True)
    table.add_column("bases", justify="right")
    table.add_column("Kendall tau", justify="right")
    table.add_column("leave one out", justify="right", no_wrap=True)
    table.add_column("puts first", overflow="fold")
    table.add_column("is best in", justify="right")
    table.add_column("score lost by it (95%)", justify="right")
    table.add_column("at random", justify="right")
    for name, one in found.items():
        loo, regret = one.kendall.loo_range, one.regret
        table.add_row(
            name, str(one.n), _number(one.kendall.value, "+.2f"),
            "-" if loo is None else f"{loo[0]:+.2f} to {loo[1]:+.2f}", Text(one.top or "-"),
            "-" if one.top_is_best is None else f"{100 * one.top_is_best:.0f}% of draws",
            _number(regret.value, ".3f") + ("" if regret.ci95 is None else f" ({regret.ci95[0]:.3f} to {regret.ci95[1]:.3f})"),
            _number(one.regret_at_random, ".3f"),
        )  # fmt: skip
    return table


def _doubts(found: Mapping[str, Agreement]) -> list[str]:
    """What keeps these numbers from being sure, each sentence once, with the rankings that it is said of."""
    said: dict[str, dict[str, None]] = {}
    for name, one in found.items():
        for part in (one, one.kendall, one.regret):
            if part.status != "ok" and part.why:
                said.setdefault(part.why, {})[name] = None
    return [f"{', '.join(names)}: {why}" for why, names in said.items()]


def _ranked(value: float | None, place: float | None) -> str:
    return "-" if value is None or place is None else f"{value:.4g} ({place:g})"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
