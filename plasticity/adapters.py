"""Adapters (LoRA and the like) on top of a base checkpoint: which base, and whether all of an adapter's weights went in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alphadecay.data_hub import is_hub_id
from plasticity.loading_errors import some
from spectra.errors import SpectraError

CONFIG = "adapter_config.json"
_OWN_WEIGHTS = ("model", "pytorch_model")  # how files of a whole model begin


def base_of(folder: Path) -> str | None:
    """What an adapter's configuration names as its base.

    None where the folder has no such file, where that names none, and where a whole model lies beside the adapter
    (transformers takes that one).
    """
    return None if is_embedded(folder) else _named(folder / CONFIG)


def is_embedded(folder: Path) -> bool:
    """Whether a whole model and an adapter lie in one folder."""
    if not ((folder / CONFIG).is_file() and (folder / "config.json").is_file()):
        return False
    return any(
        file.name.startswith(_OWN_WEIGHTS) and file.suffix in {".safetensors", ".bin"} for file in folder.iterdir()
    )


def known_base(source: str, config: Path) -> str:
    """The base that an adapter's configuration file names: a path that is there, or a hub id.

    Raises:
        SpectraError: it names neither.
    """
    base = _named(config)
    if base is None or not (Path(base).exists() or is_hub_id(base)):
        raise SpectraError(
            f"{source} is a LoRA adapter, and its base {base!r} is not there. Set base_model_name_or_path in {CONFIG} "
            "to the base checkpoint, or name a merged model."
        )
    return base


def whole_name(base: str) -> str:
    """How an adapter names its base so that it is found from anywhere."""
    path = Path(base).expanduser()
    return str(path.resolve()) if path.exists() else base


def named_anew(config: Path, base: str) -> str:
    """The text of an adapter's configuration file with another name of its base."""
    known = json.loads(config.read_text(encoding="utf-8"))
    return json.dumps(known | {"base_model_name_or_path": base}, indent=2, sort_keys=True)


def put_on(model: Any, source: str, where: str, revision: str | None) -> None:
    """Load an adapter onto its base, in place.

    Raises:
        SpectraError: peft is not installed; weights of the adapter are missing, or are not of this base.
    """
    try:
        info = model.load_adapter(
            where, adapter_kwargs={"revision": revision} if revision else None, ignore_mismatched_sizes=True
        )
    except ImportError as error:
        raise SpectraError(
            f"{source} is an adapter, which needs peft: pip install 'spectra-plasticity[peft]'."
        ) from error
    wrong = {
        "it has no": sorted(info.missing_keys),
        "the base has no place for its": sorted(info.unexpected_keys),
        "the base has other shapes for its": sorted(key for key, *_ in info.mismatched_keys),
    }
    said = [f"{what} {some(names)}" for what, names in wrong.items() if names]
    if said:
        raise SpectraError(
            f"{source} is an adapter that does not fit its base: {', and '.join(said)}. It would be another model than the one "
            f"that was trained. Correct base_model_name_or_path and target_modules in {CONFIG}; where they are right, merge it "
            "into its base (peft's merge_and_unload) and name the result."
        )


def _named(config: Path) -> str | None:
    try:
        named = json.loads(config.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return named if isinstance(named, str) and named else None
