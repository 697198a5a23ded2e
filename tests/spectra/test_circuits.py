"""Circuits against the dense (d, d) product's SVD."""

from __future__ import annotations

import numpy as np
import pytest

from spectra import circuits
from spectra.stored import Stored
from spectra.types import AttentionRef

RNG = np.random.default_rng(0)


def attention(heads: int, kv_heads: int, head_dim: int, value_dim: int) -> AttentionRef:
    return AttentionRef(
        module="m",
        layer=0,
        q="q",
        k="k",
        v="v",
        o="o",
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=value_dim,
    )


def dense_head(q, k, v, o, ref: AttentionRef, h: int) -> tuple[np.ndarray, np.ndarray]:
    """W_QK and W_VP of one head, as written in the paper."""
    g = h // (ref.heads // ref.kv_heads)
    Dh, Dv = ref.head_dim, ref.value_dim
    W_Q, W_K = q[h * Dh : (h + 1) * Dh], k[g * Dh : (g + 1) * Dh]
    W_V, W_P = v[g * Dv : (g + 1) * Dv], o[:, h * Dv : (h + 1) * Dv]
    return W_K.T @ W_Q, W_P @ W_V


@pytest.mark.parametrize(
    ("d", "heads", "kv_heads", "head_dim", "value_dim"),
    [(48, 4, 4, 12, 12), (48, 6, 2, 8, 8), (40, 4, 1, 8, 16), (8, 2, 2, 16, 16), (64, 1, 1, 64, 64)],
)
def test_per_head_equals_the_dense_product(d: int, heads: int, kv_heads: int, head_dim: int, value_dim: int) -> None:
    ref = attention(heads, kv_heads, head_dim, value_dim)
    q, k = RNG.standard_normal((heads * head_dim, d)), RNG.standard_normal((kv_heads * head_dim, d))
    v, o = RNG.standard_normal((kv_heads * value_dim, d)), RNG.standard_normal((d, heads * value_dim))
    R = {
        side: circuits.head_factors(Stored(w, "float64"), side, ref)
        for side, w in zip("qkvo", (q, k, v, o), strict=True)
    }
    found = circuits.singular_values(R["k"], R["q"]), circuits.singular_values(R["v"], R["o"])
    for h in range(heads):
        for values, dense in zip(found, dense_head(q, k, v, o, ref, h), strict=True):
            expected = np.linalg.svd(dense, compute_uv=False)[: values.shape[1]]
            np.testing.assert_allclose(values[h], expected, atol=1e-10 * expected[0])


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (6, 2)])
def test_summed_equals_the_dense_sum(heads: int, kv_heads: int) -> None:
    d, Dh = 40, 8
    ref = attention(heads, kv_heads, Dh, Dh)
    q, k = RNG.standard_normal((heads * Dh, d)), RNG.standard_normal((kv_heads * Dh, d))
    v, o = RNG.standard_normal((kv_heads * Dh, d)), RNG.standard_normal((d, heads * Dh))
    R = {
        side: circuits.summed_factor(Stored(w, "float64"), side, ref)
        for side, w in zip("qkvo", (q, k, v, o), strict=True)
    }
    qk = sum(dense_head(q, k, v, o, ref, h)[0] for h in range(heads))
    vp = sum(dense_head(q, k, v, o, ref, h)[1] for h in range(heads))
    for (left, right), dense in ((("k", "q"), qk), (("v", "o"), vp)):
        found = circuits.singular_values(R[left], R[right])[0]
        np.testing.assert_allclose(found, np.linalg.svd(dense, compute_uv=False)[: found.size], atol=1e-9 * found[0])


@pytest.mark.parametrize("condition", [1e0, 1e2, 1e4, 1e8, 1e14])
def test_factors_stay_accurate_when_ill_conditioned(condition: float) -> None:
    """The Cholesky route of the Gram matrix must hand over to QR before it loses the small singular values."""
    ref = attention(2, 2, 16, 16)
    s = np.geomspace(1, 1 / condition, 16)
    blocks = []
    for _ in range(2):
        u, _ = np.linalg.qr(RNG.standard_normal((100, 16)))
        v, _ = np.linalg.qr(RNG.standard_normal((16, 16)))
        blocks.append((u * s @ v.T).T)
    q = np.concatenate(blocks)
    quick = circuits.factors_of_gram(q @ q.T, 2)
    assert quick is not None if condition <= 1e2 else quick is None or condition < 1e5
    R = circuits.head_factors(Stored(q, "float64"), "q", ref, q @ q.T)
    np.testing.assert_allclose(np.linalg.svd(R, compute_uv=False), [s, s], rtol=1e-6, atol=1e-14)


def test_rank_deficient_head_falls_back_to_qr() -> None:
    block = np.zeros((1, 30, 8))
    block[0, :, 0] = 1.0
    s = np.linalg.svd(circuits.factors(block)[0], compute_uv=False)
    np.testing.assert_allclose(s, [np.sqrt(30)] + [0] * 7, atol=1e-12)


def test_heads_in_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = attention(8, 2, 8, 8)
    w = Stored(RNG.standard_normal((64, 32)), "float64")
    whole = circuits.head_factors(w, "q", ref)
    monkeypatch.setattr(circuits, "_CHUNK_ELEMENTS", 1)
    np.testing.assert_allclose(circuits.head_factors(w, "q", ref), whole, rtol=1e-12)


def test_statuses() -> None:
    status, values = circuits.circuit_columns(np.array([np.nan, 1.0]), 2, 4)
    assert status == "non_finite" and set(values.values()) == {None}
    status, values = circuits.circuit_columns(np.zeros(2), 2, 4)
    assert status == "degenerate" and values["pseudo_rank"] is None and values["frobenius_norm"] == 0


def test_nan_in_one_matrix_leaves_other_heads_alone() -> None:
    ref = attention(2, 2, 4, 4)
    q = RNG.standard_normal((8, 16))
    q[0, 0] = np.nan
    k = RNG.standard_normal((8, 16))
    R = circuits.head_factors(Stored(q, "float64"), "q", ref), circuits.head_factors(Stored(k, "float64"), "k", ref)
    found = circuits.singular_values(R[1], R[0])
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()
