"""The base checkpoints of an experiment, those that it trains and those that are given, and the hash that each is addressed by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphadecay import recipes
from plasticity import experiment_content as content
from plasticity import experiment_recipes
from plasticity.experiment import Experiment, Given, Pretrain
from plasticity.experiment_paths import check
from plasticity.experiment_recipes import words
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from alphadecay.config import DataConfig, Recipe

_SAVED = "checkpoint-"


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base checkpoint: trained by `recipe`, or there already at `path`.

    Attributes:
        key: SHA-256 over all that decides it.
        architecture: over what it is with random weights: equal where one control is enough.
        windows: of a given checkpoint, what tells which training windows it saw; None: not known.
    """

    label: str
    axes: Mapping[str, Any]
    key: str
    recipe: Recipe | None = None
    path: str | None = None
    architecture: str = ""
    windows: Mapping[str, Any] | None = None

    @property
    def hub_id(self) -> str | None:
        """What is asked of the hub, where it is taken for an id."""
        return None if self.path is None or Path(self.path).exists() else self.path


def bases(experiment: Experiment, version: int) -> list[Base]:
    """The base checkpoints, those that are trained first; `version`: of the plan, part of every hash.

    Raises:
        SpectraError: a recipe or key is not known, something is missing, or two bases have one name.
    """
    corpora: dict[DataConfig, Any] = {}
    made = [base for grid in experiment.pretrain for base in _trained(experiment, grid, corpora, version)]
    made += [_given(name, given, version) for name, given in experiment.checkpoints.items()]
    labels = [base.label for base in made]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise SpectraError(
            f"Two bases of {experiment.name} are called {twice[0]!r}. Tell them apart by a variant or a key."
        )
    return made


def _trained(experiment: Experiment, grid: Pretrain, corpora: dict[DataConfig, Any], version: int) -> Iterator[Base]:
    recipe = experiment_recipes.pretraining(grid.recipe, experiment.recipes)
    for setting in grid.settings():
        changes = grid.changes(setting)
        changed = recipes.override(recipe, words(changes))
        axes = {"recipe": recipe.name, **changes, **setting}
        axes.pop("train.seed")
        label = " ".join([recipe.name, *(str(v) if k == "variant" else f"{k}={v}" for k, v in setting.items())])
        said = content.recipe(changed, corpora)
        yield Base(
            label=label, axes=axes, recipe=changed, key=content.address("base", version, {"recipe": said}),
            architecture=content.address("architecture", version, content.architecture(changed, said)),
        )  # fmt: skip


def _given(name: str, given: Given, version: int) -> Base:
    path = check(given.path, f"checkpoints.{name}.path")
    axes = dict(given.axes)
    if path is None:
        key = content.address("base", version, {"hub": given.path})
        return Base(label=name, axes=axes, path=given.path, key=key, architecture=key)
    _refuse_run(name, given.path, path)
    return Base(
        label=name, axes=axes, path=str(path), windows=_windows(path),
        key=content.address("base", version, {"content": content.checkpoint(path)}),
        architecture=content.address("architecture", version, {"content": content.checkpoint_architecture(path)}),
    )  # fmt: skip


def _refuse_run(name: str, written: str, path: Path) -> None:
    """Refuse a run's folder in place of a checkpoint in it.

    Raises:
        SpectraError: it is one.
    """
    if path.is_dir() and not (path / "config.json").exists() and not (path / "adapter_config.json").exists():
        numbered = {
            int(one.name[len(_SAVED) :]): one for one in path.glob(f"{_SAVED}*") if one.name[len(_SAVED) :].isdigit()
        }
        if numbered:
            raise SpectraError(
                f"checkpoints.{name}.path: {written} is a run, expected a checkpoint. Its newest is {numbered[max(numbered)]}."
            )


def _windows(path: Path) -> Mapping[str, Any] | None:
    """Which data a checkpoint of `plasticity pretrain` saw, in which order, up to which step, from the run's folder around it."""
    from plasticity.gap_run import run_of, step_of

    try:
        run = run_of(path) if path.is_dir() else None
        if run is None:
            return None
        return {"data": run.facts["fingerprint"], "order": run.facts["order"], "step": step_of(path)}
    except SpectraError:  # a fine-tuning run, or a damaged record: no windows to measure a gap on
        return None
