"""Resampling with replacement, in blocks of bounded memory.

Legend: B draws, n things drawn from, K columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from plasticity.stats_result import Floats, Interval
from spectra.errors import SpectraError

DRAWS = 2000
_BLOCK = 2_000_000  # counts held at a time


def counts(rng: np.random.Generator, n: int, draws: int, size: int | None = None) -> Iterator[Floats]:
    """Blocks (b, n) of how often each of `n` comes up in `size` (n unless told) drawn with replacement; the b add up to `draws`.

    Raises:
        SpectraError: no draws asked for.
    """
    if draws < 1:
        raise SpectraError(f"Got {draws} draws; a bootstrap needs at least 1, and 2000 for an interval of use.")
    size = n if size is None else size
    step = max(1, _BLOCK // max(n, size))
    for at in range(0, draws, step):
        b = min(step, draws - at)
        picked = rng.integers(0, n, (b, size)) + n * np.arange(b)[:, None]
        yield np.bincount(picked.ravel(), minlength=b * n).reshape(b, n).astype(np.float64)


def means(rng: np.random.Generator, values: Floats, draws: int) -> Floats:
    """(B, K): means of the rows of `values` (n, K) drawn with replacement, the same rows for all columns."""
    n = len(values)
    return np.concatenate(
        [block @ values / n for block in counts(rng, n, draws)]
    )  # counts first: sums of flags are exact


def percentile(drawn: Floats) -> Interval:
    """95% percentile interval of (B,) draws."""
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
