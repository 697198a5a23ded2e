"""What an input of an experiment is, whatever its name and place: contents, for the addresses of cells.

Of local files the bytes count. Hashes are noted by path, size and time beside the prepared corpora (`ALPHADECAY_CACHE_DIR`), so a
file is read once. Of the hub the id counts, and the revision where there is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphadecay import fields
from plasticity.experiment_paths import check
from plasticity.finetune_config import NO_EFFECT
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from alphadecay.config import DataConfig, ImageConfig, Recipe
    from plasticity.tasks.base import Task

_TEXTS = ("name", "description", "source")
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "chat_template.jinja",
)  # fmt: skip
_SENTENCEPIECE = ".model"
Stamps = list[list[str]]


def address(kind: str, version: int, said: Mapping[str, Any]) -> str:
    """SHA-256 of all that decides a cell."""
    text = json.dumps({"version": version, "kind": kind, **said}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def recipe(known: Recipe, corpora: dict[DataConfig, Any]) -> dict[str, Any]:
    """All of a pretraining recipe that decides its weights and losses: contents of local inputs in place of their paths.

    `corpora`: those looked at already, added to; one for all recipes of a plan.

    Raises:
        SpectraError: an input looks like a path, and there is nothing.
    """
    made = {key: value for key, value in fields.plain(known).items() if key not in _TEXTS}
    made["train"] = training(made["train"])
    if known.model.init_from is not None:
        check(known.model.init_from, "model.init_from")
    made["model"] = {**made["model"], "init_from": named(known.model.init_from)}
    if known.data is not None:
        if known.data not in corpora:
            corpora[known.data] = _data(known.data)
        made["data"] = corpora[known.data]
    if known.images is not None:
        made["images"] = _images(known.images)
    return made


def training(values: Mapping[str, Any]) -> dict[str, Any]:
    """`train` without what changes no weight."""
    return {key: value for key, value in values.items() if key not in NO_EFFECT}


def architecture(known: Recipe, made: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe's model is before it is trained: settings, the ids of its texts, precision; `made`: what `recipe` gave.

    A tokenizer that is trained is one of the corpus.
    """
    data = made["data"] or made["images"]
    if known.data is not None and known.data.tokenizer is not None:
        data = {"tokenizer": data["tokenizer"], "window": known.data.window}
    return {"model": made["model"], "data": data, "precision": known.train.precision}


def checkpoint(path: Path) -> Stamps:
    """Files of a checkpoint that decide what it answers: weights, configuration, tokenizer; of a GGUF file its bytes."""
    from plasticity.identity import config_files, weight_files

    if path.is_file():
        return [[path.suffix, _sha256(path)]]
    return _stamps([*weight_files(path), *config_files(path), *tokenizer_files(path)])


def checkpoint_architecture(path: Path) -> Any:
    """The same of a checkpoint without its weights: what it is with random ones; of a file that holds both, all of it."""
    from plasticity.identity import config_files

    known = [] if path.is_file() else [file for file in config_files(path) if file.name != "generation_config.json"]
    if not known:
        return checkpoint(path)
    return _stamps([*known, *tokenizer_files(path)])


def tokenizer_files(path: Path) -> list[Path]:
    """The tokenizer's files in a checkpoint folder, and in a local base of an adapter."""
    from plasticity.adapters import base_of

    if path.is_file():
        return []
    found = [
        one
        for one in sorted(path.iterdir())
        if one.is_file() and (one.name in _TOKENIZER or one.suffix == _SENTENCEPIECE)
    ]
    base = base_of(path)
    return found + (tokenizer_files(Path(base)) if base is not None and Path(base).exists() else [])


def named(source: str | None) -> Any:
    """A checkpoint by its contents where it is here, else by its id on the hub."""
    if source is None or not Path(source).expanduser().exists():
        return source
    return checkpoint(Path(source).expanduser())


def rows(data: str | None, where: str) -> Stamps:
    """Local data of a task: names in the folder, and bytes; none where nothing is named.

    Raises:
        SpectraError: it is not there, or cannot be read.
    """
    if data is None:
        return []
    path = Path(data).expanduser()
    if path.is_file():
        return [[path.suffix, _sha256(path)]]
    if not path.exists():
        raise SpectraError(f"{where}: No data at {path}. Name a file or folder that is there.")
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return [[file.relative_to(path).as_posix(), _sha256(file)] for file in files]


def task(known: Task) -> str | None:
    """Hash of the file of a user's own task; None: it is one of ours, whose version counts."""
    from plasticity.tasks.user_code import user_file

    file = user_file(known)
    return None if file is None else _sha256(file)


def _data(config: DataConfig) -> dict[str, Any]:
    """The corpus: its settings, and of what is here its content in place of its place."""
    from alphadecay.data_config import EMBEDDED

    made: dict[str, Any] = fields.plain(config)
    made["tokenizer"] = config.tokenizer and _tokenizer(config.tokenizer)
    if config.source == EMBEDDED:
        made["source"] = _embedded()
    elif _is_local(config.source):
        from alphadecay.data_source import open_source

        made["source"] = open_source(config, _notes(), lambda _: None).identity
    return made


@cache
def _embedded() -> dict[str, Any]:
    from alphadecay.data_config import DataConfig
    from alphadecay.data_source import open_source

    return open_source(DataConfig(), _notes(), lambda _: None).identity


def _tokenizer(source: str) -> Any:
    path = check(source, "data.tokenizer", "tokenizer")
    return _stamps(tokenizer_files(path)) if path is not None and path.is_dir() else named(source)


def _images(config: ImageConfig) -> dict[str, Any]:
    made: dict[str, Any] = fields.plain(config)
    path = Path(config.source).expanduser()
    if path.is_dir():  # names and sizes: reading all of ImageNet takes an hour (alphadecay.image_folder does the same)
        files = sorted(one for one in path.rglob("*") if one.is_file())
        listed = "\n".join(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}" for file in files)
        made["source"] = hashlib.sha256(listed.encode()).hexdigest()
    return made


def _is_local(source: str) -> bool:
    """Whether there is something of that name here; what can be no hub id either is left to its reader to refuse."""
    from alphadecay.data_hub import is_hub_id

    return Path(source).expanduser().exists() or not is_hub_id(source)


def _stamps(files: Iterable[Path]) -> Stamps:
    """Names and hashes, a file once."""
    return [[file.name, _sha256(file)] for file in dict.fromkeys(files)]


def _sha256(path: Path) -> str:
    from alphadecay.data_files import stamp

    return stamp(path, _notes()).sha256


def _notes() -> Path:
    from alphadecay.data_cache import default_directory

    return default_directory() / "notes"
