"""Ranks and norms: closed forms, and numpy on the matrix itself."""

from __future__ import annotations

import numpy as np
import pytest

from spectra import norms, ranks
from spectra.stored import unit_roundoff

RNG = np.random.default_rng(0)


def test_norms_of_a_matrix() -> None:
    W = RNG.standard_normal((30, 50))
    lam = np.sort(np.linalg.svd(W, compute_uv=False) ** 2)
    assert norms.frobenius_norm(lam) == pytest.approx(np.linalg.norm(W))
    assert norms.spectral_norm(lam) == pytest.approx(np.linalg.norm(W, 2))
    assert norms.nuclear_norm(lam) == pytest.approx(np.linalg.norm(W, "nuc"))


def test_alpha_norms() -> None:
    lam = np.array([0.5, 2.0, 10.0])
    assert norms.alpha_weighted(3.0, lam) == pytest.approx(3.0)
    assert norms.log_alpha_norm(2.0, lam) == pytest.approx(np.log10(0.25 + 4 + 100))
    assert np.isfinite(norms.log_alpha_norm(500.0, lam))


def test_pseudo_rank_of_known_spectra() -> None:
    assert ranks.pseudo_rank_count(np.ones(20)) == 19
    assert ranks.pseudo_rank_count(np.array([95.0, 5.0])) == 1
    assert ranks.pseudo_rank_count(np.array([94.9, 5.1])) == 2
    assert ranks.pseudo_rank_count(np.array([5.0, 95.0])) == 1
    assert ranks.pseudo_rank_count(np.zeros(4)) == 0


@pytest.mark.parametrize("n", [1, 2, 3, 10, 100, 1000])
def test_pseudo_rank_is_the_least_k(n: int) -> None:
    s = np.sort(RNG.exponential(size=n))[::-1]
    k = ranks.pseudo_rank_count(s)
    assert s[:k].sum() >= 0.95 * s.sum() * (1 - 1e-12)
    assert k == 1 or s[: k - 1].sum() < 0.95 * s.sum()


def test_rank_bounds() -> None:
    flat = np.full(16, 2.0)
    assert ranks.stable_rank(flat) == pytest.approx(16)
    assert ranks.effective_rank(flat) == pytest.approx(16)
    spike = np.array([0.0, 0.0, 5.0])
    assert ranks.stable_rank(spike) == pytest.approx(1)
    assert ranks.effective_rank(spike) == pytest.approx(1)


@pytest.mark.parametrize(
    ("dtype", "rounded"), [("float32", np.float32), ("float16", np.float16), ("float64", np.float64)]
)
def test_numerical_rank_knows_the_stored_dtype(dtype: str, rounded: type) -> None:
    W = (RNG.standard_normal((200, 16)) @ RNG.standard_normal((16, 300))).astype(rounded).astype(np.float64)
    lam = np.sort(np.linalg.svd(W, compute_uv=False) ** 2)
    assert ranks.numerical_rank(lam, W.shape, unit_roundoff(dtype)) == 16


def test_rank_16_in_bfloat16_looks_full_rank_to_a_float64_epsilon() -> None:
    torch = pytest.importorskip("torch")
    g = torch.Generator().manual_seed(0)
    W = torch.randn(200, 16, generator=g) @ torch.randn(16, 300, generator=g)
    lam = np.sort(np.linalg.svd(W.bfloat16().double().numpy(), compute_uv=False) ** 2)
    assert ranks.numerical_rank(lam, (200, 300), unit_roundoff("bfloat16")) == 16
    assert ranks.numerical_rank(lam, (200, 300), unit_roundoff("float64")) == 200


def test_unit_roundoffs() -> None:
    assert unit_roundoff("bfloat16") == 2**-8
    assert unit_roundoff("Q4_1") == 2**-4
    assert unit_roundoff("IQ3_XXS") == 2**-3
    assert unit_roundoff("BF16") == 2**-8
