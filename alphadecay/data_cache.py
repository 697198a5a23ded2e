"""Prepared corpora on disk: one folder a key, whole or absent, with a manifest of hashes written last.

Under `$ALPHADECAY_CACHE_DIR`, or else `$XDG_CACHE_HOME/alphadecay` (`~/.cache/...`). A folder is filled under a temporary name
and renamed; processes that want the same key wait for a lock (flock, where the system has it: released when a process
dies), and without one the first rename wins.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError

from . import locks

MANIFEST = "manifest.json"
_BLOCK = 2**20
_BLOCKS = 64


def default_directory() -> Path:
    """Where prepared corpora are kept unless told otherwise."""
    chosen = os.environ.get("ALPHADECAY_CACHE_DIR")
    if chosen:
        return Path(chosen)
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "alphadecay"


def digest(value: object) -> str:
    """SHA-256 of a value as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def spot_hash(path: Path) -> str:
    """SHA-256 of a file's size and of up to 64 of its blocks of 1 MB, evenly spaced: all of a file up to 64 MB."""
    size = path.stat().st_size
    blocks = -(-size // _BLOCK)
    chosen = range(blocks) if blocks <= _BLOCKS else [i * (blocks - 1) // (_BLOCKS - 1) for i in range(_BLOCKS)]
    found = hashlib.sha256(str(size).encode())
    with path.open("rb") as f:
        for i in chosen:
            f.seek(i * _BLOCK)
            found.update(f.read(_BLOCK))
    return found.hexdigest()


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder whose files are there, of the recorded sizes and spot hashes; None: absent or damaged."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, entry in manifest["files"].items():
            path = folder / name
            if path.stat().st_size != entry["bytes"] or spot_hash(path) != entry["spot_sha256"]:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest


def fill(folder: Path, write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Let `write` fill a temporary folder; add hashes of its files to what it returns, store that as manifest, rename.

    Where another process was first, its folder is kept and ours thrown away; a damaged one is replaced.

    Raises:
        SpectraError: the cache cannot be written. Whatever is raised, nothing half-written stays.
    """
    staged = folder.with_name(f"{folder.name}.{os.getpid()}.{time.time_ns()}.tmp")
    try:
        staged.mkdir(parents=True)
        manifest = write(staged)
        entries = {}
        for path in sorted(p for p in staged.rglob("*") if p.is_file()):
            with path.open("rb+") as f:
                os.fsync(f.fileno())
            name = path.relative_to(staged).as_posix()
            entries[name] = {"bytes": path.stat().st_size, "sha256": file_hash(path), "spot_sha256": spot_hash(path)}
        manifest["files"] = entries
        with (staged / MANIFEST).open("w", encoding="utf-8") as out:
            out.write(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
            out.flush()
            os.fsync(out.fileno())
        return _publish(staged, folder, manifest)
    except OSError as error:
        raise SpectraError(
            f"Cannot write the token cache {folder.parent}: {error.strerror or error}. "
            "Free space, or set ALPHADECAY_CACHE_DIR to a folder you can write to."
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _publish(staged: Path, folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    if folder.exists():
        theirs = read(folder)
        if theirs is not None:
            return theirs
        damaged = staged.with_suffix(".damaged.tmp")
        folder.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        staged.rename(folder)
    except OSError:
        theirs = read(folder)  # another process renamed between the look and ours
        if theirs is None:
            raise
        return theirs
    return manifest


@contextlib.contextmanager
def held(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a key, waiting for another process that has it; clears what killed processes left of that key.

    Raises:
        SpectraError: the cache folder cannot be made or written.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            locked = stack.enter_context(
                locks.flocked(
                    folder.with_name(f"{folder.name}.lock"),
                    lambda: say("another process prepares the same data; waiting for it"),
                )
            )
        except OSError as error:
            raise SpectraError(
                f"Cannot write the token cache {folder.parent}: {error.strerror or error}. "
                "Set ALPHADECAY_CACHE_DIR to a folder you can write to."
            ) from error
        if locked:
            for left in folder.parent.glob(f"{folder.name}.*.tmp"):
                shutil.rmtree(left, ignore_errors=True)
        yield
