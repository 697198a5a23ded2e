"""`key=value` words -> FinetuneConfig: over the task's own settings, which are over the paper's."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import Any

from alphadecay import fields, strict_yaml
from alphadecay.config import BUDGETS, DecayConfig, TrainConfig
from plasticity.finetune import FinetuneConfig, LoraConfig, paper
from spectra.errors import SpectraError

_SECTIONS: Mapping[str, type] = {"train": TrainConfig, "decay": DecayConfig, "lora": LoraConfig}
_OPTIONS = ("task", "model", "data", "tasks_dir")  # named by options of the command, not by key=value


def configure(
    given: Mapping[str, Any], assignments: Iterable[str] = (), own: Mapping[str, object] | None = None
) -> FinetuneConfig:
    """The configuration of a fine-tuning run.

    Args:
        given: top-level fields (`task`, `model`, ...).
        assignments: `train.lr=1e-4`, `lr=1e-4` where one section alone has that key, `window=512`, `lora.rank=8`. Values are YAML.
        own: fields of `train` that the task sets otherwise than the paper.

    Raises:
        SpectraError: an unknown or ambiguous key, a wrong type, a value that the configuration refuses.
    """
    values: dict[str, Any] = {"train": fields.plain(paper()), "decay": {}, "lora": {}, **given}
    for name, value in (own or {}).items():
        _assign(values["train"], "train", name, value)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise SpectraError(f"Got {assignment!r}, expected key=value, such as train.lr=0.001.")
        section, name = _where(key.strip())
        kind = typing.get_type_hints(_SECTIONS.get(section, FinetuneConfig)).get(name)
        value = text.strip() if kind is str else strict_yaml.read(text.strip(), assignment)
        _assign(values[section] if section else values, section, name, value)
    sections: dict[str, Any] = {
        section: fields.build(cls, values.pop(section), section) for section, cls in _SECTIONS.items()
    }
    hints = typing.get_type_hints(FinetuneConfig)
    plain = {name: fields.convert(value, hints[name], name) for name, value in values.items()}
    return FinetuneConfig(**plain, **sections)


def _assign(target: dict[str, Any], section: str, name: str, value: object) -> None:
    if section == "train" and name in BUDGETS and value is not None:
        for budget in BUDGETS:
            target.pop(budget, None)
    target[name] = value


def _where(key: str) -> tuple[str, str]:
    """Section (empty: top level) and name."""
    top = [name for name in fields.names_of(FinetuneConfig) if name not in (*_SECTIONS, *_OPTIONS)]
    known = [("", name) for name in top]
    known += [(section, name) for section, cls in _SECTIONS.items() for name in fields.names_of(cls)]
    section, dot, name = key.rpartition(".")
    if dot:
        if section not in _SECTIONS:
            raise SpectraError(f"Unknown section {section!r} in {key!r}. {fields.nearest(section, _SECTIONS)}")
        fields.check_keys([name], fields.names_of(_SECTIONS[section]), section)
        return section, name
    found = [place for place in known if place[1] == key]
    if len(found) > 1:
        raise SpectraError(f"{key!r} could be {' or '.join('.'.join(p) for p in found)}. Write the one you mean.")
    if not found:
        raise SpectraError(f"Unknown key {key!r}. {fields.nearest(key, dict.fromkeys(name for _, name in known))}")
    return found[0]
