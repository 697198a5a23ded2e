"""Text to windows of tokens: tokenised once, cached by content, packed, split and ordered by seed, so that the training
windows a model saw can be named later.

    corpus = prepare(DataConfig(source="embedded"))
    corpus.train[0]["input_ids"]                       # (window,) int64
    order(corpus.train, seed=42, epoch=0)              # the order of an epoch
    seen(corpus.train, seed=42, batch_size=16, steps=250)

Prepare before a process group is started: the other ranks wait for the one that tokenises, which may take longer than the
group's time limit.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.errors import SpectraError

from . import data_cache
from .data_build import Builder, SplitWriter, Tally, clean, held_out
from .data_cache import default_directory
from .data_config import EMBEDDED, EMBEDDED_TOKENS, DataConfig
from .data_source import Source, open_source
from .data_tokenizer import load_tokenizer, tokenizer_hash, train_tokenizer, vocabulary_size
from .data_windows import Seen, Windows, last_seen, order, seen, token_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = [
    "Corpus", "DataConfig", "Seen", "Windows", "default_directory", "last_seen", "order", "prepare", "recorded", "seen",
    "train_tokenizer",
]  # fmt: skip

_VERSION = 1  # raise when the same source and config give other windows
_SAMPLE_CHARACTERS = {True: 2_000_000, False: 20_000_000}  # what a tokenizer is trained on: embedded, any other source
# Decided elsewhere in the key (by content), or without effect on it.
_NOT_IN_KEY = ("source", "subset", "revision", "streaming", "tokenizer", "vocab_size")


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A prepared corpus.

    `fingerprint`: SHA-256 over the source's content (or hub id and commit), the tokenizer, the config, and the hashes of the
    files of windows: equal fingerprints, equal windows.
    """

    train: Windows
    validation: Windows
    tokenizer: PreTrainedTokenizerFast
    vocab_size: int
    fingerprint: str
    folder: Path
    manifest: dict[str, Any]

    def facts(self) -> dict[str, Any]:
        """What went in and came out, for provenance: plain numbers, text, lists and dicts; no paths of this machine."""
        kept = {k: v for k, v in self.manifest.items() if k != "layout"}
        return {"fingerprint": self.fingerprint, **copy.deepcopy(kept)}


def prepare(config: DataConfig, cache: Path | None = None, *, message: Callable[[str], None] | None = None) -> Corpus:
    """The windows of a source: from the cache, or read, tokenised and cached. Several processes may call it at once.

    `cache`: a folder; default `default_directory()`. `message` is told what happens, every few seconds.

    Raises:
        SpectraError: the source, tokenizer or cache cannot be used, or there is too little text for one window a split.
    """
    say = message or (lambda _: None)
    root = default_directory() if cache is None else Path(cache)
    if config.source == EMBEDDED and config.max_tokens is None:
        config = replace(config, max_tokens=EMBEDDED_TOKENS)
    source = open_source(config, root / "notes", say)
    given = None if config.tokenizer is None else load_tokenizer(config.tokenizer)
    inputs = _inputs(config, source, given)
    folder = root / f"corpus-{data_cache.digest(inputs)[:32]}"
    manifest = data_cache.read(folder)
    if manifest is None:
        with data_cache.held(folder, say):
            manifest = data_cache.read(folder)  # another process may have made it while this one waited
            if manifest is None:
                if folder.exists():
                    say("the cache of this corpus is damaged; making it again")
                manifest = data_cache.fill(
                    folder, lambda staged: _build(staged, config, source, given, say) | {"inputs": inputs}
                )
                return _open(folder, manifest, given)
    say(f"tokenised before: {manifest['train']['tokens']:,} training tokens from the cache")
    return _open(folder, manifest, given)


def recorded(
    facts: Mapping[str, Any],
    config: DataConfig | None,
    cache: Path | None = None,
    *,
    message: Callable[[str], None] | None = None,
) -> Corpus:
    """The corpus that a run trained on: from the cache by what its `data.json` holds, else made again from the source.

    `facts`: of `Corpus.facts()`; `config`: the run's, None where it is not known (then only the cache can have it). The
    cached windows do even where the source is gone or has changed since: they are what was trained on.

    Raises:
        SpectraError: neither cache nor source has it, or the source gives other windows than those recorded.
    """
    say = message or (lambda _: None)
    root = default_directory() if cache is None else Path(cache)
    inputs, fingerprint = facts["inputs"], facts["fingerprint"]
    folder = root / f"corpus-{data_cache.digest(inputs)[:32]}"
    manifest = data_cache.read(folder)
    if manifest is not None:
        found = _open(folder, manifest, None)
        if found.fingerprint == fingerprint:
            say("the run's windows are in the cache")
            return found
    if config is None:
        raise SpectraError(
            f"The windows of this run are not in the cache {root}, and it has no recipe.yaml that names their source. Point "
            "ALPHADECAY_CACHE_DIR at the cache that it was trained with."
        )
    try:
        now = _inputs_now(config, root, say)
    except SpectraError as error:
        raise SpectraError(
            f"The data of this run are gone: its windows are not in the cache {root}, and their source cannot be read. {error} "
            "Put the source back, or point ALPHADECAY_CACHE_DIR at the cache that it was trained with."
        ) from error
    for name in ("version", "source", "config"):
        if now[name] != inputs[name]:
            raise _changed(config, f"its {name} is {_short(now[name])} now, the run recorded {_short(inputs[name])}")
    made = prepare(config, cache, message=message)
    if made.fingerprint != fingerprint:
        raise _changed(
            config, f"its fingerprint is {made.fingerprint[:16]}... now, the run recorded {fingerprint[:16]}..."
        )
    return made


def _inputs_now(config: DataConfig, root: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """What would decide the windows if they were made now, as it reads back from JSON."""
    if config.source == EMBEDDED and config.max_tokens is None:
        config = replace(config, max_tokens=EMBEDDED_TOKENS)
    given = None if config.tokenizer is None else load_tokenizer(config.tokenizer)
    found: dict[str, Any] = json.loads(json.dumps(_inputs(config, open_source(config, root / "notes", say), given)))
    return found


def _changed(config: DataConfig, how: str) -> SpectraError:
    return SpectraError(
        f"The data of this run have changed: {config.source} does not give the windows that it was trained on ({how}). Put the "
        "source back as it was, or point ALPHADECAY_CACHE_DIR at the cache that it was trained with."
    )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _inputs(config: DataConfig, source: Source, given: PreTrainedTokenizerFast | None) -> dict[str, Any]:
    """All that decides the windows."""
    tokenizer: dict[str, Any]
    if given is None:
        import tokenizers

        embedded = config.source == EMBEDDED
        tokenizer = {
            "trained": "byte-level BPE, digits split",
            "vocab_size": config.vocab_size,
            "sample_characters": _SAMPLE_CHARACTERS[embedded],
            "tokenizers": tokenizers.__version__,
        }
    else:
        tokenizer = {"sha256": tokenizer_hash(given)}
    chosen = {k: v for k, v in asdict(config).items() if k not in _NOT_IN_KEY}
    return {"version": _VERSION, "source": source.identity, "tokenizer": tokenizer, "config": chosen}


def _build(
    staged: Path, config: DataConfig, source: Source, given: PreTrainedTokenizerFast | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """Fill a folder with tokens and tokenizer; what is returned becomes the manifest."""
    begun = time.monotonic()
    tokenizer = given
    if tokenizer is None:
        say(f"training a tokenizer of {config.vocab_size:,} tokens")
        tokenizer = train_tokenizer(_sample(config, source), config.vocab_size)
    size = vocabulary_size(tokenizer)
    tallies = {"documents": Tally()} | ({} if config.validation_split is None else {"validation_documents": Tally()})
    with Builder(staged, config, tokenizer, size, say) as builder:
        _read(config, source, builder, tallies)
        builder.close()
    source.check_unchanged()
    tokenizer.save_pretrained(staged / "tokenizer")
    layout = {
        "window": config.window,
        "packing": config.packing,
        "pad_id": int(tokenizer.pad_token_id),
        "dtype": token_dtype(size).str,
    }
    splits = {name: Windows(staged, name, layout) for name in ("train", "validation")}
    _check_enough(config, source, tallies["documents"], splits)
    cut = {"train": builder.train.cut_tokens, "validation": builder.validation.cut_tokens}
    facts: dict[str, Any] = {
        **{name: asdict(tally) for name, tally in tallies.items()},
        **{name: _split_facts(windows, cut[name]) for name, windows in splits.items()},
        "characters_per_token": _ratio(tallies, builder),
        "split": _rule(config),
        "order": "documents packed and epochs ordered by ranks of raw Philox numbers; key (2, seed) and (1, seed, epoch)",
        "tokenizer": {"sha256": tokenizer_hash(tokenizer), "vocab_size": size, "trained": given is None},
        "layout": layout,
    }
    say(
        f"tokenised {facts['train']['tokens']:,} training and {facts['validation']['tokens']:,} validation tokens "
        f"in {time.monotonic() - begun:.1f} s"
    )
    return facts


def _read(config: DataConfig, source: Source, builder: Builder, tallies: dict[str, Tally]) -> None:
    """Read the source into the two splits."""
    limit = None if config.max_tokens is None else (builder.train, config.max_tokens)
    documents = clean(source.texts(config.split), source.name)
    if config.validation_split is None:

        def side(text: str) -> SplitWriter:
            return builder.validation if held_out(text, config) else builder.train

        builder.run(documents, tallies["documents"], side, limit)
        return
    builder.run(documents, tallies["documents"], lambda _: builder.train, limit)
    wanted = None
    if config.max_tokens is not None:
        wanted = (builder.validation, max(math.ceil(config.max_tokens * config.validation), config.window))
    documents = clean(source.texts(config.validation_split), source.name)
    builder.run(documents, tallies["validation_documents"], lambda _: builder.validation, wanted)


def _sample(config: DataConfig, source: Source) -> Iterator[str]:
    """Training documents for the tokenizer, from the start of the source; none that is held out."""
    left = wanted = _SAMPLE_CHARACTERS[config.source == EMBEDDED]
    read = 0
    for document in clean(source.texts(config.split), source.name):
        read += 1
        if document.dropped or (config.validation_split is None and held_out(document.text, config)):
            continue
        yield document.text
        left -= len(document.text)
        if left <= 0:
            return
    if left == wanted:
        raise _no_text(source, read)


def _no_text(source: Source, read: int) -> SpectraError:
    return SpectraError(
        f"{source.name} has no training text: {read:,} documents read, all of them empty or held out. "
        "Check data.source, data.split and data.text_field."
    )


def _check_enough(config: DataConfig, source: Source, tally: Tally, splits: dict[str, Windows]) -> None:
    if tally.kept == 0:
        raise _no_text(source, tally.read)
    train, validation = splits["train"], splits["validation"]
    if len(train) == 0:
        raise SpectraError(
            f"{source.name} gives {train.tail_tokens:,} training tokens, but one window needs {config.window:,}. "
            "Use more text or a smaller data.window."
        )
    if len(validation) == 0:
        todo = "Raise data.validation" if config.validation_split is None else "Name a larger data.validation_split"
        raise SpectraError(
            f"The validation split of {source.name} has {validation.tail_tokens:,} tokens in "
            f"{len(validation.source_documents):,} documents, but one window needs {config.window:,}. "
            f"{todo}, use more text, or a smaller data.window."
        )


def _split_facts(windows: Windows, cut: int) -> dict[str, Any]:
    padding = len(windows) * windows.window - windows.n_tokens
    return {
        "documents": len(windows.source_documents),
        "windows": len(windows),
        "tokens": windows.n_tokens,
        "tail_tokens_left_out": windows.tail_tokens,
        "truncated_tokens": cut,
        "padding_share": padding / (len(windows) * windows.window) if len(windows) else 0.0,
    }


def _ratio(tallies: dict[str, Tally], builder: Builder) -> float:
    """Characters per token, truncated tokens and EOS included."""
    tokens = sum(writer.n_tokens + writer.cut_tokens for writer in (builder.train, builder.validation))
    return sum(tally.characters for tally in tallies.values()) / max(tokens, 1)


def _rule(config: DataConfig) -> dict[str, Any]:
    if config.validation_split is not None:
        return {"rule": "a split of its own", "train": config.split, "validation": config.validation_split}
    return {
        "rule": "held out where blake2b(text, 8 bytes, salt = seed in 16 bytes), little-endian, is under share x 2**64",
        "share": config.validation,
        "seed": config.seed,
        "documents": "train.sources.npy and validation.sources.npy hold the indices in the source, in the order they are packed",
    }


def _open(folder: Path, manifest: dict[str, Any], given: PreTrainedTokenizerFast | None) -> Corpus:
    from transformers import PreTrainedTokenizerFast

    windows = {name: Windows(folder, name, manifest["layout"]) for name in ("train", "validation")}
    hashes = {name: entry["sha256"] for name, entry in manifest["files"].items() if not name.startswith("tokenizer/")}
    inputs = manifest["inputs"]
    content = [inputs["version"], inputs["source"], inputs["config"], manifest["tokenizer"]["sha256"], hashes]
    return Corpus(
        train=windows["train"],
        validation=windows["validation"],
        tokenizer=given if given is not None else PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"),
        vocab_size=manifest["tokenizer"]["vocab_size"],
        fingerprint=data_cache.digest(content),
        folder=folder,
        manifest=manifest,
    )
