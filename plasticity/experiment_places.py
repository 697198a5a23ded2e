"""Where a base stands in an experiment: its value on the experiment's axis, what else tells it from others, the lines it is on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]
GIVEN = "given"
BASE = "base"  # the axis where bases are told apart by their names alone
POLICY = "decay.policy"
_DECAY = "decay.base"


@dataclass(frozen=True, kw_only=True)
class Place:
    """What bases that differ in nothing but their seed share.

    Attributes:
        group: the recipe's name, or `given`.
        x: value on the experiment's axis; None where it has none.
        axes: what else varies within the group.
        families: labels of the lines that it is on: bases that differ on the axis alone.
        name: for tables and keys, different within a family.
    """

    group: str
    x: Any
    axes: Values
    families: tuple[str, ...]
    name: str

    @property
    def key(self) -> str:
        """The same for all seeds."""
        return json.dumps([self.group, self.x, dict(self.axes)], sort_keys=True, default=str)


def axis_of(bases: Mapping[str, Values], asked: str, told: Values) -> str:
    """What the bases are drawn against: `asked` where any has it, else the only axis that they share, else `BASE`.

    Of several shared ones it is the only one that varies. `bases`, `told` as in `places`.
    """
    if any(asked in axes for axes in bases.values()) or any(value is not None for value in told.values()):
        return asked
    keys = [[key for key in axes if key not in {"recipe", "variant", "seed"}] for axes in bases.values()]
    shared = [key for key in dict.fromkeys(key for of in keys for key in of) if all(key in of for of in keys)]
    varying = [key for key in shared if len({_text(axes[key]) for axes in bases.values()}) > 1]
    chosen = varying or shared
    return chosen[0] if len(chosen) == 1 else BASE


def places(bases: Mapping[str, Values], axis: str, variants: Mapping[str, Values], told: Values) -> dict[str, Place]:
    """Place every base.

    Args:
        bases: label -> axes, as in a cell's record.
        axis: as `axis_of` gives it.
        variants: name -> what each changes.
        told: label -> x where the axes do not have it (a recipe's own value).

    A base that no policy decays is on the lines of all policies: it is their zero. Given bases that agree in everything, their
    seed too, are told apart by their names.
    """
    changed = {key for variant in variants.values() for key in variant}
    hidden = {"recipe", "seed", axis} | ({"variant"} if axis in changed else changed)
    rest = {label: {k: v for k, v in axes.items() if k not in hidden} for label, axes in bases.items()}
    group = {label: str(axes.get("recipe", GIVEN)) for label, axes in bases.items()}
    made: dict[str, tuple[Any, dict[str, Any]]] = {}
    for label, axes in bases.items():
        x = axes.get(axis, told.get(label))
        members = [rest[other] for other in bases if group[other] == group[label]]
        own = {key: value for key, value in rest[label].items() if len({_text(m.get(key)) for m in members}) > 1}
        if x is None:
            own = rest[label] or {"checkpoint": label}
        if group[label] == GIVEN and any(_text(axes) == _text(more) for other, more in bases.items() if other != label):
            own = {**own, "checkpoint": label}
        made[label] = (x, own)
    lines = {
        (group[label], _text(own)): own for label, (x, own) in made.items() if x is not None
    }  # all lines, by what is the same on each
    return {
        label: Place(
            group=group[label],
            x=x,
            axes=own,
            families=_families(group[label], x, own, axis, lines),
            name=str(x)
            if x is not None
            else _name(label, own, [made[one][1] for one in bases if group[one] == group[label]]),
        )
        for label, (x, own) in made.items()
    }


def whole_name(group: str, x: Any, axes: Values, axis: str) -> str:
    """A place in words that tell it from those of all lines: `tiny decay.base=0.1 decay.policy=uniform`."""
    known = dict(axes) if x is None else {axis: x, **axes}
    return " ".join([group, *(f"{key}={value}" for key, value in known.items())])


def order(place: Place) -> tuple[int, float, str]:
    """For sorting by x: numbers first, ascending."""
    return (0, float(place.x), place.name) if is_number(place.x) else (1, 0.0, place.name)


def is_number(x: Any) -> bool:
    """Whether a value of an axis is one."""
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def _families(group: str, x: Any, own: Values, axis: str, lines: Mapping[tuple[str, str], Values]) -> tuple[str, ...]:
    if x is None:
        return (group,)
    if axis == _DECAY and own.get(POLICY) == "none":
        others = [
            line
            for (name, _), line in lines.items()
            if name == group and line.get(POLICY) != "none" and _undecayed(line) == _undecayed(own)
        ]
        if others:
            return tuple(_label(group, line, lines) for line in others)
    return (_label(group, own, lines),)


def _undecayed(axes: Values) -> dict[str, Any]:
    return {key: value for key, value in axes.items() if not key.startswith("decay.")}


def _label(group: str, axes: Values, lines: Mapping[tuple[str, str], Values]) -> str:
    text = told(axes, [line for (name, _), line in lines.items() if name == group])
    return f"{group} ({text})" if text else group


def told(axes: Values, among: Sequence[Values]) -> str:
    """What tells one of several apart: one key where that does, else all."""
    for key, value in axes.items():
        if len({_text(one.get(key)) for one in among}) == len(among):
            return f"{key} {value}"
    return ", ".join(f"{key} {value}" for key, value in axes.items())


def _name(label: str, axes: Values, among: Sequence[Values]) -> str:
    """A base's own; of several seeds what they share."""
    alone = sum(_text(one) == _text(axes) for one in among) == 1
    return label if alone else " ".join(str(value) for value in axes.values())


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
