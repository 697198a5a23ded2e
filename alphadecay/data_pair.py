"""Two local files as training and validation windows of the same packing, by a tokenizer that is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.errors import SpectraError

from . import data_cache, data_files
from .data_build import Builder, SplitWriter, Tally, clean
from .data_config import DataConfig
from .data_tokenizer import vocabulary_size
from .data_windows import Windows, token_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, kw_only=True)
class Pair:
    """`facts`: side -> file name, SHA-256, documents read, kept and dropped, windows, tokens; plain data."""

    train: Windows
    validation: Windows
    facts: dict[str, Any]


def pair(
    train: Path,
    validation: Path,
    tokenizer: PreTrainedTokenizerFast,
    config: DataConfig,
    folder: Path,
    *,
    message: Callable[[str], None] | None = None,
) -> Pair:
    """Tokenise two files into an empty folder; documents stay in the order of their file, each ended by EOS.

    `config` gives window, packing, text_field and txt_document; its other fields have no say here.

    Raises:
        SpectraError: a file that cannot be read, without text, or with less than one window.
    """
    say = message or (lambda _: None)
    size = vocabulary_size(tokenizer)
    tallies = {}
    with Builder(folder, config, tokenizer, size, say) as builder:
        for name, path, writer in (("train", train, builder.train), ("validation", validation, builder.validation)):
            tallies[name] = _read(path, config, builder, writer)
            writer.close(None)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    layout = {"window": config.window, "packing": config.packing, "pad_id": int(pad), "dtype": token_dtype(size).str}
    splits = {name: Windows(folder, name, layout) for name in tallies}
    for name, path in (("train", train), ("validation", validation)):
        if len(splits[name]) == 0:
            raise SpectraError(
                f"{path} has {splits[name].tail_tokens:,} tokens in {tallies[name].kept:,} documents, but one window needs "
                f"{config.window:,}. Use a longer file or a smaller window."
            )
    facts = {
        name: {
            "file": path.name,
            "sha256": data_cache.file_hash(path),
            **asdict(tallies[name]),
            "windows": len(splits[name]),
            "tokens": splits[name].n_tokens,
        }
        for name, path in (("train", train), ("validation", validation))
    }
    return Pair(train=splits["train"], validation=splits["validation"], facts=facts)


def _read(path: Path, config: DataConfig, builder: Builder, writer: SplitWriter) -> Tally:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SpectraError(f"{path} {what}, expected a file: {data_files.SUPPORTED}.")
    if data_files.kind(path) is None:
        raise SpectraError(f"Cannot read {path}: its suffix is {path.suffix!r}, expected {data_files.SUPPORTED}.")
    tally = Tally()
    builder.run(clean(data_files.texts([path], config), str(path)), tally, lambda _: writer, None)
    if tally.kept == 0:
        raise SpectraError(f"{path} has no text: {tally.read:,} documents read, all of them empty. Name another file.")
    return tally
