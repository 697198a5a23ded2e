"""Recipes by name or path: found, inherited (`extends`), varied, overridden by `key=value`, compared, written whole.

A recipe file has the sections of `alphadecay.config.Recipe`, and may have `extends` (another recipe; its values hold
where this file is silent), `variants` (name -> dotted key -> value: the cells of a paper's table, found as `file:variant`)
and `sweeps` (name -> dotted key -> values: a grid). A resolved recipe has neither of the three.
"""

from __future__ import annotations

import dataclasses
import itertools
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError

from . import fields, shipped, strict_yaml
from .config import BUDGETS, DataConfig, DecayConfig, ImageConfig, ModelConfig, Recipe, TrainConfig

PRESETS = Path(__file__).with_name("presets")
SECTIONS: Mapping[str, type] = {
    "model": ModelConfig, "data": DataConfig, "images": ImageConfig, "train": TrainConfig, "decay": DecayConfig
}  # fmt: skip
_TEXTS = ("name", "description", "source")
_KEYS = (*_TEXTS, *SECTIONS, "extends", "variants", "sweeps")


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """A recipe as its file has it, with what can be made of it."""

    recipe: Recipe
    """Without any variant."""
    variants: Mapping[str, Mapping[str, object]]
    """Name -> dotted key -> value."""
    sweeps: Mapping[str, Mapping[str, Sequence[object]]]
    """Name -> dotted key -> values; all combinations."""
    path: Path
    """Where it stands."""

    def variant(self, name: str) -> Recipe:
        """The recipe `file:name`.

        Raises:
            SpectraError: there is none; names the nearest.
        """
        if name not in self.variants:
            known = fields.nearest(name, self.variants) if self.variants else "It has none."
            raise SpectraError(f"Recipe {self.recipe.name!r} has no variant {name!r}. {known}")
        made = _changed(self.recipe, self.variants[name])
        return dataclasses.replace(made, name=f"{self.recipe.name}:{name}")


def names(*, variants: bool = False) -> list[str]:
    """Shipped recipes, in alphabetical order; with `variants`, each followed by its own as `file:variant`."""
    found = []
    for stem in sorted(path.stem for path in PRESETS.glob("*.yaml")):
        found.append(stem)
        if variants:
            found += [f"{stem}:{name}" for name in open_file(stem).variants]
    return found


def find(name: str) -> tuple[Path, str | None]:
    """The file of a recipe, and its variant: a path (`runs/a.yaml`, `runs/a.yaml:variant`) or a shipped name.

    Raises:
        SpectraError: no such recipe; names the nearest shipped one.
    """
    if Path(name).expanduser().is_file():
        return Path(name).expanduser(), None
    base, colon, variant = name.rpartition(":") if ":" in name else (name, "", "")
    path = Path(base).expanduser()
    looks_like_path = path.suffix in (".yaml", ".yml") or len(path.parts) > 1
    if not looks_like_path:
        if base not in names():
            raise SpectraError(f"No recipe {base!r}. {hint(base)} A file of yours: name it by its path.")
        path = PRESETS / f"{base}.yaml"
    elif not path.is_file():
        raise SpectraError(
            f"No recipe file {path}: expected a YAML file or a shipped name (plasticity recipes lists them)."
        )
    return path, variant if colon else None


def hint(name: str) -> str:
    """The shipped recipe nearest to a name that is none, and all of them, as the end of an error message."""
    return fields.nearest(name.partition(":")[0], names())


def load(name: str) -> Recipe:
    """The recipe of that name or path (see `find`), inherited values filled in.

    Raises:
        SpectraError: there is none, or the file is wrong: unknown key, wrong type, value out of range.
    """
    path, variant = find(name)
    opened = _open(path, ())
    return opened.recipe if variant is None else opened.variant(variant)


def open_file(name: str) -> RecipeFile:
    """The file of that name or path with its variants and sweeps; errors as `load`."""
    return _open(find(name)[0], ())


def cells(name: str, sweep: str) -> list[Recipe]:
    """Every combination of a sweep, applied to the recipe `name` (`llama_60m:alphadecay-5e-6`), in the file's order.

    Raises:
        SpectraError: no such recipe or sweep.
    """
    opened, recipe = open_file(name), load(name)
    if sweep not in opened.sweeps:
        known = fields.nearest(sweep, opened.sweeps) if opened.sweeps else "It has none."
        raise SpectraError(f"Recipe {opened.recipe.name!r} has no sweep {sweep!r}. {known}")
    grid = opened.sweeps[sweep]
    made = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        label = ",".join(f"{key}={value}" for key, value in chosen.items())
        made.append(dataclasses.replace(_changed(recipe, chosen), name=f"{recipe.name}[{label}]"))
    return made


def from_yaml(text: str, where: str, name: str) -> Recipe:
    """A whole recipe, as `to_yaml` wrote it; `where` names it in messages, `name` is taken where the text has none."""
    values = fields.mapping(strict_yaml.read(text, where), where)
    fields.check_keys(values, (*_TEXTS, *SECTIONS), where)
    return _build({"name": name} | values, where)


def to_yaml(recipe: Recipe) -> str:
    """The recipe whole: every key, defaults too; `from_yaml` gives an equal one."""
    return strict_yaml.write({key: value for key, value in fields.plain(recipe).items() if value is not None})


def override(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """The recipe with each `key=value` applied: `train.lr=1e-3`, or `lr=1e-3` where one section alone has that key.

    Values are YAML (`[0.67, 3]`, `null`). Setting one of steps, tokens, tokens_per_parameter, epochs unsets the others.

    Raises:
        SpectraError: not a `key=value`, an unknown or ambiguous key, a key given twice, a value of the wrong type.
    """
    changes: dict[str, object] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise SpectraError(f"Got {assignment!r}, expected key=value, such as train.lr=0.001.")
        path = full_key(recipe, key.strip())
        if path in changes:
            raise SpectraError(f"{path} is set twice: keep one.")
        changes[path] = _value(path, text.strip(), assignment)
    budgets = [key for key in changes if key.removeprefix("train.") in BUDGETS and changes[key] is not None]
    if len(budgets) > 1:
        raise SpectraError(f"Got {' and '.join(budgets)}, expected one of them: they all say how long to train.")
    return _changed(recipe, changes)


def differences(old: Recipe, new: Recipe) -> list[str]:
    """What differs, `train.lr: 0.001 -> 0.003`, one entry a key; name, description and source do not count."""
    before, after = _flat(old), _flat(new)
    absent = "(absent)"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in dict.fromkeys((*before, *after))
        if before.get(key, absent) != after.get(key, absent)
    ]


def _flat(recipe: Recipe) -> dict[str, object]:
    plain = fields.plain(recipe)
    found: dict[str, object] = {}
    for section in SECTIONS:
        for key, value in (plain[section] or {}).items():
            if key == "settings":
                found |= {f"{section}.{key}.{setting}": item for setting, item in value.items()}
            else:
                found[f"{section}.{key}"] = value
    return found


def _open(path: Path, seen: tuple[Path, ...]) -> RecipeFile:
    raw = _whole(path, seen)
    name = str(raw.get("name") or path.stem)
    recipe = _build({"name": name} | {k: v for k, v in raw.items() if k not in ("variants", "sweeps")}, path.name)
    variants, sweeps = (fields.mapping(raw.get(key) or {}, f"{path.name}, {key}") for key in ("variants", "sweeps"))
    for label, change in variants.items():
        _changed(recipe, fields.mapping(change, f"{path.name}, variants.{label}"))
    for label, grid in sweeps.items():
        for key, values in fields.mapping(grid, f"{path.name}, sweeps.{label}").items():
            if not isinstance(values, list) or not values:
                raise SpectraError(f"{path.name}, sweeps.{label}.{key} = {values!r}: expected a list of values.")
            for value in values:
                _changed(recipe, {key: value})
    return RecipeFile(recipe=recipe, variants=variants, sweeps=sweeps, path=path)


def _whole(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's mapping, with what it extends merged in."""
    path = path.resolve()
    raw = shipped.extending(path, _KEYS, seen)
    base = raw.pop("extends", None)
    if base is None:
        return raw
    near = path.parent / str(base)
    parent_path, variant = (near, None) if near.is_file() else find(str(base))
    parent = _whole(parent_path, (*seen, path))
    parent.pop("name", None)
    if variant is not None:
        opened = _open(parent_path, ())
        opened.variant(variant)
        for key, value in opened.variants[variant].items():
            _assign(parent, full_key(opened.recipe, key), value)
    return _merged(parent, raw)


def _merged(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """The parent's values where the child is silent; `variants` and `sweeps` come from one of the two, whole."""
    made = dict(parent)
    if "data" in child or "images" in child:
        made = {k: v for k, v in made.items() if k not in ("data", "images") or k in child}
    for key, value in child.items():
        if key in SECTIONS and isinstance(value, Mapping) and isinstance(made.get(key), Mapping):
            section = dict(made[key])
            if key == "train" and any(name in value for name in BUDGETS):
                section = {k: v for k, v in section.items() if k not in BUDGETS}
            if key == "model" and value.get("family", section.get("family")) != section.get("family"):
                section.pop("settings", None)
            settings = {**(section.get("settings") or {}), **(value.get("settings") or {})}
            made[key] = {**section, **value, **({"settings": settings} if settings else {})}
        else:
            made[key] = value
    return made


def _build(values: Mapping[str, Any], where: str) -> Recipe:
    made: dict[str, Any] = {}
    for key, value in values.items():
        if key in SECTIONS and value is not None:
            made[key] = fields.build(SECTIONS[key], fields.mapping(value, f"{where}, {key}"), key)
        elif key in _TEXTS:
            made[key] = fields.convert(value, str, key)
    for key in ("model", "train", "decay"):
        if key not in made:
            raise SpectraError(f"{where} has no section {key}: expected model, data or images, train, decay. Add it.")
    return Recipe(**made)


def _changed(recipe: Recipe, changes: Mapping[str, object]) -> Recipe:
    values = fields.plain(recipe)
    for key, value in changes.items():
        _assign(values, full_key(recipe, key), value)
    return _build(values, recipe.name)


def _assign(values: dict[str, Any], path: str, value: object) -> None:
    """Set the dotted key; a budget takes the place of another."""
    *above, last = path.split(".", 2)
    target = values
    for part in above:
        target = target.setdefault(part, {})
    if above == ["train"] and last in BUDGETS and value is not None:
        for name in BUDGETS:
            target.pop(name, None)
    target[last] = value


def full_key(recipe: Recipe, key: str) -> str:
    """The dotted key that `key` means in this recipe.

    Raises:
        SpectraError: there is no such key, or it could be one of several.
    """
    present = [name for name in SECTIONS if getattr(recipe, name) is not None]
    known = [f"{section}.{name}" for section in present for name in fields.names_of(SECTIONS[section])]
    known += [*_TEXTS, *(f"model.settings.{name}" for name in recipe.model.settings)]
    section, _, rest = key.partition(".")
    if key in known or (key.startswith("model.settings.") and key.count(".") == 2):
        return key
    if rest and section in SECTIONS:
        if section not in present:
            raise SpectraError(f"{key}: recipe {recipe.name!r} has no section {section}; it has {', '.join(present)}.")
        raise SpectraError(
            f"Unknown key {rest!r} in {section}. {fields.nearest(rest, fields.names_of(SECTIONS[section]))}"
        )
    if rest:
        raise SpectraError(f"Unknown section {section!r} in {key!r}. {fields.nearest(section, present)}")
    candidates = [name for name in known if name.rpartition(".")[2] == key]
    if len(candidates) > 1:
        raise SpectraError(f"{key!r} could be {' or '.join(candidates)}. Write the one you mean.")
    if not candidates:
        bare = list(dict.fromkeys(name.rpartition(".")[2] for name in known))
        raise SpectraError(f"Unknown key {key!r}. {fields.nearest(key, bare)}")
    return candidates[0]


def _value(path: str, text: str, assignment: str) -> object:
    """The YAML value; where the field wants text, `revision=1234` stays text."""
    section, _, name = path.partition(".")
    kind = str if section in _TEXTS else typing.get_type_hints(SECTIONS[section]).get(name)
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    if str in (typing.get_args(kind) if union else (kind,)) and text not in ("", "null", "~"):
        return text
    if kind == tuple[str, ...] and not text.startswith("["):  # a list of texts: one may stand alone
        return [text]
    return strict_yaml.read(text, assignment)
