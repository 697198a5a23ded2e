"""Cutting a matrix out of a stored tensor, and the shape of the cut."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from spectra.stored import Stored
from spectra.types import MatrixView


def flat_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Shape of a tensor of three or more dimensions as a matrix.

    (1, ..., 1, n, d) -> (n, d), a table with leading ones; any other (out, in, k, ...) -> (out, in k ...).
    """
    if all(size == 1 for size in shape[:-2]):
        return shape[-2], shape[-1]
    return shape[0], prod(shape[1:])


def view_shape(shape: Sequence[int], view: MatrixView) -> tuple[int, int]:
    """(rows, cols) = (out, in) of what `view` cuts from a tensor of this shape."""
    kept = shape[1:] if view.index is not None else shape
    rows, cols = flat_shape(kept) if view.flatten else (kept[0], kept[1])
    if view.transpose:
        rows, cols = cols, rows
    if view.blocks:
        rows = sum(len(range(block.start, block.stop, block.step)) for block in view.blocks)
    return rows, cols


def cut(stored: Stored, view: MatrixView) -> Stored:
    """The (out, in) matrix of a view, as stored bits. Shape (rows, cols) of the view's `MatrixRef`.

    `view.index` is not applied here: pass what `Checkpoint.read(view.tensor, view.index)` returned, which has taken
    `tensor[index]` already. Whole tensors, transposes and single row blocks are views of `stored` and share its
    memory; only several blocks (heads that do not lie together) are gathered into a new array.
    """
    matrix = stored
    if view.flatten:
        matrix = matrix.reshape(*flat_shape(matrix.shape))
    if view.transpose:
        matrix = matrix.T
    if not view.blocks:
        return matrix
    pieces = [matrix.raw[block.start : block.stop : block.step] for block in view.blocks]
    return Stored(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), stored.dtype)
