"""The cells of an experiment, and their addresses: each a hash of all that decides its result. Nothing is run here.

A `base` cell trains (or finds) a base checkpoint; `before`, `probe`, `gap` and `spectra` measure it; a `tune` cell fine-tunes
it and scores what comes out. Bases come first, then what measures them, then fine-tuning: numbers of a Slurm array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from alphadecay import fields
from plasticity import experiment_checkpoints, experiment_content, experiment_recipes
from plasticity.experiment import AXIS, Experiment, TaskData
from plasticity.experiment_checkpoints import Base
from plasticity.experiment_evaluation import Evaluation, evaluation, task_of
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.finetune import FinetuneConfig

__all__ = ["SCRATCH", "VERSION", "Base", "Cell", "Kind", "bases", "cells", "tuning"]

Kind = Literal["base", "before", "tune", "probe", "gap", "spectra"]
VERSION = 2  # raise when the same experiment would give other numbers
SCRATCH = "from scratch"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One piece of work whose result is one folder.

    Attributes:
        base: the checkpoint that it is about.
        task: of `before` and `tune`; of `probe` all its tasks.
        axes: what distinguishes it from the other cells of its kind: those of its base, and of fine-tuning.
        seed: of fine-tuning.
        config: what it is told, as plain data.
        key: SHA-256 over all that decides the result: contents where `config` has places.
        needs: key of the cell that must be done before; empty: none.
    """

    kind: Kind
    base: Base
    task: str = ""
    axes: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    key: str
    needs: str = ""

    @property
    def id(self) -> str:
        """Its folder's name."""
        return self.key[:16]

    @property
    def label(self) -> str:
        """For people."""
        own = {key: value for key, value in self.axes.items() if key not in self.base.axes}
        more = " ".join(f"{key}={value}" for key, value in own.items())
        return " ".join(part for part in (self.kind, self.base.label, self.task, more) if part)


def cells(experiment: Experiment) -> list[Cell]:
    """Every cell, a base before what needs it.

    Raises:
        SpectraError: a recipe, task or key is not known, data are missing, or two cells are the same.
    """
    found = bases(experiment)
    _check_names(experiment, found)
    made = [Cell(kind="base", base=base, axes=base.axes, config=_base_config(base), key=base.key) for base in found]
    scored = {
        task: evaluation(experiment, task, experiment.tasks.get(task, TaskData()))
        for task in dict.fromkeys([*experiment.tasks, *experiment.evaluate.stability])
    }
    probed = _probed(experiment)
    made += [cell for base in found for cell in _measures(experiment, base, scored, probed)]
    made += _tunes(experiment, found, scored)
    seen: dict[str, Cell] = {}
    for cell in made:
        if cell.key in seen:
            raise SpectraError(
                f"Cells {seen[cell.key].label!r} and {cell.label!r} of {experiment.name} are the same. Delete one."
            )
        seen[cell.key] = cell
    return made


def bases(experiment: Experiment) -> list[Base]:
    """The base checkpoints, those that are trained first; errors as of `cells`."""
    return experiment_checkpoints.bases(experiment, VERSION)


def _check_names(experiment: Experiment, found: list[Base]) -> None:
    """Refuse names that stand for nothing here, and would be ignored.

    Raises:
        SpectraError: names the nearest.
    """
    known = list(dict.fromkeys(str(base.axes.get("recipe", base.label)) for base in found))
    for name in experiment.finetune.by_base:
        if name not in known:
            raise SpectraError(f"finetune.by_base.{name}: there is no such base. {fields.nearest(name, known)}")
    axis, axes = experiment.axis, dict.fromkeys(key for base in found for key in base.axes)
    if axis != AXIS and axis not in axes and not any(_has(fields.plain(base.recipe), axis) for base in found):
        hint = fields.nearest(axis, dict.fromkeys([*axes, AXIS]))
        raise SpectraError(f"axis = {axis!r}: no base has it. {hint}")
    _check_images(experiment, found)
    if experiment.gap is not None and not any(_has_windows(base) for base in found):
        raise SpectraError(
            f"Experiment {experiment.name!r}: gap needs bases that it trains itself on texts (pretrain), or checkpoints in the "
            "folder of a run of plasticity pretrain, whose training windows are known. Leave gap out."
        )


def _has_windows(base: Base) -> bool:
    """Whether it is known on which windows of text a base was trained; images have none."""
    return base.windows is not None or (base.recipe is not None and base.recipe.data is not None)


def _check_images(experiment: Experiment, found: list[Base]) -> None:
    """Refuse what needs language models of a base that classifies images: each such cell would fail, once it is trained.

    Raises:
        SpectraError: names the base.
    """
    asked = [
        name for name, given in (
            ("tasks", experiment.tasks), ("evaluate.stability", experiment.evaluate.stability), ("probe", experiment.probe),
        ) if given
    ]  # fmt: skip
    images = [base.label for base in found if base.recipe is not None and base.recipe.images is not None]
    if asked and images:
        raise SpectraError(
            f"Experiment {experiment.name!r}: {' and '.join(asked)} of texts cannot be asked of {images[0]!r}, which is trained on "
            "images. Put such bases into an experiment of their own, with spectra alone."
        )


def _has(values: Any, key: str) -> bool:
    """Whether plain values have something under a dotted key."""
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _base_config(base: Base) -> dict[str, Any]:
    return {"recipe": fields.plain(base.recipe)} if base.recipe is not None else {"path": base.path}


def _measures(
    experiment: Experiment, base: Base, scored: Mapping[str, Evaluation], probed: Mapping[str, Any]
) -> Iterator[Cell]:
    """What is measured on a base itself; what it may forget, whether it is scored before or not."""
    score = experiment.evaluate
    for task in dict.fromkeys([*(experiment.tasks if score.before else ()), *score.stability]):
        one = scored[task]
        yield _cell("before", base, {"evaluate": one.told}, {"evaluate": one.said}, task=task)
    if experiment.probe is not None:
        probe = experiment.probe
        yield _cell("probe", base, {"probe": fields.plain(probe)}, probed, task=",".join(probe.tasks))
    if experiment.gap is not None and _has_windows(base):
        told = {"gap": fields.plain(experiment.gap)}
        yield _cell("gap", base, told, told | ({"windows": base.windows} if base.windows is not None else {}))
    if experiment.spectra is not None:
        every = experiment.spectra.every and base.recipe is not None
        saves = [base.recipe.train.save_every, base.recipe.train.keep] if every and base.recipe is not None else None
        yield _cell("spectra", base, {"spectra": fields.plain(experiment.spectra)}, {"checkpoints": saves})


def _probed(experiment: Experiment) -> dict[str, Any]:
    """What decides probes, besides the checkpoint."""
    from plasticity.probe_tasks import get

    probe = experiment.probe
    if probe is None:
        return {}
    return {
        "versions": {name: get(name).version for name in probe.tasks}, "seeds": probe.seeds, "limit": probe.limit,
        "data": {name: experiment_content.rows(path, f"probe.data.{name}") for name, path in probe.data.items()},
    }  # fmt: skip


def _tunes(experiment: Experiment, found: list[Base], scored: Mapping[str, Evaluation]) -> Iterator[Cell]:
    """Fine-tuning of every base on every task; and of every architecture from random weights, once a fine-tuning recipe."""
    after = experiment.evaluate.stability
    for task in experiment.tasks:
        told = {"evaluate": scored[task].told, "stability": {name: scored[name].told for name in after}}
        said = {"evaluate": scored[task].said, "stability": {name: scored[name].said for name in after}}
        for setting in experiment.finetune.settings():
            configs: dict[tuple[str, bool], dict[str, Any]] = {}
            controls: set[tuple[str, str]] = set()
            for base in found:
                recipe = _recipe_of(experiment, base)
                starts = [False]
                if experiment.finetune.from_scratch and (base.architecture, recipe) not in controls:
                    controls.add((base.architecture, recipe))
                    starts.append(True)
                for scratch in starts:
                    if (recipe, scratch) not in configs:
                        config = fields.plain(tuning(experiment, base, task, setting, scratch=scratch))
                        config.pop("model")
                        configs[recipe, scratch] = config
                    config = configs[recipe, scratch]
                    axes = {f"finetune.{key}": value for key, value in setting.items()}
                    axes |= {"start": SCRATCH} if scratch else {}
                    about = {"base": base.architecture} if scratch else {}  # random weights are nobody's
                    yield _cell(
                        "tune", base, {"finetune": config, **told}, {**about, "finetune": _decisive(config), **said}, task=task,
                        axes=axes, seed=setting["seed"],
                    )  # fmt: skip


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a fine-tuning decides its weights; the contents of data and of a user's task stand in its evaluation."""
    made = {key: value for key, value in config.items() if key not in {"data", "tasks_dir"}}
    return {**made, "train": experiment_content.training(config["train"])}


def _recipe_of(experiment: Experiment, base: Base) -> str:
    """The fine-tuning recipe of a base."""
    return experiment.finetune.by_base.get(str(base.axes.get("recipe", base.label)), experiment.finetune.recipe)


def tuning(
    experiment: Experiment, base: Base, task: str, setting: Mapping[str, Any], *, scratch: bool, model: str = ""
) -> FinetuneConfig:
    """How one cell is fine-tuned; `model`: the base's checkpoint, once it is there."""
    from plasticity.finetune_options import configure

    tune, data = experiment.finetune, experiment.tasks[task]
    recipe = experiment_recipes.finetuning(_recipe_of(experiment, base), experiment.recipes)
    known = {key: value for key, value in setting.items() if key != "seed"}
    changes = {**tune.set, **known, "train.seed": setting["seed"]}
    folder = experiment.tasks_dir
    given = {"task": task, "model": model, "data": data.data, "tasks_dir": folder, "from_scratch": scratch}
    own = task_of(experiment, task).training
    return configure(given, experiment_recipes.words(changes), own, recipe)


def _cell(
    kind: Kind, base: Base, told: Mapping[str, Any], said: Mapping[str, Any], *, task: str = "",
    axes: Mapping[str, Any] | None = None, seed: int | None = None,
) -> Cell:  # fmt: skip
    """A cell that is `told` this, and addressed by its base (unless `said` names another) and all that is `said`."""
    key = experiment_content.address(kind, VERSION, {"base": base.key, "task": task, **said})
    return Cell(
        kind=kind,
        base=base,
        task=task,
        axes={**base.axes, **(axes or {})},
        seed=seed,
        config=told,
        key=key,
        needs=base.key,
    )
