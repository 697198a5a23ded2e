"""An experiment: base checkpoints (given, or pretrained by the recipe), tasks, fine-tuning settings, seeds. Read from YAML.

`experiment_plan` makes cells of it, `experiment_cell` runs one, `experiment_run` all of them; results are on disk. A recipe of
an experiment stands whole in its file but for the recipes it names, which are written out when it begins.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphadecay import fields, recipes, shipped, strict_yaml
from spectra.errors import SpectraError

EXPERIMENTS = Path(__file__).with_name("experiments")
Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Base checkpoints that the experiment trains itself: variants x grid x seeds of one recipe of `plasticity pretrain`."""

    recipe: str
    """Name of a shipped recipe, or a YAML file."""
    set: Values = field(default_factory=dict)
    """Dotted key -> value, for all of them."""
    variants: Mapping[str, Any] = field(default_factory=dict)
    """Name -> dotted key -> value."""
    grid: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key -> values; all combinations."""
    sweep: str | None = None
    """A grid that the recipe's own file has under that name; `grid` is over it."""
    seeds: tuple[int, ...] = (42,)
    """Of initial weights."""

    def __post_init__(self) -> None:
        _check_grid("pretrain", self.grid, self.seeds)

    def whole_grid(self) -> dict[str, Any]:
        """Dotted key -> values, of `sweep` and `grid`; raises `SpectraError` where the recipe has no such sweep."""
        if self.sweep is None:
            return dict(self.grid)
        known = recipes.open_file(self.recipe).sweeps
        if self.sweep not in known:
            hint = fields.nearest(self.sweep, known) if known else "It has none."
            raise SpectraError(f"Recipe {self.recipe!r} has no sweep {self.sweep!r}. {hint}")
        return {**known[self.sweep], **self.grid}

    def settings(self) -> Iterator[dict[str, Any]]:
        """What distinguishes each base: `variant`, the keys of the grid, `seed`."""
        for variant in self.variants or {"": {}}:
            for chosen in combinations(self.whole_grid()):
                for seed in self.seeds:
                    yield {**({"variant": variant} if variant else {}), **chosen, "seed": seed}

    def changes(self, setting: Values) -> dict[str, Any]:
        """Dotted key -> value over the recipe, for one of `settings()`."""
        known = {key: value for key, value in setting.items() if key not in {"variant", "seed"}}
        variant = dict(self.variants[setting["variant"]]) if "variant" in setting else {}
        return {**self.set, **variant, **known, "train.seed": setting["seed"]}


@dataclass(frozen=True, kw_only=True)
class Given:
    """A base checkpoint that is there already."""

    path: str
    """Folder, hub id or GGUF file."""
    axes: Values = field(default_factory=dict)
    """What it stands for in tables and figures: `decay.base: 0.1`, `seed: 1`."""


@dataclass(frozen=True, kw_only=True)
class Tune:
    """How each base is fine-tuned on each task: grid x seeds of one fine-tuning recipe."""

    recipe: str = "table6"
    """Name of a shipped fine-tuning recipe, or a YAML file."""
    by_base: Mapping[str, str] = field(default_factory=dict)
    """Pretraining recipe, or name of a checkpoint -> fine-tuning recipe, where it is another one."""
    set: Values = field(default_factory=dict)
    """Dotted key -> value; over the task's own settings."""
    grid: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key -> values."""
    seeds: tuple[int, ...] = (42,)
    """Of data order and dropout."""
    from_scratch: bool = False
    """Also fine-tune each architecture from random weights: the control."""
    keep: bool = False
    """Keep fine-tuned checkpoints; else they are deleted once scored."""

    def __post_init__(self) -> None:
        _check_grid("finetune", self.grid, self.seeds)

    def settings(self) -> Iterator[dict[str, Any]]:
        """What distinguishes each run on one base and task: the keys of the grid, `seed`."""
        for chosen in combinations(self.grid):
            for seed in self.seeds:
                yield {**chosen, "seed": seed}


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """Where a task's rows are, where not on the hub."""

    data: str | None = None
    """File or folder, for training and test alike."""
    reward_model: str | None = None
    """Where it is not that of `evaluate`: the safety tasks' harmfulness model."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """How checkpoints are scored; see `plasticity.evaluate_config.EvaluateConfig`."""

    before: bool = True
    """Score each base as it is, too."""
    samples: int | None = None
    """Responses a question beside the greedy one; None: 16 where a score of the task needs them, else none."""
    limit: int | None = None
    max_tokens: int = 1024
    profile: str = "default"
    reward_model: str | None = None
    seed: int = 0
    stability: tuple[str, ...] = ()
    """Cloze tasks scored before and after each fine-tuning: what it forgets (plasticity paper, appendix D)."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Linear probes of each base; see `plasticity.probe`."""

    tasks: tuple[str, ...]
    seeds: int = 3
    limit: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    """Task -> file or folder."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Train-val gap of each base that the experiment trains; see `plasticity.gap`."""

    windows: int = 1024


@dataclass(frozen=True, kw_only=True)
class Spectra:
    """`spectra analyze` of the checkpoints of each base."""

    every: bool = True
    """All checkpoints of a base that the experiment trains, else its last one alone."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a cell needs."""

    threads: int = 1
    """CPU threads of a worker."""
    gpus: float = 0.0
    """GPUs a cell on a Ray cluster."""
    memory_gb: float | None = None
    """What a cell may use; None: the GPU's memory, or the machine's."""


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
    axis: str = "decay.base"
    """What the figures are drawn against."""

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
        if self.gap is not None and not self.pretrain:
            raise SpectraError(
                f"Experiment {self.name!r}: gap needs bases that it trains itself (pretrain), whose training windows are known."
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


def from_yaml(text: str, where: str, name: str) -> Experiment:
    """An experiment from its text; `where` names it in messages, `name` is taken where the text has none."""
    values = fields.mapping(strict_yaml.read(text, where), where)
    fields.check_keys(values, fields.names_of(Experiment), where)
    made: dict[str, Any] = {"name": name, **values}
    grids = made.get("pretrain", [])
    grids = grids if isinstance(grids, list) else [grids]
    made["pretrain"] = tuple(_section(Pretrain, one, f"{where}, pretrain") for one in grids)
    for key, kind in (("checkpoints", Given), ("tasks", TaskData)):
        entries = made.get(key) or {}
        if key == "tasks" and isinstance(entries, list):
            entries = {str(task): {} for task in entries}
        made[key] = {
            label: _section(kind, one or {}, f"{where}, {key}.{label}")
            for label, one in fields.mapping(entries, f"{where}, {key}").items()
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
            made[key] = None if made[key] is None else _section(cls, made[key], f"{where}, {key}")
            if made[key] is None and key in {"finetune", "evaluate", "resources"}:
                made.pop(key)
    hints = {"name": str, "description": str, "source": str, "axis": str, "tasks_dir": str | None}
    for key, hint in hints.items():
        if key in made:
            made[key] = fields.convert(made[key], hint, f"{where}, {key}")
    return Experiment(**made)


def to_yaml(experiment: Experiment) -> str:
    """The experiment whole: every key, defaults too; `from_yaml` gives an equal one."""
    return strict_yaml.write({key: value for key, value in fields.plain(experiment).items() if value is not None})


def combinations(grid: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of a grid, the last key fastest; an empty grid has one."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _check_grid(where: str, grid: Mapping[str, Any], seeds: tuple[int, ...]) -> None:
    for key, values in grid.items():
        if not isinstance(values, (list, tuple)) or not values:
            raise SpectraError(
                f"{where}.grid.{key} = {values!r}: expected a list of at least one value: the grid is empty."
            )
    if not seeds or len(set(seeds)) != len(seeds):
        raise SpectraError(f"{where}.seeds = {list(seeds)}: expected at least one seed, all different.")


def _section(cls: type, value: object, where: str) -> Any:
    return fields.build(cls, fields.mapping(value, where), where)
