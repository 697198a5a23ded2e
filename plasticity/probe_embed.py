"""Embeddings of texts: from the cache, or by loading the checkpoint and extracting what is missing, a shard at a time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plasticity.pace import Pace
from plasticity.probe_config import ProbeConfig
from plasticity.probe_encode import Encoded
from plasticity.probe_extract import CONVENTION, Extractor
from plasticity.probe_store import Floats, Store, default_directory
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.base_model import BaseModel

Say = Callable[[str], None]
_SHARD_TEXTS = 512
_SHARD_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Where the embeddings are, and how they came there: `extracted` texts now, `cached` ones before; `about` the model."""

    store: Store
    extracted: int
    cached: int
    about: Mapping[str, Any]
    seconds: float


def window_of(source: str, config: ProbeConfig, known: int | None) -> int | None:
    """Most tokens of a text: as told, but no more than the model was made for (an adapter: its base); None: no limit known."""
    from plasticity.adapters import base_of
    from plasticity.base_model import load_tokenizer

    base = base_of(Path(source).expanduser()) if known is None else None
    made_for = load_tokenizer(base).window if base is not None else known
    if config.window is not None and made_for is not None and config.window > made_for:
        raise SpectraError(
            f"--window is {config.window}, and {source} was made for {made_for} tokens. Give no more than that."
        )
    return config.window or made_for


def address(config: ProbeConfig, known: Mapping[str, Any], device: str, dtype: str) -> dict[str, Any]:
    """What embeddings depend on, beside the token ids.

    Args:
        known: the checkpoint's identity (`plasticity.identity`).

    Raises:
        SpectraError: a hub id whose commit cannot be told.
    """
    import torch
    import transformers

    from plasticity.identity import header

    path = Path(config.model).expanduser()
    if not path.exists() and known["revision"] is None:
        raise SpectraError(
            f"The hub does not tell which commit of {config.model} this is. Download it, and name its folder."
        )
    made = {
        **header(known), "beneath": _beneath(path), "convention": CONVENTION, "dtype": dtype,
        "device": device.partition(":")[0], "transformers": transformers.__version__,
    }  # fmt: skip
    if config.from_scratch:  # random weights: architecture, seed, and who draws
        made |= {"random": config.init_seed, "torch": torch.__version__}
        made |= {} if path.is_file() else {"weights": None}  # a GGUF file has its configuration in it
    return made


def _beneath(path: Path) -> list[str | None] | None:
    """Name and commit of an adapter's base on the hub; a local one is in the adapter's own hashes."""
    from plasticity.adapters import base_of
    from plasticity.hub_commit import commit_of

    base = base_of(path)
    return None if base is None or Path(base).exists() else [base, commit_of(base)[0]]


def embed(
    texts: Sequence[Encoded], config: ProbeConfig, where: Mapping[str, Any], device: str, dtype: Any, say: Say
) -> Embedded:
    """Make sure that every text's embedding is in the store; the checkpoint is loaded only if one is not.

    Args:
        where: the store's address.

    Raises:
        SpectraError: the checkpoint cannot be loaded, the cache not written, or an embedding is not finite.
    """
    from alphadecay.data_cache import held

    began = time.perf_counter()
    store = Store(Path(config.cache) if config.cache else default_directory(), where)
    of_key = {text.key: text for text in texts}
    missing = store.missing(list(of_key))
    if missing:
        with held(store.folder, say):
            store.reload()
            missing = store.missing(list(of_key))  # another process may have been there
            if missing:
                _extract([of_key[key] for key in missing], store, _model(config, device, dtype), config, say)
    return Embedded(
        store=store, extracted=len(missing), cached=len(of_key) - len(missing), about=store.about() or {},
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def _model(config: ProbeConfig, device: str, dtype: Any) -> BaseModel:
    from plasticity.base_model import load_base

    base = load_base(config.model, from_scratch=config.from_scratch, seed=config.init_seed)
    base.model.to(device=device, dtype=dtype)
    return base


def _extract(texts: Sequence[Encoded], store: Store, base: BaseModel, config: ProbeConfig, say: Say) -> None:
    """Texts of like length together, longest first; a shard as soon as there are enough texts or half a minute has passed."""
    extractor = Extractor(base.model, config.batch_size)
    harmless = extractor.try_padding([text.ids for text in texts])
    first = extractor.rows([texts[0].ids])  # (L + 1, 1, D)
    store.note(
        {
            "parameters": sum(p.numel() for p in base.model.parameters()), "layers": int(first.shape[0]),
            "width": int(first.shape[2]), "last_layer_is_final": extractor.last_layer_is_final, "equal_lengths": not harmless,
        }
    )  # fmt: skip
    _check_room(store.folder, first.nbytes * len(texts))
    if not harmless:
        say("padding changes this model's embeddings: only texts of one length go together")
    say(f"extracting {len(texts):,} texts, {first.nbytes * len(texts) / 2**20:,.0f} MB, into {store.folder}")
    pace, kept = Pace(), Pace(_SHARD_SECONDS)
    total, done = sum(len(text.ids) for text in texts), 0
    waiting: list[tuple[list[str], Floats]] = []
    for batch in extractor.batches([len(text.ids) for text in texts]):
        rows = extractor.rows([texts[i].ids for i in batch])
        _check_finite(rows, config.model, base.model.dtype)
        waiting.append(([texts[i].key for i in batch], rows))
        done += sum(len(texts[i].ids) for i in batch)
        if kept.due() or sum(len(keys) for keys, _ in waiting) >= _SHARD_TEXTS:
            _keep(store, waiting)
            waiting, kept = [], Pace(_SHARD_SECONDS)
        if pace.due():
            say(f"{done:,} of {total:,} tokens, about {pace.left(done, total):.0f} s left")
    if waiting:
        _keep(store, waiting)


def _keep(store: Store, waiting: Sequence[tuple[list[str], Floats]]) -> None:
    store.put([key for keys, _ in waiting for key in keys], np.concatenate([rows for _, rows in waiting], axis=1))


def _check_finite(rows: Floats, model: str, dtype: Any) -> None:
    finite = np.isfinite(rows).all(axis=(1, 2))
    if not finite.all():
        raise SpectraError(
            f"Embeddings of {model} are not finite at layer {int(np.argmin(finite))} in {dtype}. Choose --precision bf16 or fp32 "
            "where that is float16; otherwise its weights are damaged."
        )


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SpectraError(
            f"The embeddings need {needed / 2**30:.1f} GB, and {folder} has {free / 2**30:.1f} GB free. Choose "
            "a smaller --limit, or another folder with --cache."
        )
