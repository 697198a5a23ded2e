"""`plasticity run`: an experiment's cells, run here, on a Ray cluster, or one by its number."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import common

if TYPE_CHECKING:
    from plasticity.experiment import Experiment
    from plasticity.experiment_estimate import Estimate
    from plasticity.experiment_plan import Cell


@common.guarded
def run(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[RECIPE]", help="An experiment by name, or a YAML file.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the experiment; done cells in it are not run again.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the experiment in --out; RECIPE need not be named again.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List the cells with an estimate of GPU time, memory and disk, with --out how each stands there; run and write "
            "nothing. Exit code 1: some cell would be refused.",
        ),
    ] = False,
    show: Annotated[
        bool,
        typer.Option(
            "--show", help="Print the YAML file of RECIPE, comments too: kept as mine.yaml, it can be edited."
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(help="Cells at once. \\[default: 1; on a cluster all it has room for]", show_default=False),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local: processes here; ray: a cluster that shares the folder.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Of the Ray cluster. \\[default: RAY_ADDRESS, or one on this machine]", show_default=False),
    ] = None,
    index: Annotated[
        int | None,
        typer.Option(help="Run this cell alone (and its base): a task of a Slurm array.", show_default=False),
    ] = None,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="Go on in --out although RECIPE has changed so that done cells drop out."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Run a grid of base checkpoints, tasks, settings and seeds. Stopped at any time, the same command goes on.

    Without RECIPE: list the shipped ones. Exit code 1: some cell failed, or (--dry-run) would be refused.
    """
    from plasticity import (
        experiment,
        experiment_estimate,
        experiment_plan,
        experiment_results,
        experiment_run,
    )
    from spectra.errors import SpectraError

    from . import run_terminal, summary_terminal

    if show:
        _show(name, dry_run or resume or changed or any(one is not None for one in (out, workers, address, index)))
        return
    folder = out.expanduser().resolve() if out is not None else None  # workers elsewhere have other working directories
    if name is None and not (resume and folder is not None):
        if folder is not None or resume or index is not None:
            raise SpectraError(
                "Name the experiment to run, or --resume --out DIR to go on with the one in that folder."
            )
        run_terminal.print_names()
        return
    chosen = experiment.load(name) if name is not None else experiment_run.experiment_of(folder or Path())
    cells = experiment_plan.cells(chosen)
    experiment_run.check_asked(cells, workers=workers, engine=engine, address=address, index=index)
    estimates = [experiment_estimate.estimate(chosen, cell) for cell in cells]
    asked = cells if index is None else experiment_run.needed(cells, index)
    keys = {cell.key for cell in asked}
    elsewhere = engine != "local" and chosen.resources.memory_gb is None  # of other nodes we know what the recipe says
    room = math.inf if elsewhere else None
    if dry_run:
        _print_dry(chosen, cells, estimates, folder, only=index, changed=changed)
        found = experiment_estimate.refused(chosen, cells, estimates, room)
        refused = {number: why for number, why in found.items() if cells[number].key in keys}
        run_terminal.print_refused(cells, refused)
        if refused:
            raise typer.Exit(1)
        return
    run_terminal.print_plan(chosen, cells, estimates)
    if folder is None:
        raise SpectraError("--out is missing: name the folder that cells are written to (or --dry-run to see them).")
    known = [cost for cell, cost in zip(cells, estimates, strict=True) if cell.key in keys]
    experiment_estimate.check_memory(chosen, asked, known, room)
    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    say = (lambda _: None) if quiet else _say
    experiment_run.begin(folder, chosen, cells=cells, changed=changed)
    try:
        if index is not None:
            record = experiment_run.run_one(chosen, cells, index, folder, say=say)
            run_terminal.print_one(record, folder)
            if record["status"] != "done":
                raise typer.Exit(1)
            return
        hours = {cell.key: cost.gpu_hours for cell, cost in zip(cells, estimates, strict=True) if cost.gpu_hours}
        done = experiment_run.run(
            chosen, cells, folder, workers=workers, engine=engine, address=address, hours=hours, say=say
        )
    except KeyboardInterrupt:
        typer.echo(f"what was done is in {folder}; the same command goes on", err=True)
        raise
    summary_terminal.print_summary(experiment_results.read_summary(experiment_results.write_summary(folder)))
    run_terminal.print_done(done, cells, folder)
    if done.failed or done.blocked:
        raise typer.Exit(1)


def _show(name: str | None, others: bool) -> None:
    """Print the file of an experiment.

    Raises:
        SpectraError: none is named, or `others`: options are given that would have no effect.
    """
    from spectra.errors import SpectraError

    from . import run_terminal

    if name is None or others:
        raise SpectraError(
            "--show prints a file and nothing else: name its RECIPE, and leave the other options out, as in plasticity run "
            "section_4 --show > mine.yaml."
        )
    run_terminal.print_yaml(name)


def _print_dry(
    chosen: Experiment, cells: Sequence[Cell], estimates: Sequence[Estimate], folder: Path | None, *, only: int | None,
    changed: bool,
) -> None:  # fmt: skip
    """What would be run, and what of it is done in `folder`.

    Raises:
        SpectraError: the folder is of another experiment, or done cells would drop out.
    """
    from plasticity import experiment_notes, experiment_run, experiment_state

    from . import run_terminal

    lost = experiment_run.check(folder, chosen, cells=cells, changed=changed) if folder is not None else []
    state = experiment_state.state_of(folder, cells) if folder is not None else None
    run_terminal.print_table(chosen, cells, estimates, state, only=only)
    run_terminal.print_plan(chosen, cells, estimates, titled=False)
    if state is not None and folder is not None:
        run_terminal.print_standing(cells, estimates, state, folder, lost)
    run_terminal.print_notes(experiment_notes.notes(chosen, cells))


def _say(text: str) -> None:
    typer.echo(text, err=True)
