"""Mapping -> frozen dataclass, by its type annotations: unknown keys and wrong types refused, defaults filled in.

Knows nothing about recipes: the dataclasses in `alphadecay.config` and `alphadecay.data` check their own values in
`__post_init__`; this file checks that a value has the type its field was declared with.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union

from spectra.errors import SpectraError

T = TypeVar("T")


_MANY = 20


def nearest(name: str, known: Iterable[str]) -> str:
    """The second half of an error message: `Did you mean 'x'?` where something is near, and the known names.

    Many names (over 20) are only listed where nothing is near.
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    listed = f"Known: {', '.join(names)}."
    if not near:
        return listed
    return f"Did you mean {near[0]!r}?" + (f" {listed}" if len(names) <= _MANY else "")


def check_keys(given: Iterable[object], known: Iterable[str], where: str) -> None:
    """Refuse a key that is not among `known`; `where` names the section (`train`).

    Raises:
        SpectraError: names the key, the nearest known one, and all of them.
    """
    names = list(known)
    for key in given:
        if key not in names:
            raise SpectraError(f"Unknown key {str(key)!r} in {where}. {nearest(str(key), names)}")


def mapping(value: object, where: str) -> dict[str, Any]:
    """A mapping with text for keys; `where` names it in messages.

    Raises:
        SpectraError: it is no mapping.
    """
    if not isinstance(value, Mapping):
        raise SpectraError(f"{where}: got {type(value).__name__}, expected a mapping (key: value).")
    return {str(key): item for key, item in value.items()}


def names_of(cls: type) -> list[str]:
    """Names of a dataclass' fields, in the order of declaration."""
    return [field.name for field in dataclasses.fields(cls)]


def build(cls: type[T], values: Mapping[str, object], where: str) -> T:
    """An instance of the dataclass `cls` from a mapping; `where` names it in messages (`train`).

    Raises:
        SpectraError: an unknown key, a missing one that has no default, a value of the wrong type, or whatever the
            dataclass itself refuses.
    """
    check_keys(values, names_of(cls), where)
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # a dataclass, but its type does not say so
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise SpectraError(f"{where}.{field.name} is missing: expected {describe(hints[field.name])}. Add it.")
    return cls(**{key: convert(value, hints[key], f"{where}.{key}") for key, value in values.items()})


def plain(value: object) -> Any:
    """A dataclass as what YAML can hold: mappings, lists, scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def describe(kind: Any) -> str:
    """A type in the words of an error message."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(part) for part in arguments)
    if origin is Literal:
        return f"one of {', '.join(str(choice) for choice in arguments)}"
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"a list, each {describe(arguments[0])}"
    if origin is tuple:
        return f"a list of {len(arguments)}, each {describe(arguments[0])}"
    if origin in (Mapping, dict):
        return "a mapping"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}
    return names.get(kind, str(kind))


def convert(value: object, kind: Any, where: str) -> Any:
    """`value` as the annotated type `kind`; `where` names the field.

    A whole number is taken for a float, `1e9` for a whole number, a list for a tuple; text is never taken for a number.

    Raises:
        SpectraError: it is not of that type.
    """
    try:
        return _converted(value, kind, where)
    except _MismatchError:
        raise SpectraError(f"{where} = {value!r}: expected {describe(kind)}.") from None


class _MismatchError(Exception):
    """The value is not of the type."""


def _converted(value: object, kind: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _first_fit(value, arguments, where)
    if origin is Literal:
        if value in arguments and not isinstance(value, bool):
            return value
        near = difflib.get_close_matches(str(value), [str(choice) for choice in arguments], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise SpectraError(f"{where} = {value!r}: expected {describe(kind)}.{hint}")
    if origin is tuple:
        return _sequence(value, arguments, where)
    if origin in (Mapping, dict):
        if not isinstance(value, Mapping):
            raise _MismatchError
        return {str(key): item for key, item in value.items()}
    return _scalar(value, kind)


def _first_fit(value: object, kinds: Iterable[Any], where: str) -> Any:
    for kind in kinds:
        try:
            return _converted(value, kind, where)
        except _MismatchError:
            continue
    raise _MismatchError


def _sequence(value: object, kinds: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _MismatchError
    if kinds[-1] is not Ellipsis and len(kinds) != len(value):
        raise _MismatchError
    each = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else kinds
    return tuple(_converted(item, kind, where) for item, kind in zip(value, each, strict=True))


def _scalar(value: object, kind: Any) -> Any:
    if kind is type(None) and value is None:
        return None
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    raise _MismatchError
