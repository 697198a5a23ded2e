"""Provenance as titled lists of name and value: of one analysis, of two side by side, of a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A titled list of name and value."""

    title: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class SidesLine:
    """One name with its value in A and in B."""

    name: str
    a: str
    b: str

    @property
    def differs(self) -> bool:
        """Whether A and B do not say the same."""
        return self.a != self.b


@dataclass(frozen=True, kw_only=True)
class Sides:
    """A titled list of names with two values each."""

    title: str
    lines: tuple[SidesLine, ...]


_SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Checkpoint", ("source", "format", "details", "files", "header_sha256", "analysed_sha256")),
    ("Conventions", ("precision", "conventions")),
    ("Options", ("options",)),
    ("Run", ("created", "seconds", "device", "workers", "spectra", "commit", "python", "platform", "cpu_count", "libraries",
             "blas")),
)  # fmt: skip


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A nested value as lines: `fit.min_tail` -> `2`."""
    if isinstance(value, Mapping):
        return [line for key, inner in value.items() for line in flat(inner, f"{name}.{key}" if name else str(key))]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [(name, ", ".join(str(v) for v in value) or "none")]
    if value is None or isinstance(value, bool):
        return [(name, {None: "none", True: "yes", False: "no"}[value])]
    return [(name, str(value))]


def sections(made: Mapping[str, Any], schema_version: int) -> list[Facts]:
    """The provenance in sections; what no section knows comes last, so that nothing is hidden."""
    found = []
    for title, keys in _SECTIONS:
        lines: list[tuple[str, str]] = []
        for key in keys:
            if key in made:
                lines += flat(made[key], "" if key in ("details", "conventions", "options") else key)
        found.append(Facts(title=title, lines=tuple(lines)))
    known = {key for _, keys in _SECTIONS for key in keys}
    rest = [line for key, value in made.items() if key not in known for line in flat(value, key)]
    rest.append(("schema_version", str(schema_version)))
    found.append(Facts(title="Other", lines=tuple(rest)))
    return [section for section in found if section.lines]


def sides(a: Mapping[str, Any], b: Mapping[str, Any], schema_version: int) -> list[Sides]:
    """Two provenances line by line; a dash where only the other has the line."""
    both = [{s.title: dict(s.lines) for s in sections(made, schema_version)} for made in (a, b)]
    found = []
    for title in dict.fromkeys((*both[0], *both[1])):
        left, right = (side.get(title, {}) for side in both)
        lines = [
            SidesLine(name=name, a=left.get(name, "–"), b=right.get(name, "–"))
            for name in dict.fromkeys((*left, *right))
        ]
        found.append(Sides(title=title, lines=tuple(lines)))
    return found


def series(provenance: Mapping[str, Mapping[str, Any]], schema_version: int) -> tuple[list[Facts], list[Facts]]:
    """Provenances by step -> what all of them say, in sections; and per step, what they do not all say."""
    flat = {
        step: {(s.title, name): value for s in sections(made, schema_version) for name, value in s.lines}
        for step, made in provenance.items()
    }
    keys = list(dict.fromkeys(key for lines in flat.values() for key in lines))
    same = {key for key in keys if len({lines.get(key) for lines in flat.values()}) == 1}
    first = next(iter(flat.values()))
    common: dict[str, list[tuple[str, str]]] = {}
    for title, name in (key for key in keys if key in same):
        common.setdefault(title, []).append((name, first[title, name]))
    own = [
        Facts(title=f"Step {step}", lines=tuple((key[1], value) for key, value in lines.items() if key not in same))
        for step, lines in flat.items()
    ]
    return [Facts(title=title, lines=tuple(lines)) for title, lines in common.items()], own
