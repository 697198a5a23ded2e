"""Where a corpus comes from: embedded, local files or the hub; what identifies its content, and its texts."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError

from . import corpus, data_files, data_hub
from .data_config import EMBEDDED, DataConfig


@dataclass(frozen=True, kw_only=True)
class Source:
    """`identity`: plain data, equal where the content is; `texts(split)`: what stands in the text field, row by row;
    `check_unchanged()` raises where the content is no longer what `identity` says."""

    name: str
    identity: dict[str, Any]
    texts: Callable[[str], Iterator[object]]
    check_unchanged: Callable[[], None] = lambda: None


def open_source(config: DataConfig, notes: Path, say: Callable[[str], None]) -> Source:
    """Find out what `config.source` is and what identifies it. `notes`: a folder for hashes of files seen before.

    Raises:
        SpectraError: nothing of that name, or fields that this kind of source has no use for.
    """
    if config.source == EMBEDDED:
        _refuse_fields(config, {"subset": None, "revision": None, "split": "train", "validation_split": None})
        return _embedded()
    if Path(config.source).expanduser().exists():
        _refuse_fields(config, {"subset": None, "revision": None})
        return _local(config, notes, say)
    if not data_hub.is_hub_id(config.source) or data_files.kind(Path(config.source)) is not None:
        raise SpectraError(
            f"No data source {config.source!r}: not a file or folder here, nor a hub id such as allenai/c4. "
            f"Give a path that exists, an id, or {EMBEDDED!r}."
        )
    return _hub(config, notes, say)


def _refuse_fields(config: DataConfig, unused: dict[str, str | None]) -> None:
    for name, default in unused.items():
        if getattr(config, name) != default:
            raise SpectraError(
                f"data.{name} = {getattr(config, name)!r} has no meaning for the source {config.source!r}. Leave it out."
            )


def _embedded() -> Source:
    start = "\0".join(itertools.islice(corpus.documents(), 2000))
    identity = {"embedded": hashlib.sha256(start.encode()).hexdigest()}
    return Source(name="The embedded corpus", identity=identity, texts=lambda _: corpus.documents())


def _local(config: DataConfig, notes: Path, say: Callable[[str], None]) -> Source:
    splits = dict(zip((config.split, config.validation_split), data_files.split_files(config), strict=True))
    size = sum(path.stat().st_size for files in splits.values() for path in files)
    if size > 2**30:
        say(f"hashing {size / 2**30:.1f} GB of {config.source} (only where it changed)")
    stamps = {path: data_files.stamp(path, notes) for files in splits.values() for path in files}
    identity = {
        "files": {
            role: [[data_files.kind(path), stamps[path].sha256] for path in files]
            for role, files in zip(("train", "validation"), splits.values(), strict=True)
        }
    }

    def check_unchanged() -> None:
        for path, was in stamps.items():
            state = path.stat() if path.exists() else None
            if state is None or (state.st_size, state.st_mtime_ns) != (was.bytes, was.modified_ns):
                raise SpectraError(f"{path} changed while it was read. Start again when it is complete.")

    return Source(
        name=config.source,
        identity=identity,
        texts=lambda split: data_files.texts(splits[split], config),
        check_unchanged=check_unchanged,
    )


def _hub(config: DataConfig, notes: Path, say: Callable[[str], None]) -> Source:
    commit, remark = data_hub.commit(config, notes)
    if remark:
        say(remark)
    return Source(
        name=config.source,
        identity={"hub": config.source, "subset": config.subset, "commit": commit},
        texts=lambda split: data_hub.texts(config, split, commit),
    )
