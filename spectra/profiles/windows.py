"""Fixed-aspect windows of a matrix (FARMS): square submatrices on an even grid, whose eigenvalues are pooled.

Source: Hu, Goel, Killiakov and Yang, "Eigenspectrum Analysis of Neural Networks without Aspect Ratio Bias", ICML 2025
(arXiv 2506.06280), and `fixed_sampling` of its public code with the settings of its LLM pruning runs (docs/profiles.md).

Legend: w side of a window; windows a side at most PER_SIDE; starts are multiples of step = floor((length - w) / (PER_SIDE - 1)).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spectra.spectrum import spectrum
from spectra.stored import Stored

Floats = NDArray[np.float64]

SIDE = 2000  # num_row_samples: the side of a window, or the matrix' short side where that is less
PER_SIDE = 10  # sampling_ops_per_dim: windows along each side, at most


def starts(length: int, side: int) -> list[int]:
    """First rows (or columns) of the windows along a side; the last window need not reach the end.

    Equal to FARMS' rule where length >= side: step = max(1, (length - side) // 9), as many as fit, ten at most.
    """
    room = length - side
    step = max(1, room // (PER_SIDE - 1))
    return [k * step for k in range(min(PER_SIDE, room // step + 1))]


def grid(shape: tuple[int, int]) -> tuple[int, list[int], list[int]]:
    """Side of the windows, their first rows, their first columns."""
    side = min(SIDE, *shape)
    return side, starts(shape[0], side), starts(shape[1], side)


def pooled_eigenvalues(matrix: Stored) -> Floats:
    """Squared singular values of all windows, ascending: (windows * side,). NaN throughout where an entry is not finite.

    The whole matrix where that is the only window. One window at a time is float64.
    """
    side, rows, cols = grid((matrix.shape[0], matrix.shape[1]))
    parts = [spectrum(matrix[r : r + side, c : c + side]) for r in rows for c in cols]
    if any(part.status == "non_finite" for part in parts):
        return np.full(sum(part.eigenvalues.size for part in parts), np.nan)
    return np.sort(np.concatenate([part.eigenvalues for part in parts]))


def draw_pooled(shape: tuple[int, int], rng: np.random.Generator) -> Floats | None:
    """`pooled_eigenvalues` of one Gaussian matrix of `shape` = (short, long); None where it is one square window.

    Windows that overlap are cut from one matrix, as they share entries; columns that no window covers are not drawn.
    """
    side, _, cols = grid(shape)
    if shape == (side, side):
        return None
    apart = len(cols) > 1 and cols[1] >= side
    widths = [side] * len(cols) if apart else [shape[1]]
    strips = (Stored(rng.standard_normal((shape[0], width)), "float64") for width in widths)
    return np.sort(np.concatenate([pooled_eigenvalues(strip) for strip in strips]))


def window_count(shape: tuple[int, int]) -> int:
    """How many windows a matrix is cut into."""
    _, rows, cols = grid(shape)
    return len(rows) * len(cols)
