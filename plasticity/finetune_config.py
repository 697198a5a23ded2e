"""What a fine-tuning run is made of, and the recipes it starts from: YAML in `recipes/`, table 6 of the plasticity paper first.

A recipe file has keys of `FinetuneConfig` (not those that name task, data or weights), and may have `description`, `source` and
`extends` (a shipped name, or a file beside it; its values hold where this file is silent).
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphadecay import fields, shipped
from alphadecay.config import BUDGETS, DecayConfig, TrainConfig
from plasticity.base_model import DEFAULT_MODEL
from spectra.errors import SpectraError

RECIPES = Path(__file__).with_name("recipes")
DEFAULT_RECIPE = "table6"
NAMED = ("task", "model", "data", "tasks_dir", "from_scratch")  # by options of the command, not by recipes
_TEXTS = ("description", "source")
# Fields of `train` that would change nothing here, and why.
_IDLE = (
    dict.fromkeys(("eval_every", "eval_windows"), "fine-tuning holds no data back: plasticity evaluate scores the result")
    | dict.fromkeys(("tokens", "tokens_per_parameter"), "examples differ in length: set steps or epochs")
    | dict.fromkeys(("ema", "drop_path"), "it is for image models")
)  # fmt: skip
NO_EFFECT = (
    "log_every",
    "save_every",
    "keep",
    "report_to",
)  # fields of `train` that say what is written, and change no weight
_NO_EVALUATION = {"eval_every": 0, "eval_windows": 0}


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """A LoRA adapter in place of all weights (`peft`); `rank` 0: full fine-tuning."""

    rank: int = 0
    alpha: int = 32
    """Scale of the update: alpha / rank."""
    dropout: float = 0.0
    targets: str = "all-linear"
    """Modules that get one: peft's `all-linear`, or names separated by commas."""


def paper() -> TrainConfig:
    """`train` of table 6 (1B parameters and under)."""
    return fields.build(TrainConfig, read_recipe(DEFAULT_RECIPE)["train"], "train")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """What is fine-tuned on what, and how; what is left out is table 6's."""

    task: str
    model: str = DEFAULT_MODEL
    data: str | None = None
    """File or folder with the task's rows; None: its hub data set, or its generator."""
    tasks_dir: str | None = None
    """Folder with task files of the user's own."""
    window: int = field(default_factory=lambda: int(read_recipe(DEFAULT_RECIPE)["window"]))
    """Tokens an example may have (table 6, cutoff_len); longer ones are left out and counted."""
    limit: int | None = None
    """Examples at most."""
    packing: bool = False
    """Several examples a sequence of `window` tokens, which do not see each other; a batch is then of packs."""
    from_scratch: bool = False
    """The architecture of `model` with random weights: what fine-tuning gives without pretraining."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    train: TrainConfig = field(default_factory=paper)
    decay: DecayConfig = field(default_factory=DecayConfig)


SECTIONS: Mapping[str, type] = {"train": TrainConfig, "decay": DecayConfig, "lora": LoraConfig}


def recipe_names() -> list[str]:
    """Shipped fine-tuning recipes, the default first."""
    return sorted((path.stem for path in RECIPES.glob("*.yaml")), key=lambda name: (name != DEFAULT_RECIPE, name))


def read_recipe(name: str) -> dict[str, Any]:
    """The values of a recipe, by shipped name or path: sections are mappings, inherited values filled in.

    Raises:
        SpectraError: there is none (names the nearest), it is not YAML, or has a key that is unknown or would change nothing.
    """
    values = _whole(_find(name), ())
    for text in _TEXTS:
        values.pop(text, None)
    values.setdefault("train", {}).update(_NO_EVALUATION)
    return values


def from_values(values: Mapping[str, Any]) -> FinetuneConfig:
    """A configuration from plain values, sections as mappings; what is left out is the default.

    Raises:
        SpectraError: a key or a value that the configuration refuses.
    """
    rest = dict(values)
    sections: dict[str, Any] = {
        section: fields.build(cls, rest.pop(section, {}), section) for section, cls in SECTIONS.items()
    }
    hints = typing.get_type_hints(FinetuneConfig)
    plain = {name: fields.convert(value, hints[name], name) for name, value in rest.items()}
    return FinetuneConfig(**plain, **sections)


def check_train(names: Iterable[str], where: str) -> None:
    """Refuse keys of `train` that do not exist, or have no effect in fine-tuning; `where` names the file or section.

    Raises:
        SpectraError: one of them is such a key.
    """
    for name in names:
        if name in _IDLE:
            raise SpectraError(f"{where}: {name} has no effect in fine-tuning; {_IDLE[name]}. Leave it out.")
    useful = [name for name in fields.names_of(TrainConfig) if name not in _IDLE]
    fields.check_keys(names, useful, where)


def top_names() -> list[str]:
    """Fields of `FinetuneConfig` that a recipe and `key=value` may set, without sections."""
    return [name for name in fields.names_of(FinetuneConfig) if name not in (*SECTIONS, *NAMED)]


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `below` where `above` is silent, sections key by key; `steps` takes the place of `epochs`, and the reverse."""
    made = dict(below)
    for key, value in above.items():
        if key not in SECTIONS:
            made[key] = value
            continue
        section = dict(made.get(key) or {})
        if key == "train" and any(value.get(name) is not None for name in BUDGETS):
            section = {name: kept for name, kept in section.items() if name not in BUDGETS}
        made[key] = {**section, **value}
    return made


def _find(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if name in recipe_names():
        return RECIPES / f"{name}.yaml"
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise SpectraError(
            f"No recipe file {path}. Expected a YAML file, or a shipped recipe: {', '.join(recipe_names())}."
        )
    raise SpectraError(
        f"No fine-tuning recipe {name!r}. {fields.nearest(name, recipe_names())} A file of yours: name it by its path."
    )


def _whole(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's mapping, with what it extends beneath."""
    path = path.resolve()
    raw = shipped.extending(path, ("extends", *_TEXTS, *top_names(), *SECTIONS), seen)
    base = raw.pop("extends", None)
    for key, cls in SECTIONS.items():
        if key in raw:
            raw[key] = fields.mapping(raw[key], f"{path.name}, {key}")
            if cls is TrainConfig:
                check_train(raw[key], f"{path.name}, {key}")
            else:
                fields.check_keys(raw[key], fields.names_of(cls), f"{path.name}, {key}")
    if base is None:
        return raw
    near = path.parent / str(base)
    return merge(_whole(near if near.is_file() else _find(str(base)), (*seen, path)), raw)
