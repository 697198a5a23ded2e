"""YAML as recipes need it: `1e-3` is a number, a key that stands twice is an error, text comes out as it went in."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from spectra.errors import SpectraError


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML 1.1 reads 1e-3 (no point) and 1.e5 (no sign) as text; YAML 1.2, and every reader of papers, as numbers."""


_FLOAT = (
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    "-+.0123456789",
)
_Loader.add_implicit_resolver(_FLOAT[0], _FLOAT[1], list(_FLOAT[2]))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    loader.flatten_mapping(node)
    found: dict[Hashable, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in found:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(text: str, where: str) -> Any:
    """The value that `text` holds; `where` names it in messages (a file, a `key=value`).

    Raises:
        SpectraError: it is not YAML, or a key stands twice; says the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}" if mark is not None and "\n" in text.strip() else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise SpectraError(f"{where}{at}: not YAML ({problem}). Correct it, or put text in quotes.") from None


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Mappings one key a line, lists on one line, line ends in text as escapes."""

    def ignore_aliases(self, data: object) -> bool:
        """Write equal lists out twice rather than refer to the first."""
        return True


_Dumper.add_implicit_resolver(_FLOAT[0], _FLOAT[1], list(_FLOAT[2]))  # the text "1e3" is quoted, then
_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)
_Dumper.add_representer(
    str,
    lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if "\n" in value else None),
)


def write(value: object) -> str:
    """`value` (mappings, lists, scalars) as YAML, keys in their order."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text
