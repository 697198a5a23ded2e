"""Experiments on the terminal: the shipped ones, what will be run and what it costs, how it ended. Computes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from plasticity.experiment import Experiment
    from plasticity.experiment_estimate import Estimate
    from plasticity.experiment_plan import Cell
    from plasticity.experiment_run import Done
    from plasticity.experiment_state import State

_WIDTH = 120
_FILLS = 100_000_000  # parameters under which a GPU mostly waits for the next small piece of work


def print_names() -> None:
    """A line a shipped experiment: name, cells, what it is."""
    from plasticity import experiment, experiment_plan

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("experiment", no_wrap=True)
    table.add_column("cells", justify="right")
    table.add_column("what")
    for name in experiment.names():
        found = experiment.load(name)
        table.add_row(name, f"{len(experiment_plan.cells(found)):,}", found.description)
    console = terminal.report_width(_WIDTH)
    console.print(table)
    console.print(
        Text(
            "\nplasticity run NAME --dry-run lists the cells of one, with what they cost; plasticity run NAME --show > mine.yaml "
            "makes a copy to edit."
        )
    )


def print_yaml(name: str) -> None:
    """The file of an experiment as it stands, so that the output is an experiment."""
    from plasticity import experiment

    terminal.Output(soft_wrap=True).print(
        experiment.text_of(name), markup=False, highlight=False, end="", soft_wrap=True
    )


def print_table(
    experiment: Experiment, cells: Sequence[Cell], estimates: Sequence[Estimate], state: State | None, only: int | None
) -> None:
    """Every cell by its number, or that number `only`, with what it costs; with a `state`, how it stands."""
    _print_title(experiment)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cell", justify="right")
    table.add_column("what")
    for column in ("parameters", "tokens", "GPU time", "GB"):
        table.add_column(column, justify="right", no_wrap=True)
    if state is not None:
        table.add_column("stands", no_wrap=True)
    for number, (cell, cost) in enumerate(zip(cells, estimates, strict=True)):
        if only not in (None, number):
            continue
        stands = [_standing(cell, state)] if state is not None else []
        table.add_row(
            str(number), Text(cell.label), _count(cost.parameters), _count(cost.tokens), _time(cost.gpu_hours),
            _short(cost.memory_gb), *stands,
        )  # fmt: skip
    terminal.report_width(_WIDTH).print(table)


def print_plan(
    experiment: Experiment, cells: Sequence[Cell], estimates: Sequence[Estimate], *, titled: bool = True
) -> None:
    """Cells by kind, GPU time and memory of all."""
    from plasticity import experiment_estimate as costs

    console = terminal.report_width(_WIDTH)
    if titled:
        _print_title(experiment)
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(cell.kind for cell in cells).items())
    hours, unknown = costs.total(estimates)
    console.print(Text(f"{len(cells)} cells: {kinds}"))
    more = f"; {unknown} cells not counted (probes, spectra, and what is not on this machine)" if unknown else ""
    console.print(
        Text(
            f"about {_time(hours)} of GPU time (H100 at 40% of its peak in training, 5% in generation, {costs.TOKENS} tokens an "
            f"example){more}; largest cell {_short(max((cost.memory_gb or 0.0) for cost in estimates))} GB without activations"
        )
    )
    largest = max((cost.parameters or 0 for cost in estimates), default=0)
    if hours and largest < _FILLS:
        console.print(
            Text(
                f"models this small (up to {_count(largest)} parameters) do not fill a GPU: it will take many times these "
                f"{_time(hours)}, which count arithmetic alone"
            )
        )
    console.print(Text(_resources(experiment)))
    if taken := _disk(experiment, cells):
        console.print(Text(taken))


def _resources(experiment: Experiment) -> str:
    """What each cell is given (`resources`)."""
    needs = experiment.resources
    memory = f", {needs.memory_gb:g} GB" if needs.memory_gb is not None else ""
    return f"each cell: CPU threads {needs.threads}, GPUs {needs.gpus:g}{memory} (resources)"


def _disk(experiment: Experiment, cells: Sequence[Cell]) -> str:
    """Disk that checkpoints take; empty: none."""
    from plasticity.experiment_disk import disk

    found = disk(experiment, cells)
    if not (found.checkpoints or found.under_way_gb or found.unknown):
        return ""
    parts = [
        f"disk: about {_bytes(found.kept_gb)} for the {found.checkpoints} checkpoints that are kept, with their optimizer"
    ]
    if found.under_way_gb:
        parts.append(f"up to {_bytes(found.under_way_gb)} for each fine-tuning under way")
    if found.unknown:
        parts.append(f"not counted: checkpoints of {found.unknown} fine-tunings of models that are not on this machine")
    return "; ".join(parts)


def _print_title(experiment: Experiment) -> None:
    console = terminal.report_width(_WIDTH)
    console.print(Text(experiment.name, style="bold"))
    for line in (experiment.description, f"source: {experiment.source}" if experiment.source else ""):
        if line:
            console.print(Text(line))


def print_standing(
    cells: Sequence[Cell], estimates: Sequence[Estimate], state: State, folder: Path, lost: Sequence[str]
) -> None:
    """How many cells are done in a folder, and what the others cost."""
    from plasticity import experiment_estimate as costs

    counts = Counter(_standing(cell, state) for cell in cells)
    left = [cost for cell, cost in zip(cells, estimates, strict=True) if cell.key not in state.done]
    failed = f", {counts['failed']} failed (tried again)" if counts["failed"] else ""
    console = terminal.report_width(_WIDTH)
    console.print(
        Text(
            f"{counts['done']} of {len(cells)} cells done in {folder}{failed}; left: about {_time(costs.total(left)[0])}"
        )
    )
    if lost:
        console.print(Text(f"--changed: done cells that drop out of it: {len(lost)}, the first {lost[0]!r}"))


def _standing(cell: Cell, state: State) -> str:
    if cell.key in state.done:
        return "done"
    return "failed" if cell.key in state.failed_before else "to do"


def print_notes(notes: Sequence[str]) -> None:
    """What is worth knowing before it is run, a line each."""
    console = terminal.report_width(_WIDTH)
    for note in notes:
        console.print(Text(note))


def print_refused(cells: Sequence[Cell], refused: Mapping[int, str]) -> None:
    """Cells for which a run would be refused, by their numbers: the first of each reason, and how many more."""
    console = terminal.report_width(_WIDTH)
    for reason in dict.fromkeys(refused.values()):
        first, *alike = (cells[number].label for number, why in refused.items() if why == reason)
        more = f" ({len(alike)} more cells alike)" if alike else ""
        console.print(Text(f"a run is refused as it stands: Cell {first!r} {reason}{more}", style="bold"))


def print_done(done: Done, cells: Sequence[Cell], folder: Path) -> None:
    """How many cells are done, failed, waiting for a base that failed."""
    parts = [f"{done.finished} of {len(cells)} cells done"]
    parts += [f"{count} {word}" for count, word in ((done.failed, "failed"), (done.blocked, "blocked")) if count]
    terminal.report_width(_WIDTH).print(Text(f"{', '.join(parts)}, {done.seconds:.0f} s"))
    terminal.print_written([folder / "manifest.jsonl", folder / "summary.json"])


def print_one(record: Mapping[str, Any], folder: Path) -> None:
    """How one cell ended."""
    console = terminal.report_width(_WIDTH)
    if record["status"] == "done":
        console.print(
            Text(f"done: {record['label']}, {record['seconds']:.0f} s; report with: plasticity report {folder}")
        )
    else:
        console.print(Text(f"failed: {record['label']}: {record['reason']}"))


def _count(value: int | None) -> str:
    if value is None:
        return "?"
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:,}" if value else ""


def _time(hours: float | None) -> str:
    """GPU time in hours, below one in minutes or seconds."""
    if hours is None or hours >= 1:
        return "?" if hours is None else f"{_short(hours)} h"
    seconds = 3600 * hours
    if seconds >= 60:
        return f"{seconds / 60:.0f} min"
    return "0 s" if not seconds else f"{seconds:.1f} s" if seconds >= 0.1 else "< 0.1 s"


def _bytes(gigabytes: float) -> str:
    for size, unit in ((1e3, "TB"), (1.0, "GB")):
        if gigabytes >= size:
            return f"{gigabytes / size:.3g} {unit}"
    return f"{1e3 * gigabytes:.3g} MB"


def _short(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
