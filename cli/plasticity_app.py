"""`plasticity`: how well a base checkpoint learns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import common, gap_command, probe_command, rank_command, report_command, run_command

if TYPE_CHECKING:
    from alphadecay.config import Recipe

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root() -> None:
    """How well does a base checkpoint learn: pretrain, fine-tune, score, probe; grids of it, and their report. Start: README.md.

    Exit codes: 0 done; 1 done, but a cell of an experiment or of a study failed; 2 the input is wrong; 70 a bug; 130 interrupted.
    """


@app.command()
@common.guarded
def pretrain(
    recipe: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY=VALUE]...",
            help="A recipe (name, name:variant or YAML file; see plasticity recipes), then what to change in it: "
            "train.lr=1e-3, or lr=1e-3 where no other section has that key.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A shipped recipe by name, in place of RECIPE.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run: recipe.yaml, budget.json, checkpoints.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out (its recipe, unless one is named).")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print recipe, parameters and token budget; train and write nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Pretrain a model from a recipe. Under torchrun: one run, all processes; the first prints and writes."""
    from alphadecay import launch, runs
    from spectra.errors import SpectraError

    first = launch.is_first()
    if out is None and not dry_run:
        raise SpectraError(
            "--out is missing: name the folder that the run is written to (or --dry-run to see the budget)."
        )
    folder = out.expanduser() if out is not None else None
    if quiet or not first:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    chosen = _chosen(recipe or [], preset, folder if resume else None)
    if folder is not None and first:
        runs.check(folder, chosen, resume=resume)
    from alphadecay.budget import budget

    count = budget(chosen)
    if first:
        from . import recipe_terminal

        recipe_terminal.print_recipe(chosen)
        recipe_terminal.print_budget(chosen, count)
        sys.stdout.flush()
    if dry_run or folder is None:
        return
    if first:
        runs.begin(folder, chosen, count)
    _train(chosen, folder, resume=resume, message=None if quiet or not first else _say, first=first)


def _chosen(words: list[str], preset: str | None, resumed: Path | None) -> Recipe:
    """The recipe that RECIPE, --preset or the resumed run name, with every `key=value` applied."""
    from alphadecay import recipes, runs
    from spectra.errors import SpectraError

    named = [words[0]] if words and ("=" not in words[0] or Path(words[0]).is_file()) else []
    assignments = words[len(named) :]
    if named and preset is not None:
        raise SpectraError(f"Got RECIPE {named[0]!r} and --preset {preset!r}, expected one of them. Leave one out.")
    if preset is not None:
        name = preset
        if preset.partition(":")[0] not in recipes.names():
            raise SpectraError(f"--preset {preset!r}: no such recipe. {recipes.hint(preset)}")
    elif named:
        name = named[0]
    elif resumed is not None:
        return recipes.override(runs.recipe_of(resumed), assignments)
    else:
        raise SpectraError(
            "No recipe: name one (--preset tiny, or a YAML file); plasticity recipes lists the shipped ones."
        )
    return recipes.override(recipes.load(name), assignments)


def _train(recipe: Recipe, out: Path, *, resume: bool, message: Callable[[str], None] | None, first: bool) -> None:
    from alphadecay.train import train

    try:
        done = train(recipe, out, resume=resume, message=message)
    except KeyboardInterrupt:
        if first:
            typer.echo(f"what was saved is in {out}; plasticity pretrain --out {out} --resume goes on", err=True)
        raise
    if first:
        from . import recipe_terminal

        recipe_terminal.print_result(done)


def _say(text: str) -> None:
    typer.echo(text, err=True)


@app.command(name="recipes")
@common.guarded
def list_recipes(
    name: Annotated[
        str | None,
        typer.Argument(help="Show this one whole, as YAML: a name, name:variant or file.", show_default=False),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """List the shipped recipes, or show one: the YAML on stdout can be kept as a file and run."""
    from . import recipe_terminal

    if name is None:
        recipe_terminal.print_names()
    else:
        recipe_terminal.print_yaml(name)


@app.command()
@common.guarded
def study(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A study by name, or a YAML file.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; finished runs in it are not run again.")
    ] = None,
    part: Annotated[str | None, typer.Option(help="This part alone, such as adamw.")] = None,
    workers: Annotated[int, typer.Option(help="Processes, of one thread each.")] = 2,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write results.json and results.md of the runs in DIR; run nothing."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be run; run and write nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Compare decay policies over seeds. Stopped at any time, the same command goes on. Without NAME: list the studies."""
    from alphadecay import study as studies
    from spectra.errors import SpectraError

    from . import study_terminal

    if report is not None:
        if name is not None or out is not None or part is not None or dry_run:
            raise SpectraError("--report DIR reads that folder alone: leave NAME, --out, --part and --dry-run out.")
        study_terminal.write_report(report.expanduser())
        return
    if name is None:
        study_terminal.print_names()
        return
    whole = studies.load(name)
    chosen = studies.only(whole, part)
    study_terminal.print_plan(chosen)
    if dry_run:
        return
    if out is None:
        raise SpectraError("--out is missing: name the folder that the runs are written to (or --dry-run to see them).")
    from alphadecay import study_run

    folder = out.expanduser()
    study_run.begin(folder, whole)
    done = study_run.run(chosen, folder, workers=workers, say=(lambda _: None) if quiet else _say)
    typer.echo(f"{done.finished} runs done, {done.failed} failed")
    if done.failed:
        raise typer.Exit(1)


@app.command()
@common.guarded
def finetune(
    task: Annotated[str, typer.Option(help="What it is taught; see plasticity tasks.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: finetune.json, data.json, checkpoints.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="train.lr=1e-4, epochs=1, lora.rank=8, packing=true, ..."),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(help="table6 (1B and under), table6_4b, or a YAML file of yours; the task's settings go over it."),
    ] = "table6",
    model: Annotated[
        str | None,
        typer.Option(help="Base checkpoint: folder, hub id or .gguf. \\[default: HuggingFaceTB/SmolLM2-135M]"),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The task's rows: .jsonl, .json, .parquet, or a folder.")] = None,
    tasks_dir: Annotated[Path | None, typer.Option(help="Folder of your own tasks, a .py file each.")] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Random weights in the model's architecture: the control.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest whole checkpoint in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Fine-tune a base checkpoint on a task: --recipe (table 6 of the plasticity paper) unless the task or you say otherwise."""
    from alphadecay import launch
    from plasticity import finetune as tuning
    from plasticity.finetune_options import configure
    from plasticity.tasks import registry

    from . import finetune_terminal, recipe_terminal

    first = launch.is_first()
    given = {"task": task, "from_scratch": from_scratch} | {
        name: str(value)
        for name, value in (("model", model), ("data", data), ("tasks_dir", tasks_dir))
        if value is not None
    }
    own = registry.get(task, tasks_dir).training
    config = configure(given, changes or [], own, recipe)
    if first:
        finetune_terminal.print_config(config, recipe, own, asked=model is not None)
    folder = out.expanduser()
    try:
        done = tuning.finetune(config, folder, resume=resume, message=None if quiet or not first else _say)
    except KeyboardInterrupt:
        if first:
            typer.echo(finetune_terminal.interrupted(folder), err=True)
        raise
    if first:
        recipe_terminal.print_result(done)
        finetune_terminal.print_next(config, done)


@app.command()
@common.guarded
def evaluate(
    task: Annotated[str, typer.Option(help="What is asked: a task (see plasticity tasks), or lm-eval:NAME.")],
    model: Annotated[
        str | None, typer.Option(help="Checkpoint: folder, hub id or .gguf. \\[default: HuggingFaceTB/SmolLM2-135M]")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The test rows: .jsonl, .json, .parquet, or a folder.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result. \\[default: evaluations/MODEL/TASK]", show_default=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the evaluation in --out: what is there is not generated again.")
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Responses a question at --temperature, beside the greedy one. \\[default: 16, or 0 where no score of the task "
            "needs them]",
            show_default=False,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Of the samples; all tokens may be drawn (top_p 1, no top_k). \\[default: 1]"),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of a response. \\[default: 1024]")] = None,
    window: Annotated[
        int | None, typer.Option(help="Most tokens of prompt and response. \\[default: what the model was made for]")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Questions at most: a random sample, always the same (cloze: the first).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    profile: Annotated[
        str, typer.Option(help="default, or evolm: sampling, answers and majorities as the paper's authors' harness.")
    ] = "default",
    reward_model: Annotated[
        str | None, typer.Option(help="Sequence classifier for rm@k, orm_score and harmfulness: folder or hub id.")
    ] = None,
    reward_template: Annotated[
        str | None, typer.Option(help="How it reads: chat, human_assistant, or text with {question} and {response}.")
    ] = None,
    reward_logit: Annotated[
        int | None, typer.Option(help="Which of its outputs is the reward, from 0. \\[default: as its kind has it]")
    ] = None,
    engine: Annotated[str, typer.Option(help="hf: in this process; server: an OpenAI-compatible server.")] = "hf",
    base_url: Annotated[str | None, typer.Option(help="The server, such as http://localhost:8000.")] = None,
    served_model: Annotated[
        str | None, typer.Option(help="Its name at the server. \\[default: the only one it lists]", show_default=False)
    ] = None,
    send: Annotated[str, typer.Option(help="What a server is sent: text, or ids (vLLM, llama.cpp).")] = "text",
    concurrency: Annotated[int, typer.Option(help="Questions at once at a server.")] = 16,
    batch_size: Annotated[
        int | None, typer.Option(help="Most samples at once in this process (of a reward model texts, 16 at most).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32, bf16 or fp16. auto: fp32 on a CPU, bf16 on a GPU.")
    ] = "auto",
    tasks_dir: Annotated[
        Path | None, typer.Option(help="Folder of your own tasks, a .py file each (with lm-eval:NAME: its YAML files).")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Score a checkpoint on a task, with intervals: Greedy, Maj@k, Pass@k, Correct Ratio, RM@k, ORM score, or cloze accuracy."""
    from plasticity import evaluate as evaluating
    from plasticity.base_model import DEFAULT_MODEL
    from plasticity.evaluate_config import EvaluateConfig

    from . import evaluate_terminal

    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    config = EvaluateConfig(
        task=task, model=model or DEFAULT_MODEL, data=_text(data), tasks_dir=_text(tasks_dir), limit=limit, samples=samples,
        temperature=temperature, max_tokens=max_tokens, window=window, seed=seed, profile=profile, engine=engine,
        base_url=base_url, served_model=served_model, send=send, concurrency=concurrency, batch_size=batch_size,
        device=device, precision=precision, reward_model=reward_model, reward_template=reward_template,
        reward_logit=reward_logit,
    )  # fmt: skip
    if model is None and not quiet:
        _say(f"--model is not given: {DEFAULT_MODEL}")
    folder = out.expanduser() if out is not None else evaluating.default_out(config)
    try:
        done = evaluating.evaluate(config, folder, resume=resume, message=None if quiet else _say)
    except KeyboardInterrupt:
        typer.echo(f"what was generated is in {folder}; the same command with --resume goes on", err=True)
        raise
    evaluate_terminal.print_result(done, folder)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser())


@app.command()
@common.guarded
def tasks(
    name: Annotated[str | None, typer.Argument(metavar="[TASK]", help="Show this one.", show_default=False)] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Its data: .jsonl, .json, .parquet, or a folder of them named train and test. Rows are counted."
        ),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder or hub id of the tokenizer to show the example with.")
    ] = None,
    tasks_dir: Annotated[Path | None, typer.Option(help="Folder of your own tasks, a .py file each.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """List the tasks, or show one: where its data are from, how it is cleaned and scored, an example with its loss mask."""
    from plasticity.tasks import registry
    from spectra.errors import SpectraError

    from . import task_terminal

    if name is not None:
        task_terminal.show(registry.get(name, tasks_dir), data, tokenizer)
        return
    if data is not None or tokenizer is not None:
        raise SpectraError("--data and --tokenizer show one task: name it, as in plasticity tasks metamathqa.")
    task_terminal.print_names(registry.tasks(tasks_dir))


app.command()(run_command.run)
app.command()(gap_command.gap)
app.command()(probe_command.probe)
app.command()(report_command.report)
app.command()(rank_command.rank)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":  # torchrun -m spectra_cli.plasticity_app
    main()
