"""The folder of a run: which recipe it holds, whether a run may begin or go on there. Written before work starts.

`recipe.yaml` is the resolved recipe, `budget.json` its parameters, steps and tokens; both appear whole.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from spectra.atomic import make_folder, write_text
from spectra.errors import SpectraError

from . import recipes
from .config import Recipe

if TYPE_CHECKING:
    from .budget import Budget

RECIPE = "recipe.yaml"
BUDGET = "budget.json"


def holds_run(out: Path) -> bool:
    """Whether there is something to go on with in that folder, or to lose: a checkpoint, whole or not."""
    return any(out.glob("checkpoint-*"))


def recipe_of(out: Path) -> Recipe:
    """The recipe that the run in `out` began with.

    Raises:
        SpectraError: there is no run, or its recipe.yaml cannot be read.
    """
    path = out / RECIPE
    if not path.is_file():
        raise SpectraError(
            f"--resume: {out} holds no run (no {RECIPE}). Name its folder, or begin one without --resume."
        )
    return recipes.from_yaml(path.read_text(encoding="utf-8"), str(path), out.name)


def check(out: Path, recipe: Recipe, *, resume: bool) -> None:
    """Refuse to write over a run, and to go on with another recipe than the run began with.

    Raises:
        SpectraError: says which folder, or which keys differ, from what to what.
    """
    if out.exists() and not out.is_dir():
        raise SpectraError(f"--out {out} is a file, expected a folder. Name another.")
    if not resume:
        if holds_run(out):
            raise SpectraError(f"{out} already holds a run: go on with it (--resume), or name another folder.")
        return
    changed = recipes.differences(recipe_of(out), recipe)
    if changed and holds_run(out):
        raise SpectraError(
            f"--resume: the recipe is not the one that {out} began with ({'; '.join(changed)}). Leave the recipe as it was, "
            "or begin a new run in another folder."
        )


def begin(out: Path, recipe: Recipe, count: Budget) -> None:
    """Make the folder and write recipe and budget; those of a run with checkpoints stay as they are.

    Raises:
        SpectraError: the folder cannot be made or written to.
    """
    make_folder(out, "Choose another.")
    if not (out / RECIPE).exists() or not holds_run(out):
        write_text(out / BUDGET, json.dumps(asdict(count), indent=2) + "\n")
        write_text(out / RECIPE, recipes.to_yaml(recipe))
