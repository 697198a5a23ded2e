"""An experiment: base checkpoints (given, or pretrained by the recipe), tasks, fine-tuning settings, seeds. Read from YAML.

`experiment_plan` makes cells of it, `experiment_cell` runs one, `experiment_run` all of them; results are on disk. Read, it holds
the recipes that it names, whole, and absolute paths of what is here: written to a folder, it needs no other file to mean the
same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alphadecay import fields, shipped, strict_yaml
from plasticity import experiment_forms, experiment_keys, experiment_recipes
from plasticity.experiment_paths import absolute, in_changes
from plasticity.experiment_sections import (
    Gap,
    Given,
    Pretrain,
    Probe,
    Resources,
    Score,
    Spectra,
    TaskData,
    Tune,
    Values,
    check_different,
)
from spectra.errors import SpectraError

__all__ = [
    "AXIS", "Experiment", "Gap", "Given", "Pretrain", "Probe", "Resources", "Score", "Spectra", "TaskData", "Tune", "copying",
    "from_yaml", "load", "names", "text_of", "to_yaml",
]  # fmt: skip

EXPERIMENTS = Path(__file__).with_name("experiments")
AXIS = "decay.base"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that decides the cells of an experiment."""

    name: str
    description: str = ""
    source: str = ""
    pretrain: tuple[Pretrain, ...] = ()
    checkpoints: Mapping[str, Given] = field(default_factory=dict)
    finetune: Tune = field(default_factory=Tune)
    tasks: Mapping[str, TaskData] = field(default_factory=dict)
    tasks_dir: str | None = None
    evaluate: Score = field(default_factory=Score)
    probe: Probe | None = None
    gap: Gap | None = None
    spectra: Spectra | None = None
    resources: Resources = field(default_factory=Resources)
    axis: str = AXIS
    """What the figures are drawn against."""
    recipes: experiment_recipes.Whole = field(default_factory=dict)
    """The recipes that it names, whole: filled in when it is read (`experiment_recipes`)."""

    def __post_init__(self) -> None:
        if not self.pretrain and not self.checkpoints:
            raise SpectraError(
                f"Experiment {self.name!r} has no base checkpoint. Name some under checkpoints, or say under pretrain how to "
                "train them."
            )
        if not (self.tasks or self.probe or self.gap or self.spectra):
            raise SpectraError(
                f"Experiment {self.name!r} asks nothing of its bases: expected tasks, probe, gap or spectra. Add one."
            )


def names() -> list[str]:
    """Shipped experiments, in alphabetical order."""
    return shipped.names(EXPERIMENTS)


def load(name: str) -> Experiment:
    """The experiment of that name, or in that YAML file.

    Raises:
        SpectraError: there is none, or its file is wrong; names the key.
    """
    text, path = shipped.read(name, EXPERIMENTS, "experiment")
    return from_yaml(text, path.name, path.stem)


def text_of(name: str) -> str:
    """What stands in the file of the experiment of that name, comments too, so that a copy of it can be edited and run.

    Raises:
        SpectraError: there is none, or it is wrong; errors as of `load`.
    """
    load(name)
    return shipped.read(name, EXPERIMENTS, "experiment")[0]


def copying(name: str) -> str:
    """How to get a copy to edit of a shipped experiment, as a sentence; empty where it is not shipped."""
    return f" For a copy to edit: plasticity run {name} --show > mine.yaml." if name in names() else ""


def from_yaml(text: str, where: str, name: str) -> Experiment:
    """An experiment from its text; `where` names it in messages, `name` is taken where the text has none."""
    values = experiment_forms.whole(strict_yaml.read(text, where), where)
    fields.check_keys(values, fields.names_of(Experiment), where)
    made: dict[str, Any] = {"name": name, **values}
    grids = made.get("pretrain") or []
    grids = grids if isinstance(grids, list) else [grids]
    made["pretrain"] = tuple(_section(Pretrain, one, f"{where}, pretrain", "pretrain") for one in grids)
    for key, kind in (("checkpoints", Given), ("tasks", TaskData)):
        entries = made.get(key) or {}
        if key == "tasks" and isinstance(entries, list):
            check_different("tasks", [str(task) for task in entries])
            entries = {str(task): {} for task in entries}
        made[key] = {
            label: _section(kind, one or {}, f"{where}, {key}.{label}", key)
            for label, one in experiment_forms.section(entries, f"{where}, {key}", key).items()
        }
    sections = {
        "finetune": Tune,
        "evaluate": Score,
        "probe": Probe,
        "gap": Gap,
        "spectra": Spectra,
        "resources": Resources,
    }
    for key, cls in sections.items():
        if key in made:
            made[key] = None if made[key] is None else _section(cls, made[key], f"{where}, {key}", key)
            if made[key] is None and key in {"finetune", "evaluate", "resources"}:
                made.pop(key)
    hints = {"name": str, "description": str, "source": str, "axis": str, "tasks_dir": str | None}
    for key, hint in hints.items():
        if key in made:
            made[key] = fields.convert(made[key], hint, f"{where}, {key}")
    known = fields.mapping(made.pop("recipes", None) or {}, f"{where}, recipes")
    read = _resolved(Experiment(**made), known, where)
    experiment_keys.check(read, where)
    return read


def _resolved(experiment: Experiment, known: Values, where: str) -> Experiment:
    """With the recipes that it names, whole, and absolute paths of what is here."""

    def there(path: str | None) -> str | None:
        return None if path is None else absolute(path)

    tune, score, probe = experiment.finetune, experiment.evaluate, experiment.probe
    tuning = [tune.recipe, *tune.by_base.values()] if experiment.tasks else []
    whole = experiment_recipes.whole((grid.recipe for grid in experiment.pretrain), tuning, known, where)
    grids = tuple(
        replace(
            grid, set=in_changes(grid.set), grid=in_changes(grid.whole_grid()), sweep=None,
            variants={name: in_changes(changes) for name, changes in grid.variants.items()},
        )
        for grid in experiment.pretrain
    )  # fmt: skip
    return replace(
        experiment, recipes=whole, pretrain=grids, tasks_dir=there(experiment.tasks_dir),
        checkpoints={name: replace(one, path=absolute(one.path)) for name, one in experiment.checkpoints.items()},
        tasks={
            name: TaskData(data=there(one.data), reward_model=there(one.reward_model))
            for name, one in experiment.tasks.items()
        },
        evaluate=replace(score, reward_model=there(score.reward_model)),
        probe=probe and replace(probe, data={name: absolute(path) for name, path in probe.data.items()}),
    )  # fmt: skip


def to_yaml(experiment: Experiment) -> str:
    """The experiment whole: every key, defaults too; `from_yaml` gives an equal one."""
    return strict_yaml.write({key: value for key, value in fields.plain(experiment).items() if value is not None})


def _section(cls: type, value: object, where: str, key: str) -> Any:
    return fields.build(cls, experiment_forms.section(value, where, key), where)
