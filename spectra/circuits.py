"""Spectra of the attention circuits W_QK and W_VP, head by head, without forming the (d, d) products.

Legend: d = d_model; H heads, K key/value heads, Dh = head dimension of q and k, Dv of v; r = min(d, Dh).
W_QK = W_K^T W_Q and W_VP = W_P W_V, both (d, d) (plasticity paper, sec. 5.2). With thin QRs W_K^T = Q_k R_k and
W_Q^T = Q_q R_q the singular values of W_QK are those of R_k R_q^T, an (r, r) matrix; likewise W_VP from R_p and R_v.
The factors R are small enough to keep, so q, k, v and o are read one at a time and in any order.

Conventions, named in every row: `per_head` pairs query head h with key/value head h // (H / K) and divides the
pseudo-rank by Dh; `summed` adds the products of all heads and divides by d. Norms between q and k, gains before the
projections and rotary embeddings (offset 0) stay outside the product.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spectra import ranks
from spectra.stored import Stored
from spectra.types import AttentionRef, Status

Floats = NDArray[np.float64]
Side = Literal["q", "k", "v", "o"]

PER_HEAD = "per_head: pseudo_rank = k / d_head; norms, gains and RoPE outside the product"
SUMMED = "summed: all heads added, pseudo_rank = k / d_model; norms, gains and RoPE outside the product"


# Elements of float64 decoded at a time: heads are taken in chunks of about this size.
_CHUNK_ELEMENTS = 1 << 21


def _heads_of(attention: AttentionRef, side: Side) -> int:
    return attention.heads if side in ("q", "o") else attention.kv_heads


def head_blocks(matrix: Stored, side: Side, heads: int, first: int, last: int) -> Floats:
    """Heads first..last-1 as one tall block each, (last - first, d, Dh), from q, k, v (rows are heads) or o (columns are)."""
    wide = matrix.T if side in ("q", "k", "v") else matrix  # (d, heads * Dh)
    width = wide.shape[1] // heads
    values = wide[:, first * width : last * width].decode(np.float64)
    return np.ascontiguousarray(values.reshape(values.shape[0], last - first, width).transpose(1, 0, 2))


def head_factors(matrix: Stored, side: Side, attention: AttentionRef, product: Floats | None = None) -> Floats:
    """A factor R with R^T R = B^T B of every head's block B, (heads, r, Dh). NaN where an entry is not finite.

    `product`: the Gram matrix over the heads' side (`gram_of_rows`), where it is at hand.
    """
    heads = _heads_of(attention, side)
    if product is not None and (quick := factors_of_gram(product, heads)) is not None:
        return quick
    step = max(1, _CHUNK_ELEMENTS * heads // max(1, matrix.shape[0] * matrix.shape[1]))
    parts = [
        factors(head_blocks(matrix, side, heads, first, min(first + step, heads))) for first in range(0, heads, step)
    ]
    return np.concatenate(parts)


def gram_of_rows(side: Side) -> bool:
    """Whether the heads of a side are diagonal blocks of W W^T (q, k, v) or of W^T W (o)."""
    return side != "o"


def factors_of_gram(product: Floats, heads: int) -> Floats | None:
    """R factors from the Gram matrix over the heads' side, (heads * Dh, heads * Dh), which the spectrum needs anyway.

    None where the Cholesky route is not safe; `head_factors` then goes back to the matrix.
    """
    width = product.shape[0] // heads
    at = np.arange(heads)
    return _cholesky(np.ascontiguousarray(product.reshape(heads, width, heads, width)[at, :, at, :]))


def _cholesky(grams: Floats) -> Floats | None:
    """Upper R with R^T R = G for each (Dh, Dh) block; None where a block is not finite or its pivots spread too far."""
    if not np.isfinite(grams).all():
        return None
    try:
        r: Floats = np.asarray(np.linalg.cholesky(grams, upper=True), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None
    pivots = np.diagonal(r, axis1=1, axis2=2)
    return r if np.all(pivots.min(axis=1) > _SAFE_PIVOT * pivots.max(axis=1)) else None


def summed_factor(matrix: Stored, side: Side, attention: AttentionRef) -> Floats:
    """R for the sum over heads, (1, min(d, K Dh), K Dh): blocks of query heads that share a key/value head add up."""
    heads, groups = _heads_of(attention, side), attention.kv_heads
    blocks = head_blocks(matrix, side, heads, 0, heads)  # (heads, d, Dh)
    blocks = blocks.reshape(groups, heads // groups, *blocks.shape[1:]).sum(axis=1)
    return factors(np.ascontiguousarray(blocks.transpose(1, 0, 2).reshape(1, blocks.shape[1], -1)))


def factors(blocks: Floats) -> Floats:
    """A factor R with R^T R = B^T B for each (d, Dh) block B: (n, min(d, Dh), Dh).

    By QR, which keeps the small singular values of ill-conditioned blocks; NaN for blocks that are not finite.
    """
    n, d, width = blocks.shape
    finite = np.isfinite(blocks).all(axis=(1, 2))
    if not finite.all():
        made: Floats = np.full((n, min(d, width), width), np.nan)
        if finite.any():
            made[finite] = factors(blocks[finite])
        return made
    if d <= width:  # wider than tall: the block is its own factor
        return blocks
    return np.asarray(np.linalg.qr(blocks, mode="r"))


# The Cholesky route squares the condition number. Where no pivot is under 1e-3 of the largest, about 1e-10 is lost at most.
_SAFE_PIVOT = 1e-3


def singular_values(left: Floats, right: Floats) -> Floats:
    """Singular values of left_h right_h^T for every head h: (H, min(r, r')), descending.

    `left` (H or K, r, Dh), `right` (H or K, r', Dh): the shorter one is repeated over the groups of the longer.
    """
    heads = max(left.shape[0], right.shape[0])
    left = np.repeat(left, heads // left.shape[0], axis=0)
    right = np.repeat(right, heads // right.shape[0], axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported as non_finite
        product = left @ right.transpose(0, 2, 1)
    values: Floats = np.full((heads, min(product.shape[1:])), np.nan)
    finite = np.isfinite(product).all(axis=(1, 2))
    values[finite] = np.linalg.svd(product[finite], compute_uv=False)
    return values


def circuit_columns(values: Floats, denominator: int, d_model: int) -> tuple[Status, dict[str, float | int | None]]:
    """Status and columns of one circuit from its singular values, (r,) descending."""
    names = ("pseudo_rank", "pseudo_rank_d_model", "effective_rank", "spectral_norm", "frobenius_norm")
    if not np.isfinite(values).all():
        return "non_finite", dict.fromkeys(names)
    if not values.size or values[0] <= 0.0:
        return "degenerate", dict.fromkeys(names) | {"spectral_norm": 0.0, "frobenius_norm": 0.0}
    count = ranks.pseudo_rank_count(values)
    return "ok", {
        "pseudo_rank": count / denominator,
        "pseudo_rank_d_model": count / d_model,
        "effective_rank": ranks.effective_rank(values),
        "spectral_norm": float(values[0]),
        "frobenius_norm": float(values[0] * np.sqrt(np.sum((values / values[0]) ** 2))),  # no overflow
    }
