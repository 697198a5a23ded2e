"""Repositories of the Hugging Face hub, through huggingface_hub: its endpoint (HF_ENDPOINT), token, cache and offline mode.

A repository is a Folder: the file list comes first, the same files are chosen as in a local folder, and headers of
safetensors shards come by range requests, so that the whole plan is known before anything large is fetched. A shard is
downloaded into the hub's cache when its first tensor is read. Without a connection, a cached snapshot is used.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spectra.checkpoint.folder import Folder, LocalFolder
from spectra.checkpoint.parts import Part
from spectra.checkpoint.safetensors_reader import SafetensorsPart, check_entries
from spectra.errors import CheckpointError
from spectra.stored import Stored

_LOCAL = "or download it where there is a connection and name the local folder"
_PATTERNS = ["*.json", "*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf"]


def open_hub_folder(repo: str, revision: str | None, progress: Callable[[str], None] | None) -> Folder:
    """The files of a repository at one commit.

    Raises:
        CheckpointError: no such repository or revision, no access, or no connection and nothing in the cache.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    label = f"{repo}@{revision}" if revision else repo
    api = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        if progress is not None:
            progress(f"asking the hub for the files of {label}")
        info = api.model_info(repo, revision=revision, files_metadata=True)
        # Files are fetched by commit, which leaves no note in the cache of what `main` was; without a connection
        # that note is needed. Older clients cannot leave it: there, offline use needs the commit as revision.
        resolve = getattr(api, "resolve_revision", None)
        if resolve is not None and revision != info.sha:
            resolve(repo, revision=revision)
    except HFValidationError as error:
        raise CheckpointError(f"{label}: not a local path, and no valid hub id ({error}).") from error
    except Exception as error:
        # requests and httpx (by version of the hub's client) raise families of their own when there is no connection
        if isinstance(error, HfHubHTTPError) and _status(error) < 500:
            raise _explained(error, label) from error
        return _cached(repo, revision, label, error)
    return HubFolder(api, repo, label, info, progress)


def _cached(repo: str, revision: str | None, label: str, cause: Exception) -> Folder:
    """The snapshot in the hub's cache, for when the hub cannot be reached."""
    import huggingface_hub

    try:
        path = huggingface_hub.snapshot_download(
            repo, revision=revision, local_files_only=True, allow_patterns=_PATTERNS
        )
    except Exception as error:
        raise CheckpointError(
            f"{label}: no local file or folder of that name, the hub cannot be reached ({_short(cause)}), and its cache has "
            f"no complete copy; check the path or the connection, {_LOCAL}."
        ) from error
    details = {"hub_id": repo, "hub_commit": Path(path).name, "hub_cache": "read without asking the hub"}
    return LocalFolder(Path(path), label, details)


class HubFolder(Folder):
    """A repository at one commit; files are fetched into the hub's cache one by one."""

    def __init__(self, api: Any, repo: str, label: str, info: Any, progress: Callable[[str], None] | None) -> None:
        self.label = label
        self._api, self._repo, self._progress = api, repo, progress
        self._commit: str = info.sha
        sizes = {sibling.rfilename: int(sibling.size or 0) for sibling in info.siblings or []}
        self._sizes = sizes
        self.files = {name: size for name, size in sizes.items() if "/" not in name}
        self.folders = tuple(dict.fromkeys(name.split("/")[0] for name in sizes if "/" in name))
        self.details: Mapping[str, Any] = {"hub_id": repo, "hub_commit": self._commit}

    def fetch(self, name: str) -> Path:
        label = self.file_label(name)
        cached = self._in_cache(name)
        if cached is not None:
            return cached
        if self._progress is not None:
            self._progress(f"downloading {label} ({self._sizes.get(name, 0) / 1e6:.1f} MB)")
        with _hub_errors(label):
            return Path(self._api.hf_hub_download(self._repo, name, revision=self._commit))

    def _in_cache(self, name: str) -> Path | None:
        import huggingface_hub

        found = huggingface_hub.try_to_load_from_cache(self._repo, name, revision=self._commit)
        return Path(found) if isinstance(found, str) else None

    def safetensors(self, name: str) -> Part:
        cached = self._in_cache(name)
        if cached is not None:
            return SafetensorsPart(cached, self.file_label(name))
        return RemoteSafetensorsPart(self, name, self._sizes.get(name, 0))

    def header(self, name: str) -> dict[str, Any]:
        """The header of a safetensors file in the repository, by range requests, as in the file."""
        with _hub_errors(self.file_label(name)):
            parsed = self._api.parse_safetensors_file_metadata(self._repo, name, revision=self._commit)
            return {
                tensor: {
                    "dtype": info.dtype,
                    "shape": list(info.shape),
                    "data_offsets": list(info.data_offsets),
                }
                for tensor, info in parsed.tensors.items()
            }


class RemoteSafetensorsPart(Part):
    """A safetensors file of which only the header is here; the file is fetched when its first tensor is read."""

    def __init__(self, folder: HubFolder, name: str, size: int) -> None:
        self.label = folder.file_label(name)
        self.size = size
        self.aliases: Mapping[str, str] = {}
        self.details: Mapping[str, Any] = {}
        header = folder.header(name)
        end = max((entry["data_offsets"][-1] for entry in header.values() if entry["data_offsets"]), default=0)
        self.tensors, _ = check_entries(header, end, self.label)
        self._folder, self._name = folder, name
        self._lock = threading.Lock()
        self._local: SafetensorsPart | None = None

    def read(self, name: str, index: int | None = None) -> Stored:
        with self._lock:  # two threads that want the same shard download it once
            if self._local is None:
                local = SafetensorsPart(self._folder.fetch(self._name), self.label)
                if local.tensors != self.tensors:
                    raise CheckpointError(f"{self.label}: changed on the hub between header and download; try again.")
                self._local = local
        return self._local.read(name, index)


@contextmanager
def _hub_errors(label: str) -> Iterator[None]:
    """What goes wrong between here and the hub, as one error."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise _explained(error, label) from error


def _explained(error: Exception, label: str) -> CheckpointError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return CheckpointError(
            f"{label}: the repository is gated; accept its terms on the hub and log in with `hf auth login`."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return CheckpointError(
            f"{label}: no local file or folder of that name, and no such repository on the hub (or it is private); check "
            "the name, or log in with `hf auth login`."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return CheckpointError(f"{label}: the repository has no such revision; expected a branch, tag or commit.")
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return CheckpointError(f"{label}: the repository has no such file.")
    if isinstance(error, errors.SafetensorsParsingError | errors.NotASafetensorsRepoError):
        return CheckpointError(f"{label}: its safetensors header is damaged on the hub ({_short(error)}).")
    return CheckpointError(f"{label}: the hub cannot be reached ({_short(error)}); try again, {_LOCAL}.")


def _status(error: Exception) -> int:
    """HTTP status of an error of the hub; 599 where there was no answer."""
    return int(getattr(getattr(error, "response", None), "status_code", None) or 599)


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]:.150}" if lines else type(error).__name__
