"""Marchenko-Pastur, Tracy-Widom, and the Gaussian null of a shape."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate

from spectra import bulk, null, tails
from spectra.null_cache import NullCache
from spectra.panel import FitOptions


@pytest.mark.parametrize("y", [0.05, 0.3, 1.0])
def test_quantiles_invert_the_marchenko_pastur_law(y: float) -> None:
    low, high = (1 - np.sqrt(y)) ** 2, (1 + np.sqrt(y)) ** 2

    def density(x: float) -> float:
        return np.sqrt(max((high - x) * (x - low), 0.0)) / (2 * np.pi * y * x)

    for p in (0.1, 0.5, 0.9):
        q = float(bulk.marchenko_pastur_quantiles(np.array([p]), y)[0])
        below = integrate.quad(density, low, q, limit=200)[0]
        assert below == pytest.approx(p, abs=2e-6)


@pytest.mark.parametrize(("aspect", "alpha"), [(1, 2.122), (2, 2.706), (4, 3.455), (8, 4.470)])
def test_hill_of_the_marchenko_pastur_law(aspect: int, alpha: float) -> None:
    """Limits of docs/methods.md."""
    q = bulk.marchenko_pastur_quantiles((np.arange(50000) + 0.5) / 50000, 1 / aspect)
    assert tails.hill(q).alpha == pytest.approx(alpha, abs=1e-3)


@pytest.mark.parametrize(
    ("size", "aspect", "alpha"), [(512, 1, 2.11), (512, 4, 3.45), (512, 8, 4.45), (64, 1, 2.08), (64, 8, 4.35)]
)
def test_null_hill_matches_methods(size: int, aspect: int, alpha: float) -> None:
    draws = null.draw_matrices((size, size * aspect), 0, FitOptions(fits=("hill",)))
    mean, sd = draws.moments["alpha_hill"]
    assert mean is not None and sd is not None
    assert mean == pytest.approx(alpha, abs=0.015)


@pytest.mark.parametrize("shape", [(30, 30), (30, 90), (1, 8), (2, 2)])
def test_bidiagonal_draws_have_the_law_of_gaussian_matrices(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([null.gaussian_eigenvalues(*shape, rng) for _ in range(600)])
    dense = np.array([np.sort(np.linalg.svd(rng.standard_normal(shape), compute_uv=False) ** 2) for _ in range(600)])
    error = np.sqrt(drawn.var(axis=0) / 600 + dense.var(axis=0) / 600)
    assert np.all(np.abs(drawn.mean(axis=0) - dense.mean(axis=0)) < 5 * error)
    np.testing.assert_allclose(drawn.std(axis=0), dense.std(axis=0), rtol=0.25)


def test_circuit_draws_have_the_law_of_products() -> None:
    rng = np.random.default_rng(0)
    made = null.draw_circuits(16, (64, 64), (16, 64), seed=3)
    dense = []
    for _ in range(200):
        s = np.linalg.svd(rng.standard_normal((64, 16)) @ rng.standard_normal((16, 64)), compute_uv=False)
        dense.append(s[0])
    drawn = made.values["spectral_norm"]
    error = np.sqrt(np.var(dense) / 200 + drawn.var() / drawn.size)
    assert abs(np.mean(dense) - drawn.mean()) < 5 * error


def test_random_pseudo_ranks_of_methods() -> None:
    """d = 2048, d_head = 128: 0.930 over d_head, 0.058 over d_model; k is 119 or 120 from draw to draw."""
    made = null.draw_circuits(128, (2048, 2048), (128, 2048), seed=0)
    assert made.moments["pseudo_rank"][0] == pytest.approx(0.930, abs=1 / 128)
    assert made.moments["pseudo_rank_d_model"][0] == pytest.approx(0.058, abs=0.001)


@pytest.mark.parametrize("shape", [(48, 48), (40, 120)])
def test_z_of_random_matrices_has_mean_0_and_sd_1(shape: tuple[int, int]) -> None:
    """The null is that of the matrix's own Frobenius norm: otherwise the z of a norm is several times too small."""
    from spectra.panel import columns
    from spectra.spectrum import spectrum
    from spectra.stored import Stored

    options = FitOptions(fits=("hill",))
    draws = null.draw_matrices(shape, 0, options)
    rng = np.random.default_rng(1)
    zs: dict[str, list[float]] = {}
    for _ in range(150):
        values = columns(spectrum(Stored(rng.standard_normal(shape), "float64")), 2**-53, options)
        for name, value in null.compare_matrix(values, shape, draws).items():
            if value.z is not None:
                zs.setdefault(name, []).append(value.z)
    for name in (
        "alpha_hill",
        "spectral_norm",
        "nuclear_norm",
        "stable_rank",
        "effective_rank",
        "spectral_entropy_rank",
    ):
        assert abs(np.mean(zs[name])) < 0.35, name
        assert 0.75 < np.std(zs[name]) < 1.3, name


def test_z_of_random_circuits_has_sd_1() -> None:
    rng = np.random.default_rng(2)
    draws = null.draw_circuits(16, (64, 64), (16, 64), seed=0)
    zs = []
    for _ in range(200):
        K, Q = rng.standard_normal((2, 16, 64))
        s = np.linalg.svd(K.T @ Q, compute_uv=False)[:16]
        _, made = null.circuits.circuit_columns(s, 16, 64)
        scale = float(np.linalg.norm(K) * np.linalg.norm(Q)) / (16 * 64)
        zs.append(null.compare_circuit(made, scale, draws)["frobenius_norm"].z)
    assert 0.75 < np.std(zs) < 1.3 and abs(np.mean(zs)) < 0.35


def test_a_random_matrix_is_within_its_null() -> None:
    rng = np.random.default_rng(5)
    W = 0.02 * rng.standard_normal((96, 160))
    from spectra.panel import columns
    from spectra.spectrum import spectrum
    from spectra.stored import Stored

    values = columns(spectrum(Stored(W, "float64")), 2**-53, FitOptions())
    compared = null.compare_matrix(values, W.shape, null.draw_matrices(W.shape, 0, FitOptions()))
    assert set(compared) == set(null.MATRIX_NULL)
    for name, value in compared.items():
        assert value.z is not None and abs(value.z) < 4, name
        assert value.difference == pytest.approx(value.z * value.sd)


def test_bulk_finds_sigma_edge_and_planted_spikes() -> None:
    rng = np.random.default_rng(0)
    M, N, sigma = 200, 500, 0.3
    W = sigma * rng.standard_normal((M, N))
    u, v = np.linalg.qr(rng.standard_normal((M, 4)))[0], np.linalg.qr(rng.standard_normal((N, 4)))[0]
    top = sigma * (np.sqrt(M) + np.sqrt(N))
    planted = W + u @ np.diag([3 * top, 2.5 * top, 2 * top, 1.7 * top]) @ v.T
    found = bulk.bulk(np.sort(np.linalg.svd(planted, compute_uv=False) ** 2), (M, N))
    assert found is not None
    assert found.sigma == pytest.approx(sigma, rel=0.02)
    assert found.edge == pytest.approx(top**2, rel=0.04)
    assert found.n_spikes == 4


def test_spikes_of_pure_noise_appear_once_in_a_hundred() -> None:
    rng = np.random.default_rng(1)
    counts = [bulk.bulk(null.gaussian_eigenvalues(100, 300, rng), (100, 300)).n_spikes for _ in range(400)]
    assert 0 < np.mean(np.array(counts) > 0) < 0.04


def test_no_bulk_below_half_rank() -> None:
    assert bulk.bulk(np.concatenate([np.zeros(6), np.ones(4)]), (10, 20)) is None


class TestCache:
    options = FitOptions(fits=("hill",))

    def test_draws_are_seeded_and_survive_the_disk(self, tmp_path: Path) -> None:
        first = NullCache(7, self.options, tmp_path).matrix((12, 20))
        again = NullCache(7, self.options, tmp_path).matrix((20, 12))
        memory = NullCache(7, self.options, None).matrix((12, 20))
        other = NullCache(8, self.options, None).matrix((12, 20))
        assert len(list(tmp_path.iterdir())) == 1
        for name, values in first.values.items():
            np.testing.assert_array_equal(values, again.values[name])
            np.testing.assert_array_equal(values, memory.values[name])
        assert not np.array_equal(first.values["stable_rank"], other.values["stable_rank"])

    @pytest.mark.parametrize("content", ["", "{}", "[]", '{"key": "x", "values": {}}', '{"key"', "missing", "short"])
    def test_a_damaged_cache_is_drawn_anew(self, tmp_path: Path, content: str) -> None:
        expected = NullCache(0, self.options, tmp_path).matrix((12, 20)).values["stable_rank"]
        file = next(tmp_path.iterdir())
        held = json.loads(file.read_text())
        if content == "missing":
            del held["values"]["stable_rank"]
            content = json.dumps(held)
        elif content == "short":
            held["values"]["stable_rank"].pop()
            content = json.dumps(held)
        file.write_text(content)
        np.testing.assert_array_equal(
            NullCache(0, self.options, tmp_path).matrix((12, 20)).values["stable_rank"], expected
        )

    def test_an_unwritable_cache_is_no_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert NullCache(0, self.options, tmp_path / "file" / "sub").matrix((12, 20)).values
