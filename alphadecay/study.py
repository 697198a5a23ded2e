"""A study: one recipe, several arms (decay policies), a few base decays an arm, several seeds. Read from YAML; data only.

`alphadecay.study_plan` makes cells of it, `study_run` runs them, `study_results` and `study_report` read what came out.
The recipe stands whole in the study's file, so that a change of a preset does not change a study that is under way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError

from . import fields, recipes, shipped, strict_yaml
from .config import Recipe

STUDIES = Path(__file__).with_name("studies")
_BASE = "decay.base"
_SEED = "train.seed"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One optimizer's half of a study."""

    change: Mapping[str, object]
    """Dotted key -> value, over the study's recipe."""
    bases: Mapping[str, tuple[float, ...]]
    """Arm -> base decays to choose among on the tuning seed."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that decides a study's runs."""

    name: str
    """As found by name."""
    description: str
    """What is compared on what, in one line."""
    recipe: Mapping[str, Any]
    """Sections of `alphadecay.config.Recipe`."""
    tuning_seed: int
    """Seed of the runs that choose the base decays."""
    seeds: tuple[int, ...]
    """Seeds of the runs that are compared; none of them the tuning seed. A seed decides initial weights and data order."""
    arms: Mapping[str, Mapping[str, object]]
    """Name -> dotted key -> value."""
    parts: Mapping[str, Part]
    """Name -> part."""
    reference: str
    """The arm that every other is compared with."""
    focus: str
    """The arm that is compared with every other."""
    limits: tuple[str, ...] = ()
    """What the study does not say, as sentences for its report, beside what holds for every study."""

    def __post_init__(self) -> None:
        if self.tuning_seed in self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds, default=-1) < 0:
            raise SpectraError(
                f"Study {self.name!r}: seeds {list(self.seeds)} with tuning_seed {self.tuning_seed}, expected at least one "
                "fresh seed of 0 or more, all different. Change one."
            )
        for what in ("reference", "focus"):
            if getattr(self, what) not in self.arms:
                raise SpectraError(
                    f"Study {self.name!r}: {what} {getattr(self, what)!r} is no arm. "
                    f"{fields.nearest(getattr(self, what), self.arms)}"
                )
        for name, part in self.parts.items():
            if set(part.bases) != set(self.arms):
                odd = ", ".join(sorted(set(part.bases) ^ set(self.arms)))
                raise SpectraError(
                    f"Study {self.name!r}, parts.{name}.bases: {odd} differ from the arms. List every arm."
                )
        for part_name in self.parts:
            for arm in self.arms:
                for base in self.parts[part_name].bases[arm]:
                    self.resolved(part_name, arm, base, self.tuning_seed)

    def given(self, part: str, arm: str, base: float, seed: int) -> dict[str, Any]:
        """What the study says of one run, nested by section; defaults are not filled in."""
        made = {section: dict(values) for section, values in self.recipe.items()}
        changes = {**self.parts[part].change, **self.arms[arm], _BASE: base, _SEED: seed}
        for key, value in changes.items():
            section, dot, rest = key.partition(".")
            if not dot or section not in made:
                raise SpectraError(
                    f"Study {self.name!r}: got the key {key!r}, expected section.key of its recipe, such as decay.policy."
                )
            target, path = made[section], rest.split(".")
            for above in path[:-1]:
                target[above] = dict(target.get(above) or {})
                target = target[above]
            target[path[-1]] = value
        return made

    def resolved(self, part: str, arm: str, base: float, seed: int) -> Recipe:
        """The recipe of one run, defaults filled in."""
        name = f"{self.name}-{part}-{arm}-{base:g}-{seed}"
        return recipes.from_yaml(strict_yaml.write(self.given(part, arm, base, seed)), f"study {self.name}", name)


def names() -> list[str]:
    """Shipped studies, in alphabetical order."""
    return shipped.names(STUDIES)


def load(name: str) -> Study:
    """The study of that name, or in that YAML file.

    Raises:
        SpectraError: there is none, or its file is wrong; names the key.
    """
    text, path = shipped.read(name, STUDIES, "study")
    return from_yaml(text, path.name, path.stem)


def from_yaml(text: str, where: str, name: str) -> Study:
    """A study from its text; `where` names it in messages, `name` is taken where the text has none."""
    values = fields.mapping(strict_yaml.read(text, where), where)
    recipe = fields.mapping(values.get("recipe", {}), f"{where}, recipe")
    parts = fields.mapping(values.get("parts", {}), f"{where}, parts")
    arms = fields.mapping(values.get("arms", {}), f"{where}, arms")
    made = {
        "name": name,
        **values,
        "recipe": {key: fields.mapping(value, f"{where}, recipe.{key}") for key, value in recipe.items()},
        "arms": {key: fields.mapping(value, f"{where}, arms.{key}") for key, value in arms.items()},
        "parts": {key: _part(value, f"{where}, parts.{key}") for key, value in parts.items()},
    }
    if not parts or not arms:
        raise SpectraError(f"{where}: got no {'parts' if not parts else 'arms'}, expected at least one. Add it.")
    return fields.build(Study, made, where)


def only(study: Study, part: str | None) -> Study:
    """The study with that part alone; None: all parts.

    Raises:
        SpectraError: there is no such part.
    """
    if part is None:
        return study
    if part not in study.parts:
        raise SpectraError(f"Study {study.name!r} has no part {part!r}. {fields.nearest(part, study.parts)}")
    return replace(study, parts={part: study.parts[part]})


def same_runs(one: Study, other: Study) -> bool:
    """Whether two studies differ in words at most."""
    return replace(one, description="", limits=()) == replace(other, description="", limits=())


def to_yaml(study: Study) -> str:
    """The study whole; `from_yaml` gives an equal one."""
    return strict_yaml.write(fields.plain(study))


def _part(value: object, where: str) -> Part:
    values = fields.mapping(value, where)
    fields.check_keys(values, ("change", "bases"), where)
    bases = {}
    for arm, listed in fields.mapping(values.get("bases", {}), f"{where}.bases").items():
        found: tuple[float, ...] = fields.convert(listed, tuple[float, ...], f"{where}.bases.{arm}")
        if not found or len(set(found)) != len(found) or not all(math.isfinite(b) and b >= 0 for b in found):
            raise SpectraError(f"{where}.bases.{arm} = {listed!r}: expected a list of different numbers of at least 0.")
        bases[arm] = tuple(sorted(found))
    return Part(change=fields.mapping(values.get("change", {}), f"{where}.change"), bases=bases)
