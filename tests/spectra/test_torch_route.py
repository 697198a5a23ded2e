"""The device route on CPU tensors: same numbers as the numpy route. On a GPU: -m gpu."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spectra import analysis as module
from spectra import batches, torch_route
from spectra.analysis import analyze
from spectra.errors import SpectraError
from spectra.options import AnalysisOptions
from spectra.spectrum import spectrum
from spectra.stored import Stored

torch = pytest.importorskip("torch")
QUICK = AnalysisOptions(workers=2)


def batch(dtype: str, shape: tuple[int, int], count: int = 3) -> list[Stored]:
    g = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        t = torch.randn(*shape, generator=g, dtype=torch.float64).to(getattr(torch, dtype))
        if dtype == "bfloat16":
            made.append(Stored(t.view(torch.int16).numpy().view(np.uint16), dtype))
        elif dtype.startswith("float8"):
            made.append(Stored(t.view(torch.uint8).numpy(), dtype))
        else:
            made.append(Stored(t.numpy(), dtype))
    return made


def agree(route: torch_route.TorchRoute, matrices: list[Stored]) -> None:
    for found, matrix in zip(next(iter(route.spectra([matrices]))), matrices, strict=True):
        expected = spectrum(matrix)
        assert found.status == expected.status
        if found.status == "ok":
            np.testing.assert_allclose(
                found.eigenvalues, expected.eigenvalues, rtol=0, atol=1e-12 * expected.eigenvalues[-1]
            )
            assert found.trace == pytest.approx(expected.trace, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (30, 30)])
def test_agrees_with_the_numpy_route(dtype: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    route = torch_route.TorchRoute(torch.device("cpu"))
    agree(route, batch(dtype, shape))
    agree(route, [m.T for m in batch(dtype, shape)])
    monkeypatch.setattr(torch_route, "_BLOCK_ELEMENTS", 64)
    agree(route, batch(dtype, shape))


def test_statuses_and_scales_in_one_batch() -> None:
    good, nan, zero, huge = (np.random.default_rng(i).standard_normal((12, 20)) for i in range(4))
    nan[2, 3] = np.nan
    zero[:] = 0
    huge *= 1e160
    agree(torch_route.TorchRoute(torch.device("cpu")), [Stored(a, "float64") for a in (good, nan, zero, huge)])


def test_out_of_memory_goes_on_with_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that does not fit is split; a matrix that does not fit goes to the CPU."""
    route = torch_route.TorchRoute(torch.device("cpu"))
    real = route._solve
    seen = []

    def full(staged: torch_route._Staged) -> list:
        seen.append(len(staged.matrices))
        if len(staged.matrices) > 1 or len(seen) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(staged)

    monkeypatch.setattr(route, "_solve", full)
    agree(route, batch("float32", (24, 60)))
    assert seen == [3, 1, 1, 1]


def test_batches_are_bounded_by_bytes() -> None:
    assert torch_route.batch_size((512, 512), 512 * 512 * 2) == 32
    assert torch_route.batch_size((512, 131072), 512 * 131072 * 2) <= 4
    assert torch_route.batch_size((16384, 65536), 1 << 31) == 1


def test_the_whole_analysis_agrees(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code path of --device cuda, batches and prefetching included, on CPU tensors."""
    expected = analyze(llama, options=QUICK)
    monkeypatch.setattr(module.devices, "resolve", lambda name: "cuda")
    monkeypatch.setattr(torch_route, "open_device", lambda name: torch.device("cpu"))
    for held in (batches._HELD_BYTES, 5000):  # the second makes buckets flush early
        monkeypatch.setattr(batches, "_HELD_BYTES", held)
        found = analyze(llama, options=QUICK)
        assert found.provenance["device"] == "cuda"
        for a, b in zip(found.matrices, expected.matrices, strict=True):
            assert a.ref == b.ref and a.status == b.status
            for column in ("alpha_hill", "alpha_gof", "stable_rank", "spectral_norm", "effective_rank"):
                assert a.values[column] == pytest.approx(b.values[column], rel=1e-9)
        for c, d in zip(found.circuits, expected.circuits, strict=True):
            assert (c.module, c.head, c.kind) == (d.module, d.head, d.kind)
            assert c.values == pytest.approx(d.values, rel=1e-9)


def test_devices_that_are_not_there(llama: Path) -> None:
    for name, words in (("cuda:99", "Use --device cpu"), ("quantum", "Unknown device"), ("meta", "not supported")):
        with pytest.raises(SpectraError, match=words):
            analyze(llama, options=replace(QUICK, device=name))


@pytest.mark.gpu
def test_on_a_gpu(llama: Path) -> None:
    route = torch_route.TorchRoute(torch.device("cuda"))
    for dtype in ("float32", "bfloat16", "float8_e4m3fn"):
        agree(route, batch(dtype, (300, 500), 5))
    found, expected = (analyze(llama, options=replace(QUICK, device=d)) for d in ("cuda", "cpu"))
    for a, b in zip(found.matrices, expected.matrices, strict=True):
        assert a.values["alpha_hill"] == pytest.approx(b.values["alpha_hill"], rel=1e-9)
