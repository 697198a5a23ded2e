"""The dotted keys that an experiment sets or varies: refused where its file is read, by their place and with the likely key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from alphadecay import fields, recipes
from plasticity import experiment_recipes
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.experiment import Experiment

_SYNONYMS = {
    "learning_rate": "train.lr", "max_lr": "train.lr", "weight_decay": "decay.base", "wd": "decay.base", "bs": "train.batch_size",
    "batch": "train.batch_size", "epoch": "train.epochs", "num_train_epochs": "train.epochs", "max_steps": "train.steps",
    "num_steps": "train.steps", "warmup_ratio": "train.warmup", "warmup_steps": "train.warmup",
}  # fmt: skip


def check(experiment: Experiment, where: str) -> None:
    """Refuse keys that do not exist, and values of a grid that stand there twice; `where` names the file.

    Raises:
        SpectraError: names the place, the key and the likely one; or the value.
    """
    from plasticity import finetune_options
    from plasticity.finetune_config import SECTIONS

    for grid in experiment.pretrain:
        recipe = experiment_recipes.pretraining(grid.recipe, experiment.recipes)
        known = [f"{name}.{key}" for name, cls in recipes.SECTIONS.items() for key in fields.names_of(cls)]
        places = {"set": grid.set, "grid": grid.grid} | {f"variants.{name}": one for name, one in grid.variants.items()}
        for place, changes in places.items():
            _check(f"{where}, pretrain.{place}", changes, known, partial(recipes.full_key, recipe))
        _check_values(f"{where}, pretrain.grid", grid.grid)
    tune = experiment.finetune
    known = [f"{name}.{key}" for name, cls in SECTIONS.items() for key in fields.names_of(cls)]
    for place, changes in {"set": tune.set, "grid": tune.grid}.items():
        _check(f"{where}, finetune.{place}", changes, known, finetune_options.place_of)
    _check_values(f"{where}, finetune.grid", tune.grid)


def _check(where: str, keys: Iterable[str], known: Sequence[str], find: Callable[[str], Any]) -> None:
    for key in keys:
        try:
            find(key)
        except SpectraError as error:
            likely = _likely(key, known)
            if "Unknown" not in str(error):  # it exists, and is ambiguous or without effect
                raise SpectraError(f"{where}.{key}: {error}") from None
            hint = f"Did you mean {likely!r}?" if likely else "docs/recipes.md says which keys there are."
            raise SpectraError(f"{where}.{key}: there is no such key. {hint}") from None


def _likely(key: str, known: Sequence[str]) -> str | None:
    """The full key that was probably meant."""
    name = key.rpartition(".")[2]
    if _SYNONYMS.get(name) in known:
        return _SYNONYMS[name]
    by_name = {one.rpartition(".")[2]: one for one in reversed(known)}
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.75) or [
        by_name[one] for one in difflib.get_close_matches(name, by_name, n=1, cutoff=0.6)
    ]
    return near[0] if near else None


def _check_values(where: str, grid: Mapping[str, Sequence[Any]]) -> None:
    for key, values in grid.items():
        for number, value in enumerate(values):
            if any(one == value and isinstance(one, bool) == isinstance(value, bool) for one in values[:number]):
                raise SpectraError(f"{where}.{key}: the value {value!r} stands there twice. Delete one.")
