"""Which texts a seed trains and validates on, and which are tested on. Pure; every class is in every split.

K = classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.errors import SpectraError

Ints = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Positions among the training texts, in random order."""

    train: Ints
    validation: Ints


def split(labels: Sequence[int], seed: int, *, limit: int | None, validation: float) -> Split:
    """Draw at most `limit` texts, and hold a share of them out for validation; both stratified.

    Args:
        labels: class of each training text, 0 to K - 1, each at least twice.

    Raises:
        SpectraError: `limit` is below two texts a class.
    """
    rng = np.random.default_rng(seed)
    found = np.asarray(labels)
    chosen = _draw(found, limit, rng, least=2)
    of_class = [chosen[found[chosen] == k] for k in range(int(found.max()) + 1)]
    held = [min(max(1, round(validation * len(rows))), len(rows) - 1) for rows in of_class]
    kept = np.concatenate([rows[n:] for rows, n in zip(of_class, held, strict=True)])
    out = np.concatenate([rows[:n] for rows, n in zip(of_class, held, strict=True)])
    return Split(train=rng.permutation(kept), validation=rng.permutation(out))


def held_texts(labels: Sequence[int], limit: int | None) -> Ints:
    """At most `limit` test texts, stratified, the same for every seed, in their order."""
    return np.sort(_draw(np.asarray(labels), limit, np.random.default_rng(0), least=1))


def quotas(counts: Sequence[int], total: int, least: int) -> list[int]:
    """`total` shared out in proportion to `counts` by largest remainders; a class gets `least`, or all it has.

    Raises:
        SpectraError: `total` is too small for that.
    """
    floor = [min(least, count) for count in counts]
    if sum(floor) > total:
        raise SpectraError(
            f"--limit {total} is too small for {len(counts)} classes of at least {least} texts each. Allow {sum(floor)} or more."
        )
    shares = [total * count / sum(counts) for count in counts]
    given = [max(low, int(share)) for low, share in zip(floor, shares, strict=True)]
    while sum(given) != total:  # a few steps: each class is off by less than `least` + 1
        step = 1 if sum(given) < total else -1
        able = [k for k, n in enumerate(given) if (n < counts[k] if step > 0 else n > floor[k])]
        given[max(able, key=lambda k: (step * (shares[k] - given[k]), -k))] += step
    return given


def _draw(labels: Ints, limit: int | None, rng: np.random.Generator, least: int) -> Ints:
    """Positions, shuffled; at most `limit`, in proportion to the classes."""
    order = rng.permutation(len(labels))
    if limit is None or limit >= len(labels):
        return order
    classes, counts = np.unique(labels, return_counts=True)
    wanted = quotas(counts.tolist(), limit, least)
    parts = [order[labels[order] == k][:n] for k, n in zip(classes, wanted, strict=True)]
    return np.asarray(np.concatenate(parts), dtype=np.intp)
