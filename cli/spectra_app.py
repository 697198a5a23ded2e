"""`spectra`: what the weight matrices of a checkpoint look like."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spectra import __version__

from . import common

if TYPE_CHECKING:
    pass

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"spectra-plasticity {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Spectra of checkpoints: power-law exponents, ranks, norms and attention circuits, beside what a random matrix gives.

    Exit codes: 0 done; 1 done, but --strict found something missing; 2 the input is wrong; 70 a bug; 130 interrupted.
    """


@app.command()
@common.guarded
def analyze(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="Folder, file (safetensors, .bin/.pt, .gguf), LoRA adapter, or hub id org/name[@revision]; several are "
            "analysed one after the other.",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Write everything to this JSON file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report: one self-contained page.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the tables as CSV.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write the tables as Parquet.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Matrices at a time on the CPU, one BLAS thread each; 0: all cores.")
    ] = 0,
    engine: Annotated[
        str, typer.Option(help="local (threads here) or ray (tasks on a Ray cluster; started here if there is none).")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster. \\[default: RAY_ADDRESS, this machine's, or a new one]")
    ] = None,
    fit: Annotated[
        str, typer.Option(help="Power-law fits, comma-separated: hill, gof, fix-finger.")
    ] = "hill,gof,fix-finger",
    profile: Annotated[
        str, typer.Option(help="Another tool's numbers: weightwatcher-0.7.7, alphadecay, farms (docs/profiles.md).")
    ] = "default",
    min_tail: Annotated[int, typer.Option(min=2, help="Least tail size of goodness-of-fit and fix-finger.")] = 2,
    two_sided: Annotated[
        bool, typer.Option("--two-sided", help="Two-sided KS distance instead of the left grid.")
    ] = False,
    include: Annotated[
        list[str] | None, typer.Option(help="Only matrices whose name matches this glob (repeatable).")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out matrices whose name matches (repeatable).")
    ] = None,
    no_circuits: Annotated[
        bool, typer.Option("--no-circuits", help="Skip the attention circuits W_QK and W_VP.")
    ] = False,
    summed_circuits: Annotated[
        bool, typer.Option("--summed-circuits", help="Circuits of all heads summed, too (d x d).")
    ] = False,
    no_null: Annotated[bool, typer.Option("--no-null", help="Skip the comparison with random matrices.")] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Likelihood ratios and bootstrap p-value (seconds a matrix).")
    ] = False,
    bootstrap: Annotated[int, typer.Option(min=1, help="Replicas of the bootstrap.")] = 100,
    base: Annotated[str | None, typer.Option(help="Checkpoint a LoRA adapter is merged into.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="config.json of the model, where the checkpoint has none beside it (head counts)."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of null draws and bootstrap.")] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a matrix was skipped or a fit failed.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from what an interrupted run left beside --out.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Print one line a matrix.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Analyse every weight matrix of a checkpoint, or of several."""
    from spectra import results
    from spectra.errors import SpectraError
    from spectra.options import AnalysisOptions
    from spectra.panel import FitOptions, parse_fits

    from . import analysing, memory

    files = analysing.Files(
        **{
            name: path.expanduser() if path is not None else None
            for name, path in (("out", out), ("html", html), ("csv", csv), ("parquet", parquet))
        }
    )
    if resume and out is None:
        raise SpectraError("--resume needs --out: finished matrices are kept beside the output file.")
    files.check((*checkpoints, base))
    given = results.read_object(config.expanduser()) if config is not None else None
    options = AnalysisOptions(
        fit=FitOptions(fits=parse_fits(fit), min_tail=min_tail, two_sided=two_sided),
        profile=profile,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        circuits=not no_circuits,
        summed_circuits=summed_circuits,
        null=not no_null,
        seed=seed,
        uncertainty=uncertainty,
        bootstrap=bootstrap,
        device=device,
        workers=workers,
        engine=engine,
        address=address,
    )
    memory.reuse_freed_memory()
    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    short = []
    for number, checkpoint in enumerate(checkpoints):
        if number:
            typer.echo()
        analysis = analysing.run(
            analysing.Source(checkpoint=checkpoint, base=base, config=given), options, files, resume=resume, quiet=quiet
        )
        short += analysing.show(analysis, files, full=full)
    if strict and short:
        typer.echo(f"--strict: {'; '.join(dict.fromkeys(short))}", err=True)
        raise typer.Exit(1)


@app.command()
@common.guarded
def report(
    result: Annotated[Path, typer.Argument(help="What `spectra analyze`, `compare` or `track` wrote with --out.")],
    html: Annotated[Path, typer.Option(help="Write the page to this file.")],
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Turn an analysis, a comparison or a track into one self-contained HTML page; no checkpoint is touched."""
    from spectra import reading, results
    from spectra.atomic import check_writable

    from . import analysing

    result, html = result.expanduser(), html.expanduser()
    results.targets(result, None, None, html)
    check_writable(html)
    analysing.write_page(reading.read_result(result), html)
    typer.echo(f"wrote {html}")


@app.command()
@common.guarded
def explain(
    metric: Annotated[str | None, typer.Argument(help="A column, such as alpha_hill; without it, all of them.")] = None,
) -> None:
    """Say what a number is: formula, unit, range, source, and when not to use it."""
    from . import terminal

    terminal.print_metrics(metric, terminal.Output())


@app.command()
@common.guarded
def compare(
    a: Annotated[str, typer.Argument(help="Checkpoint, or analysis.json of one.")],
    b: Annotated[str, typer.Argument(help="Checkpoint, or analysis.json of one.")],
    out: Annotated[Path | None, typer.Option(help="Write the comparison to this JSON file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the comparison as one self-contained page.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Matrices at a time, one BLAS thread each; 0: all cores.")] = 0,
    full: Annotated[bool, typer.Option("--full", help="Print one line a matrix.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """What changed from A to B: metrics, and between checkpoints the spectrum of every update B - A."""
    from spectra import comparing, results

    from . import analysing, memory, progress, terminal

    out, html = (path.expanduser() if path is not None else None for path in (out, html))
    results.check_targets(results.targets(out, None, None, html), (a, b))
    memory.reuse_freed_memory()
    with progress.ProgressBar(quiet) as listener:
        found = comparing.compare_paths(a, b, workers=workers, listener=listener)
    terminal.print_comparison(found, terminal.report_width(160), full=full)
    written: list[Path] = []
    if out is not None:
        comparing.write_comparison(found, out)
        written.append(out)
    terminal.print_written(written + analysing.write_page(found, html))


@app.command()
@common.guarded
def track(
    checkpoints: Annotated[
        list[str], typer.Argument(help="Checkpoints of one run (checkpoint-100/ ...), or their analysis.json.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write the trajectories to this JSON file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the trajectories as one self-contained page.")] = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Training steps, comma-separated, where neither trainer_state.json nor names tell."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps the analyses, so that none is made twice. \\[default: beside --out, named after it]"
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(help="Layers whose circuits are shown, comma-separated. \\[default: first, middle, last]"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Matrices at a time on the CPU; 0: all cores.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Follow a training run over its checkpoints: exponents, ranks, norms and circuits against the step."""
    from spectra import results, tracking
    from spectra.options import AnalysisOptions

    from . import analysing, memory, progress, terminal

    out, html = (path.expanduser() if path is not None else None for path in (out, html))
    results.check_targets(results.targets(out, None, None, html), checkpoints)
    folder = keep.expanduser() if keep is not None else out.with_suffix(".analyses") if out is not None else None
    memory.reuse_freed_memory()
    with progress.ProgressBar(quiet) as listener:
        found = tracking.track_paths(
            checkpoints,
            steps=common.integers(steps, "--steps") if steps is not None else None,
            keep=folder,
            options=AnalysisOptions(device=device, workers=workers),
            listener=listener,
        )
    shown = common.integers(layers, "--layers") if layers is not None else None
    terminal.print_track(found, shown, terminal.report_width(160))
    written: list[Path] = []
    if out is not None:
        tracking.write_track(found, out)
        written.append(out)
    terminal.print_written(written + analysing.write_page(found, html))


@app.command()
@common.guarded
def plot(
    source: Annotated[Path, typer.Argument(help="analysis.json, or the JSON of spectra track.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")],
    format: Annotated[str, typer.Option(help="pdf, svg or png.")] = "pdf",
    matrix: Annotated[
        list[str] | None, typer.Option(help="Draw the ESD of this matrix (repeatable). \\[default: one of each role]")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Figures for papers: ESDs with fits, alpha by layer and role, heat map, circuits, norms; trajectories of a track."""
    from spectra import figures, results, tracking

    from . import terminal

    source, folder = source.expanduser(), out.expanduser()
    if "steps" in results.read_object(source):
        written = figures.draw_track(tracking.read_track(source), folder, format)
    else:
        written = figures.draw_analysis(results.read_json(source), folder, format, tuple(matrix or ()))
    terminal.print_written(written)


def main() -> None:
    """Entry point."""
    app()
