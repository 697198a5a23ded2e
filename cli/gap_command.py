"""`plasticity gap`: options in, a table out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from . import common


@common.guarded
def gap(
    model: Annotated[
        str,
        typer.Option(
            help="A run of plasticity pretrain, or a checkpoint; with --train and --val also a hub id or .gguf."
        ),
    ],
    train: Annotated[
        Path | None, typer.Option(help="A file that it was trained on: .txt, .jsonl, .json, .parquet, .arrow.")
    ] = None,
    val: Annotated[Path | None, typer.Option(help="A file that it was not trained on, packed alike.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the result. \\[default: evaluations/CHECKPOINT/gap]", show_default=False),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Folder of another checkpoint's gap on the same corpus or files: compare both, window by window.",
            show_default=False,
        ),
    ] = None,
    windows: Annotated[int, typer.Option(help="Windows drawn from either side, all where there are fewer.")] = 1024,
    bins: Annotated[int, typer.Option(help="Of the training order: a gap for windows seen early to late.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the windows drawn and of the intervals.")] = 0,
    window: Annotated[
        int | None,
        typer.Option(
            help="With files: tokens a window. \\[default: the run's, else 1024 or what the model was made for]",
            show_default=False,
        ),
    ] = None,
    packing: Annotated[
        str | None,
        typer.Option(
            help="With files: pack, or document (one a window). \\[default: the run's, else pack]", show_default=False
        ),
    ] = None,
    text_field: Annotated[str, typer.Option(help="With files: the column with the text.")] = "text",
    txt_document: Annotated[
        str, typer.Option(help="With .txt files, what a document is: line, paragraph or file.")
    ] = "paragraph",
    batch_size: Annotated[
        int | None, typer.Option(help="Windows at once. \\[default: up to 64, by memory]", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32, bf16 or fp16; both sides alike. auto: fp32 on a CPU, bf16 on a GPU.")
    ] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Measure the train-val gap: loss on held-out windows minus loss on windows that the checkpoint was trained on."""
    from plasticity.gap import GapConfig, default_out
    from plasticity.gap import gap as measure

    from . import gap_terminal

    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    config = GapConfig(
        model=model, train=_text(train), val=_text(val), windows=windows, bins=bins, seed=seed, window=window,
        packing=packing, text_field=text_field, txt_document=txt_document, batch_size=batch_size, device=device,
        precision=precision,
    )  # fmt: skip
    folder = out.expanduser() if out is not None else None
    other = against.expanduser() if against is not None else None
    done = measure(config, folder, against=other, message=None if quiet else _say)
    gap_terminal.print_gap(done, folder or default_out(config, done.checkpoint["source"]))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser())


def _say(text: str) -> None:
    typer.echo(text, err=True)
