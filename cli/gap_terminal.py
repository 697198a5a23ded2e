"""A train-val gap as text for the terminal. Prints what is in the JSON; computes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plasticity.gap_result import Bin, GapResult, Interval

_WIDTH = 120


def print_gap(result: GapResult, folder: Path) -> None:
    """Losses and gap, what the checkpoint had seen, the gap along the training order, remarks, where it all lies."""
    from plasticity.gap_result import NAME

    console = terminal.report_width(_WIDTH)
    console.print(Text(f"{result.checkpoint['source']}, train-val gap (nats a token)", style="bold"))
    if result.seen is not None:
        console.print(Text(_seen(result)))
    console.print(_sides(result))
    interval = f", 95% {_interval(result.ci95)} over documents" if result.ci95 is not None else ""
    console.print(Text(f"gap {result.gap:+.4f}{interval}"))
    if result.bins:
        console.print(_bins(result.bins))
    if result.recency is not None:
        found = result.recency
        interval = f", 95% {_interval(found.ci95)}" if found.ci95 is not None else ""
        console.print(
            Text(f"loss on the older half of training minus the newer half {found.difference:+.4f}{interval}")
        )
    if result.against is not None:
        console.print(Text(_against(result.against)))
    for remark in result.remarks:
        console.print(Text(remark))
    terminal.print_written([folder / NAME, *(folder / name for name in result.files)])


def _against(found: Mapping[str, Any]) -> str:
    interval = f", 95% {_interval(found['ci95'])}" if found["ci95"] is not None else ""
    return (
        f"gap minus that of {found['folder']}, paired on {found['train_windows']:,} training and {found['val_windows']:,} "
        f"validation windows: {found['difference']:+.4f}{interval}"
    )


def _seen(result: GapResult) -> str:
    assert result.seen is not None
    seen = result.seen
    times = ", ".join(f"{count:,} {_often(int(often))}" for often, count in seen["times"].items())
    return f"step {seen['steps']:,}: {seen['windows']:,} training windows seen ({times}), {seen['epochs']:.2f} epochs"


def _often(times: int) -> str:
    return {1: "once", 2: "twice"}.get(times, f"{times} times")


def _sides(result: GapResult) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for column in ("loss", "windows", "of", "tokens", "documents"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, side in (("training", result.train), ("validation", result.val)):
        counts = (side.windows, side.windows_available, side.tokens, side.documents)
        table.add_row(name, f"{side.loss:.4f}", *(f"{count:,}" for count in counts))
    return table


def _bins(bins: tuple[Bin, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("last seen in steps", "windows", "loss", "gap", "95% interval"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in bins:
        loss, gap = (
            "-" if value is None else format(value, form)
            for value, form in ((one.train_loss, ".4f"), (one.gap, "+.4f"))
        )
        table.add_row(f"{one.first_step:,} to {one.last_step:,}", f"{one.windows:,}", loss, gap, _interval(one.ci95))
    return table


def _interval(found: Interval) -> str:
    return "" if found is None else f"{found[0]:+.4f} to {found[1]:+.4f}"
