"""The recipes that an experiment names, whole: written into it, so that an edited preset or another folder changes no cell.

`recipes` of an experiment: `pretrain` and `finetune`, each name -> values of the recipe under that name. An experiment that has
none yet (one that a user wrote) gets them when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from alphadecay import fields, recipes, strict_yaml
from plasticity import experiment_paths
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from alphadecay.config import Recipe

KINDS = ("pretrain", "finetune")
Whole = Mapping[str, Mapping[str, Mapping[str, Any]]]


def whole(pretrain: Iterable[str], finetune: Iterable[str], known: Mapping[str, Any], where: str) -> Whole:
    """The recipes of these names: those that are `known` as they stand there, the rest from their files.

    Raises:
        SpectraError: there is none of that name, or it is wrong; `where` names the experiment.
    """
    from plasticity.finetune_config import read_recipe

    fields.check_keys(known, KINDS, f"{where}, recipes")
    there = {kind: fields.mapping(known.get(kind) or {}, f"{where}, recipes.{kind}") for kind in KINDS}
    made: dict[str, dict[str, Mapping[str, Any]]] = {kind: {} for kind in KINDS}
    for name in dict.fromkeys(pretrain):
        values = there["pretrain"].get(name)
        found = fields.plain(recipes.load(name)) if values is None else fields.mapping(values, f"{where}, {name}")
        made["pretrain"][name] = {
            key: value for key, value in experiment_paths.in_recipe(found).items() if value is not None
        }
    for name in dict.fromkeys(finetune):
        values = there["finetune"].get(name)
        made["finetune"][name] = (
            read_recipe(name) if values is None else fields.mapping(values, f"{where}, recipes.finetune.{name}")
        )
    return made


def pretraining(name: str, known: Whole) -> Recipe:
    """A pretraining recipe of an experiment; from its file where the experiment was made without reading one."""
    values = known.get("pretrain", {}).get(name)
    return recipes.load(name) if values is None else recipes.from_yaml(strict_yaml.write(values), name, name)


def finetuning(name: str, known: Whole) -> Mapping[str, Any] | str:
    """Values of a fine-tuning recipe of an experiment, or its name."""
    return known.get("finetune", {}).get(name, name)


def with_sweep(recipe: str, sweep: str, grid: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> values, of a recipe's own sweep with `grid` over it.

    Raises:
        SpectraError: the recipe has no such sweep.
    """
    known = recipes.open_file(recipe).sweeps
    if sweep not in known:
        hint = fields.nearest(sweep, known) if known else "It has none."
        raise SpectraError(f"Recipe {recipe!r} has no sweep {sweep!r}. {hint}")
    return {**known[sweep], **grid}


def words(changes: Mapping[str, Any]) -> list[str]:
    """Dotted key -> value, as the `key=value` words of the command line."""
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in changes.items()]
