"""`plasticity report`: an experiment's folder in, one page out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import common


@common.guarded
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an experiment: --out of plasticity run.")],
    html: Annotated[
        Path | None, typer.Option(help="Write the page to this file. \\[default: DIR/report.html]", show_default=False)
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Turn an experiment, finished or not, into one self-contained HTML page; no model is run."""
    from plasticity import report as page
    from plasticity.experiment_results import write_summary
    from plasticity.report import summary_file
    from spectra.atomic import check_writable
    from spectra.errors import SpectraError

    folder = folder.expanduser()
    html = folder / "report.html" if html is None else html.expanduser()
    if not folder.is_dir():
        raise SpectraError(f"{folder} is not a folder. Name the folder that plasticity run --out made.")
    if html.exists() and html.suffix != ".html" and html.resolve().is_relative_to(folder.resolve()):
        raise SpectraError(f"--html {html} is a file of the experiment. Name another.")
    check_writable(html)
    if summary_file.is_stale(folder):
        write_summary(folder)
    page.write_html(folder, html)
    typer.echo(f"wrote {html}")
