"""Null draws kept in memory and on disk: the same shapes come back in every layer, and in the next run.

One small JSON file a shape under `$SPECTRA_CACHE_DIR`, or else `$XDG_CACHE_HOME/spectra-plasticity` (`~/.cache/...`). The name
holds all that decides the content, numpy's version (its random streams) included; a damaged or unwritable cache is
recomputed, never an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spectra import null
from spectra.null import Draws
from spectra.panel import FitOptions
from spectra.profiles import DEFAULT, Profile

_VERSION = 2  # raise when the definition of any drawn column changes


def default_directory() -> Path:
    """Where draws are kept unless told otherwise."""
    chosen = os.environ.get("SPECTRA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "spectra-plasticity"


class NullCache:
    """Draws by shape. Safe for several threads: each key is drawn once."""

    def __init__(self, seed: int, options: FitOptions, directory: Path | None, profile: Profile = DEFAULT) -> None:
        """`directory` None keeps draws in memory only."""
        self._seed, self._options, self._directory, self._profile = seed, options, directory, profile
        self._held: dict[str, Draws] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def matrix(self, shape: tuple[int, int]) -> Draws:
        """Draws for matrices of a shape (order of rows and cols does not matter)."""
        short, long = min(shape), max(shape)
        key: dict[str, object] = {
            "kind": "matrix",
            "shape": [short, long],
            "options": asdict(self._options),
            "draws": null.draw_count(short, self._profile),
        }
        if self._profile.fits:  # the default's key stays what it was before there were profiles
            key["profile"] = self._profile.name
        return self._get(key, lambda: null.draw_matrices((short, long), self._seed, self._options, self._profile))

    def circuit(self, head_dim: int, sides: tuple[int, int], denominators: tuple[int, int]) -> Draws:
        """Draws for products of (head_dim, d) factors."""
        key: dict[str, object] = {
            "kind": "circuit",
            "shape": [head_dim, *sides],
            "denominators": list(denominators),
            "draws": null.draw_count(head_dim),
        }
        return self._get(key, lambda: null.draw_circuits(head_dim, sides, denominators, self._seed))

    def _get(self, key: dict[str, object], draw: Callable[[], Draws]) -> Draws:
        text = json.dumps(key | {"seed": self._seed, "version": _VERSION, "numpy": np.__version__}, sort_keys=True)
        with self._guard:
            lock = self._locks.setdefault(text, threading.Lock())
        with lock:
            if text not in self._held:
                self._held[text] = self._load(text) or self._store(text, draw())
            return self._held[text]

    def _path(self, text: str) -> Path | None:
        if self._directory is None:
            return None
        return self._directory / f"null-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"

    def _load(self, text: str) -> Draws | None:
        path = self._path(text)
        if path is None:
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["key"] != text:
                return None
            values = {k: np.array(v, dtype=np.float64) for k, v in content["values"].items()}
            wanted = null.MATRIX_NULL if json.loads(text)["kind"] == "matrix" else null.CIRCUIT_NULL
            if set(values) != set(wanted) or len({v.shape for v in values.values()}) != 1:
                return None
            return Draws(values=values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _store(self, text: str, draws: Draws) -> Draws:
        path = self._path(text)
        if path is not None:
            values = {k: [x if np.isfinite(x) else None for x in v.tolist()] for k, v in draws.values.items()}
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                staged = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
                staged.write_text(json.dumps({"key": text, "values": values}), encoding="utf-8")
                staged.replace(path)
            except OSError:
                pass  # a cache that cannot be written costs time, not results
        return draws
