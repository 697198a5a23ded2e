"""Matrix -> eigenvalues of its smaller Gram matrix, in float64 on the CPU.

Legend: W (rows, cols); M = min, N = max of the two; G = W W^T or W^T W, whichever is (M, M).

The Gram matrix is accumulated over blocks of the long side, so a (131072, 512) bfloat16 embedding is never held in
float64. `A @ A.T` is a syrk in numpy (half the work of a gemm) and, unlike scipy's f2py wrappers, releases the GIL,
which is why worker threads scale. float32 is not enough: see docs/methods.md, "Precision".
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.stored import Stored
from spectra.types import Status

_TINY = 1e-290  # eigenvalues this small have lost their digits to underflow: the matrix counts as zero
EPS = float(np.finfo(np.float64).eps)

# Elements of one float64 block of the long side: 8 MB, which stays near the cache and is large enough for syrk.
_BLOCK_ELEMENTS = 1 << 20
_LEAST_LONG = 256  # but at least this many rows or columns a block, so that the product outweighs the addition

_local = threading.local()


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Eigenvalues lambda_i = s_i^2 of the smaller Gram matrix of one W; not divided by anything.

    Attributes:
        eigenvalues: (M,), ascending, >= 0; those under `floor` are set to exactly 0.
        rows, cols: shape of W.
        trace: sum of squares of all entries, ||W||_F^2.
        floor: what rounding in the Gram matrix and the eigensolver can turn a zero eigenvalue into.
        status: `ok`, or `non_finite` (NaN or infinite entries; then all eigenvalues are NaN), or `degenerate` (all zero,
            or so small that squares underflow).
    """

    eigenvalues: NDArray[np.float64]
    rows: int
    cols: int
    trace: float
    floor: float
    status: Status

    @property
    def positive(self) -> NDArray[np.float64]:
        """The eigenvalues above the floor, ascending."""
        kept: NDArray[np.float64] = self.eigenvalues[self.eigenvalues > 0]
        return kept


def rounding_floor(largest: float, size: int) -> float:
    """Bound under which a computed eigenvalue is indistinguishable from 0.

    The error of each eigenvalue is a small multiple of eps * lambda_max that grows like sqrt(M) in practice; 4 sqrt(M)
    eps lambda_max held with room to spare on random matrices of known rank up to M = 4096 (tests).
    """
    return 4.0 * float(np.sqrt(size)) * EPS * largest


def gram(matrix: Stored, of_rows: bool | None = None, *, lend: bool = False) -> NDArray[np.float64]:
    """A Gram matrix of W (rows, cols) in float64: W W^T if `of_rows`, else W^T W; by default the smaller one (M, M).

    With `lend` the result lies in a buffer of this thread that the next such call overwrites.
    """
    rows, cols = matrix.shape
    by_columns = rows <= cols if of_rows is None else of_rows
    short, long = (rows, cols) if by_columns else (cols, rows)
    step = max(1, min(long, max(_LEAST_LONG, _BLOCK_ELEMENTS // max(short, 1))))
    total = _workspace("gram", short * short).reshape(short, short) if lend else np.empty((short, short))
    total[:] = 0.0
    product = total if long <= step else _workspace("product", short * short).reshape(short, short)
    for start in range(0, long, step):
        block = matrix[:, start : start + step] if by_columns else matrix[start : start + step]
        part = _workspace("block", block.shape[0] * block.shape[1]).reshape(block.shape)
        block.decode_into(part)
        np.matmul(*((part, part.T) if by_columns else (part.T, part)), out=product)
        if product is not total:
            total += product
    return total


def _workspace(use: str, size: int) -> NDArray[np.float64]:
    """This thread's float64 buffer for a use, kept between matrices: faulting in fresh pages costs as much as the syrk.

    Only sizes up to a block's are kept; larger ones are freed with the result.
    """
    if size > _BLOCK_ELEMENTS:
        return np.empty(size)
    held: dict[str, NDArray[np.float64]] = _local.__dict__.setdefault("held", {})
    if use not in held:
        held[use] = np.empty(_BLOCK_ELEMENTS)
    return held[use][:size]


def spectrum_from_eigenvalues(
    values: NDArray[np.float64], shape: tuple[int, int], trace: float, scale: float = 1.0
) -> Spectrum:
    """Clean raw eigenvalues (ascending, of the Gram matrix of scale * W) into a Spectrum."""
    largest = float(values[-1]) if values.size else 0.0
    floor = rounding_floor(max(largest, 0.0), values.size)
    with np.errstate(over="ignore"):  # squares beyond float64 end as non_finite below
        cleaned = np.where(values > floor, values, 0.0) / scale / scale
        trace, floor = trace / scale / scale, floor / scale / scale
    if not np.isfinite(trace):
        return failed_spectrum(shape, values.size)
    status: Status = "ok" if cleaned.size and cleaned[-1] > _TINY else "degenerate"
    return Spectrum(eigenvalues=cleaned, rows=shape[0], cols=shape[1], trace=trace, floor=floor, status=status)


def failed_spectrum(shape: tuple[int, int], size: int) -> Spectrum:
    """The Spectrum of a matrix with NaN or infinite entries (or whose squares overflow)."""
    return Spectrum(
        eigenvalues=np.full(size, np.nan),
        rows=shape[0],
        cols=shape[1],
        trace=float("nan"),
        floor=float("nan"),
        status="non_finite",
    )


def safe_scale(matrix: Stored) -> float:
    """A power of two that brings float64 entries into the range where squares neither overflow nor vanish.

    1.0 for every other dtype: squares of float32 numbers always fit float64. 0.0 where an entry is not finite.
    """
    if matrix.dtype != "float64" or not matrix.raw.size:
        return 1.0
    largest = float(np.max(np.abs(matrix.raw)))
    if not np.isfinite(largest):
        return 0.0
    if largest == 0.0 or 1e-60 < largest < 1e60:
        return 1.0
    return float(2.0 ** -np.clip(np.frexp(largest)[1], -1000, 1000))


def spectrum(matrix: Stored) -> Spectrum:
    """Eigenvalues of the smaller Gram matrix of W (rows, cols), by float64 syrk and LAPACK's dsyevd.

    Absolute error of each eigenvalue: a few eps * lambda_max (eps = 2.2e-16), so singular values under
    about 1e-7 s_1 carry no digits and are reported as 0.
    """
    rows, cols = matrix.shape
    scale = safe_scale(matrix)
    if scale == 0.0:
        return failed_spectrum((rows, cols), min(rows, cols))
    if scale != 1.0:
        matrix = Stored(matrix.decode() * scale, "float64")
    return spectrum_of_gram(gram(matrix, lend=True), (rows, cols), scale)


def spectrum_of_gram(product: NDArray[np.float64], shape: tuple[int, int], scale: float = 1.0) -> Spectrum:
    """The Spectrum of W (of `shape`) from the (M, M) Gram matrix of scale * W."""
    trace = float(np.trace(product))
    if not np.isfinite(trace):
        return failed_spectrum(shape, product.shape[0])
    try:
        values = np.asarray(np.linalg.eigvalsh(product), dtype=np.float64)
    except np.linalg.LinAlgError:  # divide and conquer gave up; the QR algorithm is slower and hardier
        from scipy.linalg import eigvalsh

        values = np.asarray(eigvalsh(product, driver="ev"), dtype=np.float64)
    return spectrum_from_eigenvalues(values, shape, trace, scale)
