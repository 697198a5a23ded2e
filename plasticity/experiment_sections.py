"""The sections of an experiment's file; data only, every field checked when made. `experiment` puts them together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alphadecay import fields
from plasticity import experiment_recipes
from plasticity.probe_config import LIMIT
from spectra.errors import SpectraError

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
        _check_seed("pretrain.set", self.set)
        for name, changes in self.variants.items():
            if not isinstance(changes, Mapping):
                raise SpectraError(
                    f"pretrain.variants.{name} = {changes!r}: expected a mapping (dotted key: value), such as {{decay.base: 0.1}}."
                )
            _check_seed(f"pretrain.variants.{name}", changes)
            for key in changes:
                if key in self.grid:
                    raise SpectraError(
                        f"pretrain.variants.{name}.{key}: it is set twice, here and by pretrain.grid, whose values would take its "
                        "place. Keep one."
                    )

    def whole_grid(self) -> dict[str, Any]:
        """Dotted key -> values, of `sweep` and `grid`; raises `SpectraError` where the recipe has no such sweep."""
        if self.sweep is None:
            return dict(self.grid)
        return experiment_recipes.with_sweep(self.recipe, self.sweep, self.grid)

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
        _check_seed("finetune.set", self.set)

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
    """Cloze tasks scored before (whatever `before` says) and after each fine-tuning: what it forgets (plasticity paper, D)."""

    def __post_init__(self) -> None:
        from plasticity.profiles import NAMES

        _check_least("evaluate", self, {"samples": 0, "limit": 1, "max_tokens": 1, "seed": 0})
        if self.profile not in NAMES:
            raise SpectraError(f"evaluate.profile = {self.profile!r}: unknown. {fields.nearest(self.profile, NAMES)}")
        check_different("evaluate.stability", self.stability)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Linear probes of each base; see `plasticity.probe`."""

    tasks: tuple[str, ...]
    seeds: int = 3
    limit: int | None = LIMIT
    """Training texts a seed, and test texts, at most; null: all."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Task -> file or folder."""

    def __post_init__(self) -> None:
        from plasticity.probe_tasks import TASKS

        if not self.tasks:
            raise SpectraError(
                f"probe.tasks is empty: expected at least one of {', '.join(TASKS)}. Or leave probe out."
            )
        for name in self.tasks:
            if name not in TASKS:
                raise SpectraError(f"probe.tasks: unknown probe task {name!r}. {fields.nearest(name, TASKS)}")
        check_different("probe.tasks", self.tasks)
        _check_least("probe", self, {"seeds": 1, "limit": 4})
        for name, path in self.data.items():
            if name not in self.tasks:
                raise SpectraError(
                    f"probe.data.{name}: it is none of probe.tasks, so nothing would read it. {fields.nearest(name, self.tasks)}"
                )
            if not isinstance(path, str):
                raise SpectraError(f"probe.data.{name} = {path!r}: expected a file or folder.")


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Train-val gap of each base whose training windows are known (of `plasticity pretrain`); see `plasticity.gap`."""

    windows: int = 1024

    def __post_init__(self) -> None:
        _check_least("gap", self, {"windows": 1})


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

    def __post_init__(self) -> None:
        _check_least("resources", self, {"threads": 1, "gpus": 0})
        if self.memory_gb is not None and not 0 < self.memory_gb < float("inf"):
            raise SpectraError(f"resources.memory_gb = {self.memory_gb:g}: expected more than 0 GB, or null.")


def combinations(grid: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of a grid, the last key fastest; an empty grid has one."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _check_grid(where: str, grid: Mapping[str, Any], seeds: tuple[int, ...]) -> None:
    _check_seed(f"{where}.grid", grid)
    for key, values in grid.items():
        if not isinstance(values, (list, tuple)):
            raise SpectraError(f"{where}.grid.{key} = {values!r}: expected a list of values, such as [{values}].")
        if not values:
            raise SpectraError(f"{where}.grid.{key} = []: expected at least one value: the grid is empty.")
    if not seeds or len(set(seeds)) != len(seeds):
        raise SpectraError(f"{where}.seeds = {list(seeds)}: expected at least one seed, all different.")


def _check_seed(where: str, changes: Values) -> None:
    """Seeds are a key of their own, which would silently replace this one."""
    for key in ("train.seed", "seed"):
        if key in changes:
            section = where.partition(".")[0]
            raise SpectraError(f"{where}.{key}: use {section}.seeds, such as {section}.seeds: [{changes[key]}].")


def _check_least(where: str, section: object, bounds: Mapping[str, float]) -> None:
    for name, least in bounds.items():
        value = getattr(section, name)
        if value is not None and not least <= value < float("inf"):
            raise SpectraError(f"{where}.{name} = {value:g}: expected at least {least:g}.")


def check_different(where: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise SpectraError(f"{where} names {name} twice. Delete one.")
