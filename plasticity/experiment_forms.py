"""What the sections of an experiment's file look like, for messages about one that has another form."""

from __future__ import annotations

from typing import Any

from alphadecay import fields
from spectra.errors import SpectraError

_FORMS = {
    "pretrain": "pretrain: {recipe: tiny}",
    "checkpoints": "checkpoints: {a: {path: FOLDER}}",
    "finetune": "finetune: {seeds: [1, 2, 3]}",
    "tasks": "tasks: [toy_arithmetic], or tasks: {race: {data: FOLDER}}",
    "evaluate": "evaluate: {samples: 16}",
    "probe": "probe: {tasks: [sst2]}",
    "gap": "gap: {windows: 1024}, or gap: {}",
    "spectra": "spectra: {}",
    "resources": "resources: {threads: 8, gpus: 1}",
}


def whole(value: object, where: str) -> dict[str, Any]:
    """The keys of an experiment's file; raises `SpectraError` where it is empty or no mapping."""
    if value is None:
        raise SpectraError(f"{where} is empty: expected an experiment. plasticity run demo --show prints one.")
    return fields.mapping(value, where)


def section(value: object, where: str, key: str) -> dict[str, Any]:
    """A section, or an entry of one; `where` names the file and the place, `key` the section.

    Raises:
        SpectraError: it is no mapping, or its seeds are no list; says what it should look like.
    """
    try:
        made = fields.mapping(value, where)
    except SpectraError:
        raise SpectraError(f"{where} = {value!r}: expected a form such as {_FORMS[key]}.") from None
    if not isinstance(made.get("seeds", []), (list, tuple)) and key in ("pretrain", "finetune"):
        raise SpectraError(f"{where}.seeds = {made['seeds']!r}: expected a list, such as seeds: [1, 2, 3].")
    return made
