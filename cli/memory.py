"""Keep the memory that matrices are read into, instead of giving it back and faulting it in again."""

from __future__ import annotations

import ctypes
import sys

_MB = 1 << 20
# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


def reuse_freed_memory() -> None:
    """Tell glibc to reuse freed blocks of up to 256 MB. This process only; no effect with other C libraries.

    An analysis reads hundreds of matrices of a few megabytes. By default glibc maps each afresh, and the kernel clears every page
    on first touch: on a virtual machine that is a tenth of the run.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in (
        (_MMAP_THRESHOLD, 256 * _MB), (_TRIM_THRESHOLD, 256 * _MB), (_TOP_PAD, 64 * _MB), (_ARENA_MAX, 1),
    ):  # fmt: skip
        if not mallopt(parameter, value):  # older glibc takes at most 32 MB for the mapping threshold
            mallopt(parameter, 32 * _MB)
