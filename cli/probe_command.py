"""`plasticity probe`: options in, a result out; registered by `plasticity_app`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from . import common


@common.guarded
def probe(
    model: Annotated[
        str | None, typer.Option(help="Checkpoint: folder, hub id or .gguf. \\[default: HuggingFaceTB/SmolLM2-135M]")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="sst2, ag_news, corpus_kinds (no network); several with commas. \\[default: sst2,ag_news]"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Texts with labels: .jsonl, .json, .parquet, or a folder of them named train and test. With several tasks: a "
            "folder that has one named after each."
        ),
    ] = None,
    text_field: Annotated[str | None, typer.Option(help="Column of the texts in --data. \\[default: text]")] = None,
    label_field: Annotated[str | None, typer.Option(help="Column of the labels in --data. \\[default: label]")] = None,
    seeds: Annotated[
        str, typer.Option(help="How many, or which (4,5,6): each draws its training texts and validation split.")
    ] = "3",
    limit: Annotated[
        int, typer.Option(help="Most training texts a seed (validation included), and most test texts; 0: all.")
    ] = 5_000,
    c_grid: Annotated[
        str, typer.Option(help="Inverse regularisation strengths; the best in validation is taken.")
    ] = "0.0001,0.001,0.01,0.1,1,10",
    out: Annotated[
        Path | None, typer.Option(help="Folder of probe.json. \\[default: probes/MODEL/TASKS]", show_default=False)
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="Most tokens of a text, its last ones. \\[default: what the model was made for]")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Most texts at once.")] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32, bf16 or fp16. auto: fp32 on a CPU, bf16 on a GPU.")
    ] = "auto",
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Random weights in the model's architecture: the control.")
    ] = False,
    init_seed: Annotated[int, typer.Option(help="Of the random weights of --from-scratch.")] = 0,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder of embeddings, used again by later probes. \\[default: probes beside the token cache]"
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Linear probes at every layer: how much the representations of a checkpoint say of a text's class. Fine-tunes nothing."""
    from plasticity import probe as probing
    from plasticity.base_model import DEFAULT_MODEL
    from plasticity.probe_config import ProbeConfig
    from spectra.errors import SpectraError

    from . import probe_terminal

    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if init_seed and not from_scratch:
        raise SpectraError("--init-seed is of random weights: give --from-scratch with it.")
    config = ProbeConfig(
        model=model or DEFAULT_MODEL, tasks=_names(task or ""), data=_text(data), text_field=text_field,
        label_field=label_field, seeds=_seeds(seeds), limit=limit or None, c_grid=_numbers(c_grid), window=window,
        batch_size=batch_size, device=device, precision=precision, from_scratch=from_scratch, init_seed=init_seed,
        cache=_text(cache),
    )  # fmt: skip
    say = None if quiet else _say
    if model is None and say is not None:
        say(f"--model is not given: {DEFAULT_MODEL}")
    folder = out.expanduser() if out is not None else probing.default_out(config)
    try:
        done = probing.probe(config, folder, message=say)
    except KeyboardInterrupt:
        _say("what was extracted is in the cache; the same command goes on from there")
        raise
    probe_terminal.print_result(done, folder)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser())


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _seeds(text: str) -> tuple[int, ...]:
    """`3` -> 0, 1, 2; `4,5,6` -> these.

    Raises:
        SpectraError: no seed is asked for, or it is no whole number.
    """
    from spectra.errors import SpectraError

    found = common.integers(text.rstrip(","), "--seeds")
    if len(found) == 1 and "," not in text and found[0] < 1:
        raise SpectraError(
            f"--seeds {text}: expected how many, at least 1, or which, such as 4,5,6 (the seed 0 alone: 0,)."
        )
    return tuple(range(found[0])) if len(found) == 1 and "," not in text else tuple(found)


def _numbers(text: str) -> tuple[float, ...]:
    from spectra.errors import SpectraError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SpectraError(
            f"--c-grid {text!r}: expected numbers separated by commas, such as 0.001,0.01,0.1."
        ) from None
