"""What `spectra analyze` does with one checkpoint: run, keep, write, print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from spectra.compare import Comparison
    from spectra.options import AnalysisOptions
    from spectra.track import Track
    from spectra.types import Analysis


@dataclass(frozen=True, kw_only=True)
class Files:
    """Where the result goes beside the terminal."""

    out: Path | None = None
    html: Path | None = None
    csv: Path | None = None
    parquet: Path | None = None

    def check(self, inputs: Sequence[str | None]) -> None:
        """Refuse files that cannot be written, that are inputs, or that several checkpoints would share; the last input: a base."""
        from spectra import results
        from spectra.errors import SpectraError

        named = results.targets(self.out, self.csv, self.parquet, self.html)
        if named and len(inputs) > 2:
            raise SpectraError(
                f"{named[0]} can hold the analysis of one checkpoint, got {len(inputs) - 1}. Analyse them one by one, or follow a "
                "run with spectra track."
            )
        results.check_targets(named, inputs)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is analysed: a checkpoint, the base a LoRA adapter is merged into, a config where it carries none."""

    checkpoint: str
    base: str | None
    config: Mapping[str, Any] | None


def run(source: Source, options: AnalysisOptions, files: Files, *, resume: bool, quiet: bool) -> Analysis:
    """Analyse, with progress on stderr; finished matrices are kept beside `--out` while it runs, and the JSON is written last."""
    from spectra import results
    from spectra.analysis import analyze
    from spectra.atomic import is_stream
    from spectra.journal import journal_path

    from . import progress

    journal = journal_path(files.out) if files.out is not None and not is_stream(files.out) else None
    with progress.ProgressBar(quiet) as listener:
        if journal is not None and journal.exists() and not resume:
            listener.message(f"{journal.name} of an interrupted run is overwritten (--resume would go on from it).")
        try:
            analysis = analyze(
                source.checkpoint, options=options, base=source.base, config=source.config, journal=journal, resume=resume,
                listener=listener,
            )  # fmt: skip
        except KeyboardInterrupt:
            if journal is not None:
                typer.echo(f"finished matrices are kept in {journal}; the same command with --resume goes on", err=True)
            raise
    if files.out is not None:
        results.write_json(analysis, files.out)
    if journal is not None:
        journal.unlink(missing_ok=True)
    return analysis


def show(analysis: Analysis, files: Files, *, full: bool) -> list[str]:
    """Write the other files and print; what fell short, for --strict."""
    from spectra import results, summary

    from . import terminal

    written = [files.out] if files.out is not None else []
    written += write_page(analysis, files.html)
    written += results.write_csv(analysis, files.csv) if files.csv is not None else []
    written += results.write_parquet(analysis, files.parquet) if files.parquet is not None else []
    if full:
        wide = terminal.report_width(200)
        terminal.print_full(analysis, wide)
        terminal.print_circuits(analysis, wide)
    terminal.print_summary(analysis, terminal.report_width(160))
    terminal.print_written(written)
    return summary.fell_short(analysis)


def write_page(found: Analysis | Comparison | Track, html: Path | None) -> list[Path]:
    """Write the HTML page of a result, where one is asked for."""
    if html is None:
        return []
    from spectra.report import write_html

    write_html(found, html)
    return [html]
