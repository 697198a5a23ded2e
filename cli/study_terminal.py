"""Studies on the terminal: what will be run, and where the report is. Computes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from pathlib import Path

    from alphadecay.study import Study

_WIDTH = 120


def print_names() -> None:
    """A line a shipped study: name, number of runs, what it is."""
    from alphadecay import study, study_plan

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("study", no_wrap=True)
    table.add_column("runs", justify="right")
    table.add_column("what")
    for name in study.names():
        found = study.load(name)
        table.add_row(name, str(sum(study_plan.count(found))), found.description)
    terminal.report_width(_WIDTH).print(table)


def print_plan(study: Study) -> None:
    """Model size, steps and the number of runs of every part."""
    from alphadecay import study_plan
    from alphadecay.budget import budget
    from alphadecay.study import only

    console = terminal.report_width(_WIDTH)
    console.print(Text(study.name, style="bold"))
    console.print(Text(study.description))
    for part, held in study.parts.items():
        arm = study.reference
        recipe = study.resolved(part, arm, held.bases[arm][0], study.tuning_seed)
        count = budget(recipe)
        tuning, fresh = study_plan.count(only(study, part))
        steps = f"{count.steps:,} steps" if count.steps is not None else f"{recipe.train.epochs:g} epochs"
        console.print(Text(f"\n{part}: {tuning + fresh} runs of {steps}, {count.parameters:,} parameters"))
        for name, bases in held.bases.items():
            console.print(Text(f"  {name}: base {', '.join(f'{base:g}' for base in bases)}"))
        seeds = ", ".join(map(str, study.seeds))
        console.print(Text(f"  {tuning} choose the base (seed {study.tuning_seed}), {fresh} compare (seeds {seeds})"))


def write_report(folder: Path) -> None:
    """`results.json` and `results.md` beside the cells; the Markdown on stdout too."""
    from alphadecay import study_run

    written, text = study_run.report(folder)
    terminal.Output(soft_wrap=True).print(text, markup=False, highlight=False, end="", soft_wrap=True)
    terminal.print_written(written)
