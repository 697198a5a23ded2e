"""The cells of an experiment, and their addresses: each a hash of all that decides its result. Nothing is run here.

A `base` cell trains (or finds) a base checkpoint; `before`, `probe`, `gap` and `spectra` measure it; a `tune` cell fine-tunes
it and scores what comes out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alphadecay import fields, recipes
from plasticity.experiment import Experiment, Given, Pretrain, TaskData
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from alphadecay.config import Recipe
    from plasticity.finetune import FinetuneConfig
    from plasticity.tasks.base import Task

Kind = Literal["base", "before", "tune", "probe", "gap", "spectra"]
VERSION = 1  # raise when the same experiment would give other numbers
SCRATCH = "from scratch"
_SAVED = "checkpoint-"


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base checkpoint: trained by `recipe`, or there already at `path`."""

    label: str
    axes: Mapping[str, Any]
    key: str
    recipe: Recipe | None = None
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One piece of work whose result is one folder.

    Attributes:
        base: the checkpoint that it is about.
        task: of `before` and `tune`; of `probe` all its tasks.
        axes: what distinguishes it from the other cells of its kind: those of its base, and of fine-tuning.
        seed: of fine-tuning.
        config: what it is told, as plain data; with it, the base and `VERSION` the key is made.
        key: SHA-256 over all that decides the result.
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
    made: list[Cell] = []
    for base in bases(experiment):
        made.append(Cell(kind="base", base=base, axes=base.axes, config=_base_config(base), key=base.key))
        made += _measures(experiment, base)
    made += _tunes(experiment, [cell.base for cell in made if cell.kind == "base"])
    seen: dict[str, Cell] = {}
    for cell in made:
        if cell.key in seen:
            raise SpectraError(
                f"Cells {seen[cell.key].label!r} and {cell.label!r} of {experiment.name} are the same. Delete one."
            )
        seen[cell.key] = cell
    return made


def bases(experiment: Experiment) -> list[Base]:
    """The base checkpoints, those that are trained first."""
    made = [base for grid in experiment.pretrain for base in _trained(grid)]
    made += [_given(name, given) for name, given in experiment.checkpoints.items()]
    labels = [base.label for base in made]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise SpectraError(
            f"Two bases of {experiment.name} are called {twice[0]!r}. Tell them apart by a variant or a key."
        )
    return made


def _trained(grid: Pretrain) -> Iterator[Base]:
    recipe = recipes.load(grid.recipe)
    for setting in grid.settings():
        changed = recipes.override(recipe, words(grid.changes(setting)))
        changes = grid.changes(setting)
        axes = {"recipe": recipe.name, **changes, **setting}
        axes.pop("train.seed")
        label = " ".join([recipe.name, *(str(v) if k == "variant" else f"{k}={v}" for k, v in setting.items())])
        plain = {
            key: value for key, value in fields.plain(changed).items() if key not in {"name", "description", "source"}
        }
        yield Base(label=label, axes=axes, recipe=changed, key=_hash("base", {"recipe": plain}))


def _given(name: str, given: Given) -> Base:
    path = Path(given.path).expanduser()
    _check_there(name, given.path, path)
    what = str(path.resolve()) if path.exists() else given.path
    return Base(label=name, axes=dict(given.axes), path=str(path) if path.exists() else given.path,
                key=_hash("base", {"path": what, "content": _content(path)}))  # fmt: skip


def _check_there(name: str, written: str, path: Path) -> None:
    """Refuse what can be no hub id and is not there, and a run's folder in place of a checkpoint in it.

    Raises:
        SpectraError: it is either.
    """
    if not path.exists():
        if written.startswith(("/", ".", "~")) or written.count("/") > 1:
            raise SpectraError(
                f"checkpoints.{name}.path: there is nothing at {written}. Name a checkpoint, or a hub id (owner/name)."
            )
        return
    if path.is_dir() and not (path / "config.json").exists() and not (path / "adapter_config.json").exists():
        numbered = {
            int(one.name[len(_SAVED) :]): one for one in path.glob(f"{_SAVED}*") if one.name[len(_SAVED) :].isdigit()
        }
        if numbered:
            raise SpectraError(
                f"checkpoints.{name}.path: {written} is a run, expected a checkpoint. Its newest is {numbered[max(numbered)]}."
            )


def _content(path: Path) -> Any:
    """What tells a changed checkpoint from the same one without reading it whole: names, sizes and times of its files."""
    from plasticity.identity import weight_files

    if not path.exists():
        return None
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in weight_files(path)]


def _base_config(base: Base) -> dict[str, Any]:
    return {"recipe": fields.plain(base.recipe)} if base.recipe is not None else {"path": base.path}


def _measures(experiment: Experiment, base: Base) -> Iterator[Cell]:
    """What is measured on a base itself."""
    if experiment.evaluate.before:
        for task, data in experiment.tasks.items():
            yield _cell("before", base, {"evaluate": _evaluation(experiment, task, data)}, task=task)
        for task in experiment.evaluate.stability:
            if task not in experiment.tasks:
                yield _cell("before", base, {"evaluate": _evaluation(experiment, task, TaskData())}, task=task)
    if experiment.probe is not None:
        config = {"probe": fields.plain(experiment.probe), "data": _stamps(experiment.probe.data.values())}
        yield _cell("probe", base, config, task=",".join(experiment.probe.tasks))
    if experiment.gap is not None and base.recipe is not None:
        yield _cell("gap", base, {"gap": fields.plain(experiment.gap)})
    if experiment.spectra is not None:
        yield _cell("spectra", base, {"spectra": fields.plain(experiment.spectra)})


def _tunes(experiment: Experiment, found: list[Base]) -> Iterator[Cell]:
    """Fine-tuning of every base on every task; and of the first base's architecture of each recipe from random weights."""
    after = {name: _evaluation(experiment, name, TaskData()) for name in experiment.evaluate.stability}
    for task, data in experiment.tasks.items():
        scored = {"evaluate": _evaluation(experiment, task, data), "stability": after}
        for setting in experiment.finetune.settings():
            told: dict[tuple[str, bool], dict[str, Any]] = {}
            controls: set[Any] = set()
            for base in found:
                family = base.axes.get("recipe") if base.recipe is not None else base.key
                starts = [False]
                if experiment.finetune.from_scratch and family not in controls:
                    controls.add(family)
                    starts.append(True)
                for scratch in starts:
                    which = (_recipe_of(experiment, base), scratch)
                    if which not in told:
                        config = fields.plain(tuning(experiment, base, task, setting, scratch=scratch))
                        config.pop("model")
                        told[which] = config
                    axes = {f"finetune.{key}": value for key, value in setting.items()}
                    axes |= {"start": SCRATCH} if scratch else {}
                    yield _cell(
                        "tune", base, {"finetune": told[which], **scored}, task=task, axes=axes, seed=setting["seed"]
                    )


def _recipe_of(experiment: Experiment, base: Base) -> str:
    """The fine-tuning recipe of a base."""
    return experiment.finetune.by_base.get(str(base.axes.get("recipe", base.label)), experiment.finetune.recipe)


def tuning(
    experiment: Experiment, base: Base, task: str, setting: Mapping[str, Any], *, scratch: bool, model: str = ""
) -> FinetuneConfig:
    """How one cell is fine-tuned; `model`: the base's checkpoint, once it is there."""
    from plasticity.finetune_options import configure

    tune, data = experiment.finetune, experiment.tasks[task]
    recipe = _recipe_of(experiment, base)
    known = {key: value for key, value in setting.items() if key != "seed"}
    changes = {**tune.set, **known, "train.seed": setting["seed"]}
    folder = experiment.tasks_dir
    given = {"task": task, "model": model, "data": data.data, "tasks_dir": folder, "from_scratch": scratch}
    own = _task(experiment, task).training
    return configure(given, words(changes), own, recipe)


def _evaluation(experiment: Experiment, task: str, data: TaskData) -> dict[str, Any]:
    """What decides a score, besides the checkpoint."""
    from plasticity.evaluate_config import SAMPLES_A_QUESTION, needs_samples

    score, header = experiment.evaluate, _task(experiment, task).header
    needed = needs_samples(header) or header.kind != "generation"  # the other kinds draw none, whatever it says
    usual = SAMPLES_A_QUESTION if needed else 0
    return {
        "task": task, "version": header.version, "data": data.data,
        "files": _stamps([data.data] if data.data else []), "tasks_dir": experiment.tasks_dir,
        "samples": usual if score.samples is None else score.samples,
        "limit": score.limit, "max_tokens": score.max_tokens, "profile": score.profile,
        "reward_model": data.reward_model or score.reward_model,
        "seed": score.seed,
    }  # fmt: skip


def _task(experiment: Experiment, name: str) -> Task:
    from plasticity.tasks.registry import get

    folder = experiment.tasks_dir
    return get(name, Path(folder) if folder else None, where="the key tasks_dir: of the experiment")


def words(changes: Mapping[str, Any]) -> list[str]:
    """Dotted key -> value, as the `key=value` words of the command line."""
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in changes.items()]


def _stamps(paths: Any) -> list[list[Any]]:
    """SHA-256 of the local files that data come from."""
    from alphadecay.data_cache import file_hash

    made = []
    for name in paths:
        path = Path(str(name)).expanduser()
        if not path.exists():
            raise SpectraError(f"No data at {path}. Name a file or folder that is there.")
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        made += [[file.name, file_hash(file)] for file in files]
    return made


def _cell(
    kind: Kind, base: Base, config: Mapping[str, Any], *, task: str = "", axes: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Cell:  # fmt: skip
    said = {"base": base.key, "task": task, **config}
    return Cell(
        kind=kind, base=base, task=task, axes={**base.axes, **(axes or {})}, seed=seed, config=config, key=_hash(kind, said),
        needs=base.key,
    )  # fmt: skip


def _hash(kind: str, said: Mapping[str, Any]) -> str:
    text = json.dumps({"version": VERSION, "kind": kind, **said}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
