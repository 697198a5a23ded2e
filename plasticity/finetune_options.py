"""A recipe, the task's own settings, `key=value` words -> FinetuneConfig; the later over the earlier."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alphadecay import fields, strict_yaml
from alphadecay.config import BUDGETS
from plasticity.finetune_config import (
    DEFAULT_RECIPE,
    SECTIONS,
    FinetuneConfig,
    check_train,
    from_values,
    merge,
    read_recipe,
    top_names,
)
from spectra.errors import SpectraError


def configure(
    given: Mapping[str, Any],
    assignments: Iterable[str] = (),
    own: Mapping[str, object] | None = None,
    recipe: str | Mapping[str, Any] = DEFAULT_RECIPE,
) -> FinetuneConfig:
    """The configuration of a fine-tuning run.

    Args:
        given: top-level fields (`task`, `model`, ...).
        assignments: `train.lr=1e-4`, `lr=1e-4` where one section alone has that key, `window=512`, `lora.rank=8`. Values are YAML.
        own: fields of `train` that the task sets otherwise than the paper: over the recipe's.
        recipe: name of a shipped recipe, or a YAML file; or what `read_recipe` made of one.

    Raises:
        SpectraError: no such recipe, an unknown or ambiguous key or one without effect, a wrong type, two lengths, a value that
            the configuration refuses.
    """
    values = read_recipe(recipe) if isinstance(recipe, str) else dict(recipe)
    if own:
        check_train(own, f"training of {given.get('task', 'the task')}")
        values = merge(values, {"train": own})
    seen: dict[tuple[str, str], object] = {}
    words = list(assignments)
    for number, assignment in enumerate(words):
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise SpectraError(f"Got {assignment!r}, expected key=value, such as {_meant(words[number:])}.")
        section, name = place = place_of(key.strip())
        if place in seen:
            raise SpectraError(f"{key.strip()} is set twice: keep one.")
        kind = typing.get_type_hints(SECTIONS.get(section, FinetuneConfig)).get(name)
        value = text.strip() if kind is str else strict_yaml.read(text.strip(), assignment)
        seen[place] = value
        values = merge(values, {section: {name: value}} if section else {name: value})
    lengths = [
        name for (section, name), value in seen.items() if section == "train" and name in BUDGETS and value is not None
    ]
    if len(lengths) > 1:
        raise SpectraError(f"Got {' and '.join(lengths)}, expected one of them: both say how long to train.")
    return from_values({**values, **given})


def _meant(words: Sequence[str]) -> str:
    """What to write for `steps 10`: the key and the word behind it; an example where the first word is no key."""
    key, *rest = words
    try:
        place_of(key)
    except SpectraError:
        return "train.lr=0.001"
    return f"{key}={rest[0]}" if rest and "=" not in rest[0] else f"{key}=VALUE"


def place_of(key: str) -> tuple[str, str]:
    """Section (empty: top level) and name of what a key means in fine-tuning.

    Raises:
        SpectraError: there is no such key, it could be one of several, or it has no effect.
    """
    known = [("", name) for name in top_names()]
    known += [(section, name) for section, cls in SECTIONS.items() for name in fields.names_of(cls)]
    section, dot, name = key.rpartition(".")
    if dot:
        if section not in SECTIONS:
            raise SpectraError(f"Unknown section {section!r} in {key!r}. {fields.nearest(section, SECTIONS)}")
        found = [(section, name)]
    else:
        found = [one for one in known if one[1] == key]
    if len(found) > 1:
        raise SpectraError(f"{key!r} could be {' or '.join('.'.join(p) for p in found)}. Write the one you mean.")
    if not found:
        raise SpectraError(f"Unknown key {key!r}. {fields.nearest(key, dict.fromkeys(name for _, name in known))}")
    section, name = found[0]
    if section == "train":
        check_train([name], section)
    elif section:
        fields.check_keys([name], fields.names_of(SECTIONS[section]), section)
    return section, name
