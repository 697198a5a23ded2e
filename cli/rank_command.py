"""`plasticity rank`: options in, a table out."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from . import common


@common.guarded
def rank(
    models: Annotated[
        list[str], typer.Argument(metavar="A B ...", help="Base checkpoints; with --experiment its bases by name, too.")
    ],
    task: Annotated[str, typer.Option(help="What the chosen one is to be fine-tuned on; see plasticity tasks.")],
    budget: Annotated[
        float, typer.Option(help="Share of the fine-tuning steps that each candidate gets; 0: no fine-tuning.")
    ] = 0.05,
    limit: Annotated[int, typer.Option(help="Questions at most on which it is then scored, greedily.")] = 200,
    experiment: Annotated[
        Path | None,
        typer.Option(
            help="Folder of plasticity run with this task: how well each signal's ranking agreed with its scores.",
            show_default=False,
        ),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(
            help="A probe task; may be given several times; none: no probes. \\[default: corpus_kinds]",
            show_default=False,
        ),
    ] = None,
    probe_limit: Annotated[int, typer.Option(help="Texts a probe task and seed at most.")] = 2000,
    data: Annotated[Path | None, typer.Option(help="The task's rows: .jsonl, .json, .parquet, or a folder.")] = None,
    tasks_dir: Annotated[Path | None, typer.Option(help="Folder of your own tasks, a .py file each.")] = None,
    recipe: Annotated[
        str, typer.Option(help="Of the fine-tuning: table6, table6_4b, or a YAML file of yours.")
    ] = "table6",
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change it, such as train.lr=1e-4; may be given several times."
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of a response.")] = 1024,
    reward_model: Annotated[
        str | None, typer.Option(help="What judges the responses of a task of safety.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the fine-tuning, and of the draws of questions.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the result; an interrupted ranking in it goes on. \\[default: evaluations/rank-TASK-HASH, by "
            "candidates and settings]",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Say which base to fine-tune on a task, from cheap signals: probes, spectra, gap, loss, a short fine-tuning."""
    from plasticity import rank_folder
    from plasticity.rank import RankConfig
    from plasticity.rank import rank as measure

    from . import rank_terminal

    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    probes = ("corpus_kinds",) if probe is None else tuple(name for name in probe if name != "none")
    config = RankConfig(
        models=tuple(models), task=task, budget=budget, limit=limit, probes=probes, probe_limit=probe_limit,
        data=_text(data), tasks_dir=_text(tasks_dir), recipe=recipe, changes=tuple(changes or ()), max_tokens=max_tokens,
        reward_model=reward_model, seed=seed,
    )  # fmt: skip
    folder = out.expanduser() if out is not None else rank_folder.default_out(task, dataclasses.asdict(config))
    known = experiment.expanduser() if experiment is not None else None
    done = measure(config, folder, experiment=known, message=None if quiet else _say)
    rank_terminal.print_rank(done, folder)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser())


def _say(text: str) -> None:
    typer.echo(text, err=True)
