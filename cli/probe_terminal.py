"""A probe result as text for the terminal. Prints what is in the JSON; computes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from plasticity.probe_result import Layer, ProbeResult, TaskProbe

_WIDTH = 120


def print_result(result: ProbeResult, folder: Path) -> None:
    """A table a task, what a reader must know of it, the averages, and where it all lies."""
    console = terminal.report_width(_WIDTH)
    seed = result.checkpoint.get("random_weights")
    weights = "" if seed is None else f", random weights (seed {seed})"
    console.print(Text(f"{result.checkpoint['source']}{weights}", style="bold"))
    for task in result.tasks:
        console.print(Text(_head(task, len(result.seeds))))
        console.print(_table(task))
        for line in _remarks(task, result):
            console.print(Text(line))
    paper = result.profiles.get("paper")
    if paper:
        best = result.profiles["default"]["value"]
        console.print(
            Text(
                f"{len(result.tasks)} tasks: {best:.4f} mean of the best layers (chosen on validation); {paper['value']:.4f} "
                f"highest mean of one layer, {paper['layer']} (profile paper: chosen on the test texts)"
            )
        )
    terminal.print_written([folder / "probe.json"])


def _head(task: TaskProbe, seeds: int) -> str:
    return (
        f"{task.task}: {len(task.classes)} classes; {task.n_train:,} training and {task.n_validation:,} validation texts a seed, "
        f"{seeds} seed{'s' if seeds != 1 else ''}; {task.n_test:,} test texts"
    )


def _table(task: TaskProbe) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("layer", "train", "validation", "test", "sd", "95% interval", "C"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for layer in task.layers:
        table.add_row(*_cells(layer), "best" if layer.layer == task.best_layer.layer else "")
    return table


def _cells(layer: Layer) -> tuple[str, ...]:
    low, high = layer.test_accuracy_ci95
    return (
        str(layer.layer), f"{layer.train_accuracy:.4f}", f"{layer.validation_accuracy:.4f}", f"{layer.test_accuracy:.4f}",
        "-" if layer.test_accuracy_sd is None else f"{layer.test_accuracy_sd:.4f}", f"{low:.4f} to {high:.4f}",
        " ".join(f"{c:g}" for c in dict.fromkeys(layer.c)),
    )  # fmt: skip


def _remarks(task: TaskProbe, result: ProbeResult) -> list[str]:
    best, counts = task.best_layer, task.counts
    lines = [
        f"best layer {best.layer} (chosen on validation): test accuracy {best.test_accuracy:.4f}; always {task.majority_class}: "
        f"{task.majority:.4f}"
    ]
    if counts["not_converged"]:
        lines.append(
            f"{counts['not_converged']:,} of {counts['probes']:,} probes did not converge in {result.settings['max_iter']:,} "
            f"steps; layers with one among the chosen: {', '.join(str(x.layer) for x in task.layers if x.status != 'ok') or 'none'}"
        )
    if counts["c_at_edge"]:
        lines.append(f"{counts['c_at_edge']} of {counts['chosen']} chosen C are at an end of the grid: widen --c-grid")
    if counts["truncated"]:
        lines.append(
            f"{counts['truncated']:,} texts are longer than {result.settings['window']:,} tokens: their ends were read"
        )
    for split in ("train", "test"):
        report = task.data[split]
        if report["dropped"]:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in report["dropped"].items())
            lines.append(f"{split}: {report['rows_read']:,} rows read, {report['kept']:,} kept; {reasons}")
    return lines + [f"data: {remark}" for remark in task.data["remarks"]]
