"""Eigenvalues against numpy's float64 SVD; dtypes; scale; rank."""

from __future__ import annotations

import numpy as np
import pytest

from spectra import spectrum as module
from spectra.spectrum import spectrum
from spectra.stored import Stored


def of(array: np.ndarray, dtype: str = "float64") -> Stored:
    return Stored(array, dtype)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 7), (40, 200), (200, 40), (64, 64)])
def test_equals_squared_singular_values(shape: tuple[int, int]) -> None:
    W = np.random.default_rng(0).standard_normal(shape)
    found = spectrum(of(W))
    expected = np.sort(np.linalg.svd(W, compute_uv=False) ** 2)
    assert found.status == "ok"
    assert (found.rows, found.cols) == shape
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=0, atol=1e-13 * expected[-1])
    assert found.trace == pytest.approx(np.sum(W**2), rel=1e-13)


@pytest.mark.parametrize("shape", [(5, 700), (700, 5), (33, 400)])
def test_blocks_add_up(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The long side is cut into many blocks, the last one short."""
    W = np.random.default_rng(1).standard_normal(shape)
    whole = spectrum(of(W)).eigenvalues
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 64)
    monkeypatch.setattr(module, "_LEAST_LONG", 7)
    np.testing.assert_allclose(spectrum(of(W)).eigenvalues, whole, rtol=1e-12)


def test_strided_views_need_no_copy() -> None:
    W = np.random.default_rng(2).standard_normal((60, 90))
    view = of(W).T[10:50:2]
    np.testing.assert_allclose(
        spectrum(view).eigenvalues, np.sort(np.linalg.svd(W.T[10:50:2], compute_uv=False) ** 2), rtol=1e-11
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float8_e4m3fn", "float8_e5m2"])
def test_stored_dtypes_decode_exactly(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    t = torch.randn(40, 70, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    bits = {
        "bfloat16": (torch.int16, np.uint16),
        "float8_e4m3fn": (torch.uint8, np.uint8),
        "float8_e5m2": (torch.uint8, np.uint8),
    }
    raw = t.view(bits[dtype][0]).numpy().view(bits[dtype][1]) if dtype in bits else t.numpy()
    stored = Stored(raw, dtype)
    truth = t.to(torch.float64).numpy()
    np.testing.assert_array_equal(stored.decode(), truth)
    into = np.empty(truth.shape)
    stored.T[3:].decode_into(into.T[3:])
    np.testing.assert_array_equal(into[:, 3:], truth[:, 3:])
    np.testing.assert_allclose(spectrum(stored).eigenvalues, spectrum(of(truth)).eigenvalues, rtol=1e-13)


def test_bfloat16_never_passes_through_float16() -> None:
    raw = np.array([[0x7F7F, 0x0080], [0xFF7F, 0x3F80]], dtype=np.uint16)  # largest, smallest normal, -largest, 1
    expected = (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    assert np.isfinite(expected).all() and expected.max() > 1e38
    np.testing.assert_array_equal(Stored(raw, "bfloat16").decode(), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_non_finite_is_a_status(bad: float, dtype: type) -> None:
    W = np.ones((20, 30), dtype=dtype)
    W[3, 4] = bad
    found = spectrum(Stored(W, np.dtype(dtype).name))
    assert found.status == "non_finite"
    assert np.isnan(found.eigenvalues).all() and found.eigenvalues.size == 20


def test_zero_is_degenerate_and_constant_has_rank_one() -> None:
    assert spectrum(of(np.zeros((12, 30)))).status == "degenerate"
    constant = spectrum(of(np.full((12, 30), 0.1)))
    assert constant.status == "ok" and constant.positive.size == 1
    assert constant.eigenvalues[-1] == pytest.approx(360 * 0.01)


@pytest.mark.parametrize("scale", [1e-140, 1e150])
def test_float64_beyond_the_range_of_squares(scale: float) -> None:
    W = np.random.default_rng(3).standard_normal((20, 30))
    plain, scaled = spectrum(of(W)), spectrum(of(W * scale))
    assert scaled.status == "ok"
    np.testing.assert_allclose(scaled.eigenvalues / scale / scale, plain.eigenvalues, rtol=1e-9)


@pytest.mark.parametrize(("rows", "cols", "rank"), [(300, 300, 16), (64, 2000, 3), (500, 800, 400)])
def test_zero_eigenvalues_fall_under_the_floor(rows: int, cols: int, rank: int) -> None:
    rng = np.random.default_rng(4)
    found = spectrum(of(rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, cols))))
    assert found.positive.size == rank
    assert 0 < found.floor < 1e-12 * found.eigenvalues[-1]


@pytest.mark.parametrize(("scale", "status"), [(1e-165, "degenerate"), (1e160, "non_finite")])
def test_squares_beyond_float64_are_a_status(scale: float, status: str) -> None:
    assert spectrum(of(np.random.default_rng(3).standard_normal((20, 30)) * scale)).status == status


def test_a_solver_that_gives_up_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    W = np.random.default_rng(3).standard_normal((20, 30))
    expected = spectrum(of(W)).eigenvalues

    def gives_up(_: np.ndarray) -> np.ndarray:
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    monkeypatch.setattr(np.linalg, "eigvalsh", gives_up)
    np.testing.assert_allclose(spectrum(of(W)).eigenvalues, expected, rtol=1e-10)


def test_a_lent_gram_matrix_is_overwritten_and_others_are_not() -> None:
    a, b = (of(np.random.default_rng(i).standard_normal((20, 30))) for i in (0, 1))
    own, lent = module.gram(a), module.gram(a, lend=True)
    np.testing.assert_array_equal(own, lent)
    module.gram(b, lend=True)
    assert not np.array_equal(own, lent)
    np.testing.assert_allclose(own, a.raw @ a.raw.T, rtol=1e-13)
