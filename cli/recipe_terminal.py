"""Recipes, budgets and finished runs as text for the terminal. Computes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from . import terminal

if TYPE_CHECKING:
    from alphadecay.budget import Budget
    from alphadecay.config import Recipe
    from alphadecay.train import TrainResult

_WIDTH = 120


def _brief(value: object) -> str:
    """A value on one line, as YAML would have it."""
    if isinstance(value, str) and value == value.strip() and value.isprintable():
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{', '.join(_brief(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_brief(item)}' for key, item in value.items())}}}"
    return json.dumps(value)


def large(number: float) -> str:
    """1310720000 -> 1.31B: three digits and a unit."""
    for unit, size in (("", 1.0), ("K", 1e3), ("M", 1e6), ("B", 1e9)):
        if number < 999.5 * size:
            return f"{number / size:.3g}{unit}"
    return f"{number / 1e12:,.3g}T"


def _rows(rows: Mapping[str, str]) -> None:
    """Label and text, the text wrapped beside its label."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label, text in rows.items():
        table.add_row(Text(label), Text(text))
    terminal.report_width(_WIDTH).print(table)


def print_recipe(recipe: Recipe) -> None:
    """The resolved recipe, a paragraph a section; keys that are not set are left out."""
    from alphadecay import fields, recipes

    console = terminal.report_width(_WIDTH)
    console.print(Text(recipe.name, style="bold"))
    for line in (recipe.description, f"source: {recipe.source}" if recipe.source else ""):
        if line:
            console.print(Text(line))
    plain = fields.plain(recipe)
    rows = {}
    for section in recipes.SECTIONS:
        values = dict(plain[section] or {})
        values |= values.pop("settings", {})
        shown = [f"{key}={_brief(value)}" for key, value in values.items() if value is not None and value != []]
        if shown:
            rows[section] = "  ".join(shown)
    console.print()
    _rows(rows)


def print_budget(recipe: Recipe, count: Budget) -> None:
    """Parameters, steps and tokens."""
    vocabulary = f", vocabulary {count.vocabulary:,}" if count.vocabulary is not None else ""
    rows = {
        "parameters": f"{large(count.parameters)} ({count.parameters:,}; {count.non_embedding_parameters:,} without "
        f"embeddings{vocabulary})"
    }
    what = "images"
    if recipe.data is not None:
        what = f"windows x {recipe.data.window:,} tokens = {count.tokens_per_step:,} tokens a step"
    steps = (
        f"{count.steps:,}"
        if count.steps is not None
        else f"{recipe.train.epochs:g} epochs (steps: once the data is read)"
    )
    rows["steps"] = f"{steps} of {count.batch_size:,} {what}"
    if count.tokens is not None and count.tokens_per_parameter is not None:
        padded = recipe.data is not None and recipe.data.packing == "document"
        rows["tokens"] = (
            f"{large(count.tokens)} ({count.tokens:,}), {count.tokens_per_parameter:.3g} a parameter"
            f"{'; the padding of short documents is counted' if padded else ''}"
        )
    terminal.report_width(_WIDTH).print()
    _rows(rows)


def print_result(done: TrainResult) -> None:
    """Where the weights are, and the last losses."""
    losses = {"train loss": done.train_loss, "eval loss": done.eval_loss}
    parts = [f"{done.steps:,} steps in {done.seconds:.1f} s"]
    parts += [f"{name} {loss:.4f}" for name, loss in losses.items() if loss is not None]
    terminal.report_width(_WIDTH).print()
    terminal.report_width(_WIDTH).print(Text(", ".join(parts)))
    terminal.print_written([done.checkpoint] if done.checkpoint.is_dir() else [])


def print_names() -> None:
    """A line a shipped recipe: name, how many variants, what it is and, where there is room, its source."""
    from alphadecay import recipes

    console = terminal.report_width(_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("recipe", no_wrap=True)
    table.add_column("variants", justify="right")
    table.add_column("what")
    roomy = console.width >= _WIDTH
    if roomy:
        table.add_column("source")
    for name in recipes.names():
        found = recipes.open_file(name)
        cells = [name, str(len(found.variants) or ""), found.recipe.description]
        table.add_row(*cells, *([found.recipe.source] if roomy else []))
    console.print(table)
    console.print(
        Text("\nplasticity recipes NAME shows one, with its variants and sweeps; NAME:VARIANT names one of these.")
    )


def print_yaml(name: str) -> None:
    """The recipe whole; variants and sweeps follow as comments, so that the output is a recipe.

    Raises:
        SpectraError: there is none of that name; where it is an experiment's, says how to see that.
    """
    from alphadecay import recipes

    if name not in recipes.names():
        _check_kind(name)
    text = recipes.to_yaml(recipes.load(name))
    opened = recipes.open_file(name)
    if opened.recipe.name == recipes.load(name).name:
        for title, group in (("variants", opened.variants), ("sweeps", opened.sweeps)):
            if group:
                lines = [f"#   {label}: {_brief(values)}" for label, values in group.items()]
                text += "\n".join([f"# {title}:", *lines]) + "\n"
    terminal.Output(soft_wrap=True).print(text, markup=False, highlight=False, end="", soft_wrap=True)


def _check_kind(name: str) -> None:
    from plasticity import experiment
    from spectra.errors import SpectraError

    if name in experiment.names():
        raise SpectraError(
            f"{name!r} is an experiment, no recipe of pretraining: plasticity run {name} --show prints its file, plasticity run "
            f"{name} --dry-run lists its cells."
        )
