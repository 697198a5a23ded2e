"""Files appear whole or not at all: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from spectra.errors import SpectraError


def _refuse(path: Path, error: OSError) -> SpectraError:
    return SpectraError(f"Cannot write {path}: {error.strerror or error}. Choose a path in a folder you can write to.")


def is_stream(path: Path) -> bool:
    """A device, pipe or terminal (/dev/stdout, /dev/null): written to, never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def check_writable(path: Path) -> None:
    """Fail now rather than after the work.

    Raises:
        SpectraError: the folder is missing or not writable, or the path is a directory.
    """
    path = path.resolve()
    if is_stream(path):
        return
    if path.is_dir():
        raise SpectraError(f"Cannot write {path}: it is a directory. Name a file.")
    if not path.parent.is_dir():
        raise SpectraError(f"Cannot write {path}: the folder {path.parent} does not exist. Create it first.")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        raise _refuse(path, error) from error


def make_folder(path: Path, advice: str = "") -> None:
    """A folder with those above it, unless it is there; `advice` ends the message where it cannot be made.

    Raises:
        SpectraError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sentence = f"Cannot make the folder {path}: {error.strerror or error}."
        raise SpectraError(f"{sentence} {advice}".rstrip()) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole; errors as `write_whole`."""

    def write(staged: Path) -> None:
        staged.write_text(text, encoding="utf-8")

    write_whole(path, write)


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, flush it to disk, then rename it to `path`.

    Raises:
        SpectraError: the disk is full, or the folder not writable; `path` is then as it was.
    """
    path = path.resolve()  # a link stays a link; what it points to is replaced
    if is_stream(path):
        write(path)
        return
    # another process may write the same file, on another node under the same number
    staged = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        write(staged)
        with staged.open("rb+") as f:
            os.fsync(f.fileno())
        if path.exists():
            staged.chmod(path.stat().st_mode)
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise _refuse(path, error) from error
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
