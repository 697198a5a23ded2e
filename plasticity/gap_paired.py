"""How the gaps of two checkpoints differ, paired: the same documents in the same windows on both, so that what is hard for both
cancels. For checkpoints on one corpus: other decays, other steps of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plasticity import gap_losses, gap_stats
from plasticity.gap_losses import Pieces
from plasticity.gap_result import LOSSES, Interval, read_gap
from spectra.errors import SpectraError


@dataclass(frozen=True, kw_only=True)
class PairedGap:
    """Gap of the second checkpoint minus that of the first, nats a token, on the windows that both were measured on.

    Attributes:
        difference: over these windows; so it is not quite the difference of the two results.
        se, ci95: over documents, resampled with what both lost on them; None with too few on a side.
        train_windows, val_windows: how many are common.
        n_documents: of both sides.
    """

    difference: float
    se: float | None
    ci95: Interval
    train_windows: int
    val_windows: int
    n_documents: int


def paired(first: Path, second: Path, *, seed: int = 0) -> PairedGap:
    """Compare two folders of `plasticity gap`.

    Raises:
        SpectraError: they are of other windows (corpus, files, window or packing), or have none in common.
    """
    _check_same(first, second)
    a, b = (gap_losses.load(folder / LOSSES) for folder in (first, second))
    train, val = (_lost(a[side], b[side]) for side in ("train", "val"))
    if not train.windows or not val.windows:
        raise SpectraError(
            f"{first} and {second} have no window in common on a side. Measure both with the same --seed and more --windows."
        )
    found = gap_stats.estimate(val.sums, train.sums, seed)
    return PairedGap(
        difference=found.value, se=found.se, ci95=found.ci95, train_windows=train.windows, val_windows=val.windows,
        n_documents=len(train.sums.loss) + len(val.sums.loss),
    )  # fmt: skip


def paired_loss(first: Path, second: Path, *, seed: int = 0) -> gap_stats.Estimate:
    """Validation loss of the second checkpoint minus that of the first, nats a token, on the windows of both, over documents.

    Raises:
        SpectraError: as `paired`.
    """
    _check_same(first, second)
    val = _lost(*(gap_losses.load(folder / LOSSES)["val"] for folder in (first, second)))
    if not val.windows:
        raise SpectraError(
            f"{first} and {second} have no validation window in common. Measure both with more --windows."
        )
    return gap_stats.mean(gap_stats.draws(val.sums, (seed, 0)), val.sums.mean)


def _check_same(first: Path, second: Path) -> None:
    """Raises `SpectraError` where the two are of other windows."""
    ours, theirs = read_gap(first), read_gap(second)
    keys = ("fingerprint", "window", "packing", "train", "validation")  # of runs, of files
    for key in keys:
        if ours.data.get(key) != theirs.data.get(key):
            raise SpectraError(
                f"{first} and {second} are gaps on other windows ({key}: {ours.data.get(key)} and {theirs.data.get(key)}). Only "
                "gaps on one corpus, or on the same two files, can be paired."
            )


@dataclass(frozen=True, kw_only=True)
class _Lost:
    """Loss of the second minus that of the first, by document, on common windows."""

    sums: gap_stats.Sums
    windows: int


def _lost(first: Pieces, second: Pieces) -> _Lost:
    a, b = (mine.only(np.isin(mine.window, other.window)) for mine, other in ((first, second), (second, first)))
    if not (np.array_equal(a.document, b.document) and np.array_equal(a.tokens, b.tokens)):
        raise SpectraError("The two gaps cut the same windows into other documents. Measure both again.")
    sums = gap_stats.by_unit(a.document, b.loss - a.loss, a.tokens)
    return _Lost(sums=sums, windows=len(np.unique(a.window)))
