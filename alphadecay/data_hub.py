"""Documents of a hub data set through `datasets`, at one commit; everything that needs the network is here."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spectra.atomic import write_text
from spectra.errors import SpectraError

from .data_config import DataConfig
from .data_files import missing_field

_BATCH = 256
_TIMEOUT_S = 20.0


def is_hub_id(source: str) -> bool:
    """Whether a source may be a hub id: `owner/name`, without a leading dot or a further slash."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", source) is not None


def commit(config: DataConfig, memos: Path) -> tuple[str, str | None]:
    """The commit that the source's revision stands for, and a remark where it is not fresh.

    A full commit is taken as it is. Where the hub does not answer, the commit of the last time (a note in `memos`) is.

    Raises:
        SpectraError: the data set is unknown or closed, or the hub does not answer and there is no note.
    """
    if re.fullmatch(r"[0-9a-f]{40}", config.revision or ""):
        return str(config.revision), None
    note = memos / (re.sub(r"[^\w.-]", "--", f"{config.source}@{config.revision or 'main'}") + ".txt")
    try:
        found = _ask_commit(config.source, config.revision)
    except _errors() as error:
        if _refused(error) or not note.is_file():
            raise _explained(config, error) from error
        found = note.read_text(encoding="utf-8").strip()
        return found, f"the hub does not answer; going on with commit {found[:12]} of {config.source} from last time"
    with contextlib.suppress(OSError, SpectraError):  # a note that cannot be kept costs nothing now
        memos.mkdir(parents=True, exist_ok=True)
        write_text(note, found)
    return found, None


def texts(config: DataConfig, split: str, revision: str | None) -> Iterator[object]:
    """The text field of every row of a split, in the data set's order.

    Raises:
        SpectraError: the data set, its subset, its split or its text field does not exist, or the network fails.
    """
    try:
        rows = _load(config.source, config.subset, split, revision, config.streaming)
        number = 0
        for batch in rows.iter(batch_size=_BATCH):
            if config.text_field not in batch:
                raise missing_field(f"Row {number + 1} of {config.source}", config.text_field, list(batch))
            column = batch[config.text_field]
            number += len(column)
            yield from column
    except _errors() as error:
        raise _explained(config, error) from error


def network_errors() -> tuple[type[Exception], ...]:
    """What hub libraries raise for a network that fails, a name that is not there, or a file that is damaged.

    The http library under huggingface_hub changes (requests, httpx); its base class is a base of HfHubHTTPError.
    """
    from huggingface_hub.errors import HfHubHTTPError

    http = [base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)]
    return (OSError, ValueError, RuntimeError, *http)


def _errors() -> tuple[type[Exception], ...]:
    from datasets.exceptions import DatasetsError

    return (DatasetsError, *network_errors())


def _ask_commit(source: str, revision: str | None) -> str:
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(source, revision=revision, timeout=_TIMEOUT_S).sha)


def _load(source: str, subset: str | None, split: str, revision: str | None, streaming: bool) -> Any:
    from datasets import load_dataset

    return load_dataset(source, subset, split=split, revision=revision, streaming=streaming)


def _refused(error: Exception) -> bool:
    """Whether the hub answered, and said no."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return isinstance(error, (HfHubHTTPError, HFValidationError))


def _explained(config: DataConfig, error: Exception) -> SpectraError:
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

    name = config.source + (f" ({config.subset})" if config.subset else "")
    local = "or download it elsewhere and set data.source to the local file or folder"
    reason = " ".join(str(error).split())[:300]
    if isinstance(error, GatedRepoError):
        return SpectraError(
            f"The data set {name} is gated. Accept its terms on the hub and run `hf auth login`, {local}."
        )
    if isinstance(error, (RepositoryNotFoundError, DatasetNotFoundError)):
        return SpectraError(
            f"No data set {name} on the hub that you may read, and no local file or folder of that name. "
            f"Check the id (private and gated ones need `hf auth login`), {local}."
        )
    if isinstance(error, OfflineModeIsEnabled):
        return SpectraError(
            f"The data set {name} needs the hub, but offline mode is on. Unset HF_HUB_OFFLINE, {local}."
        )
    if isinstance(error, (ValueError, RuntimeError)):
        return SpectraError(f"Cannot read {name}: {reason} Set data.subset and data.split to what it has, {local}.")
    return SpectraError(f"The hub cannot be reached for {name}: {reason}. Check the network, {local}.")
