"""Eigenvalues on a torch device: equal shapes batched, copies overlapped with work.

The arithmetic is the CPU route's (float64 Gram on the short side, symmetric eigensolver), so the routes agree to rounding:
eigenvalues within 1e-12 lambda_max. Raw bits travel (bfloat16 costs two bytes an entry) and are decoded on the device; the next
batch is copied from pinned memory on a side stream while the present one is worked on. Runs on CPU tensors too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import SpectraError
from spectra.spectrum import Spectrum, failed_spectrum, safe_scale, spectrum, spectrum_from_eigenvalues
from spectra.stored import Stored

if TYPE_CHECKING:
    import torch

_BATCH_BYTES = 1 << 30  # float64 bytes of Gram matrices and workspace of one batch
_BATCH_MATRICES = 32
_BLOCK_ELEMENTS = 1 << 25  # elements of the long side decoded to float64 at a time: 256 MB


@dataclass
class _Staged:
    """A batch on its way to the device."""

    matrices: Sequence[Stored]
    scales: list[float]
    raw: torch.Tensor
    ready: torch.cuda.Event | None
    pinned: torch.Tensor | None


def open_device(name: str) -> torch.device:
    """The torch device of a name (`cuda`, `cuda:1`, `cpu`).

    Raises:
        SpectraError: no such device here.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SpectraError(f"Unknown device {name!r}. Use auto, cpu, cuda or cuda:<number>.") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise SpectraError(f"Device {name!r} asked for, but torch sees {count} CUDA devices. Use --device cpu.")
    elif device.type != "cpu":
        raise SpectraError(f"Device {name!r} is not supported: float64 eigenvalues need cpu or cuda.")
    return device


def batch_size(shape: tuple[int, int], raw_bytes: int) -> int:
    """Matrices of a shape, each of `raw_bytes`, in one batch: Gram matrices, workspace, and the raw bits of two batches."""
    short = min(shape)
    return max(1, min(_BATCH_MATRICES, _BATCH_BYTES // (4 * 8 * max(short, 1) ** 2 + 2 * raw_bytes)))


class TorchRoute:
    """Batches of equal shape and dtype -> Spectra, in order."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self.device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def spectra(self, batches: Iterable[Sequence[Stored]]) -> Iterator[list[Spectrum]]:
        """One list of Spectra a batch; batch i + 1 is copied while batch i is computed."""
        staged: _Staged | None = None
        for matrices in batches:
            following = self._stage(matrices)
            if staged is not None:
                yield self._compute(staged)
            staged = following
        if staged is not None:
            yield self._compute(staged)

    def _stage(self, matrices: Sequence[Stored]) -> _Staged:
        """Start copying the raw bits of a batch: (B, rows, cols)."""
        import torch

        scales = [safe_scale(m) for m in matrices]
        arrays = [
            np.ascontiguousarray(m.raw if s in (1.0, 0.0) else m.raw * s) for m, s in zip(matrices, scales, strict=True)
        ]
        host = torch.from_numpy(np.stack([_signed(a) for a in arrays]))
        if self._copies is None:
            return _Staged(matrices, scales, host.to(self.device), None, None)
        pinned = host.pin_memory()
        with torch.cuda.stream(self._copies):
            raw = pinned.to(self.device, non_blocking=True)
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record(self._copies)
        return _Staged(matrices, scales, raw, ready, pinned)

    def _compute(self, staged: _Staged) -> list[Spectrum]:
        import torch

        try:
            return self._solve(staged)
        except torch.OutOfMemoryError:
            if len(staged.matrices) > 1:
                return [s for matrix in staged.matrices for s in self._compute(self._stage([matrix]))]
            return [spectrum(staged.matrices[0])]  # too large for the device: on the CPU then

    def _solve(self, staged: _Staged) -> list[Spectrum]:
        import torch

        if staged.ready is not None:
            torch.cuda.current_stream(self.device).wait_event(staged.ready)
            staged.raw.record_stream(torch.cuda.current_stream(self.device))
        gram = self._gram(staged.raw, staged.matrices[0].dtype)
        traces = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
        finite = torch.isfinite(traces)
        gram[~finite] = 0.0  # the solver must not see NaN; these are reported as non_finite
        values = torch.linalg.eigvalsh(gram).cpu().numpy()
        results = []
        for i, matrix in enumerate(staged.matrices):
            shape = (matrix.shape[0], matrix.shape[1])
            if staged.scales[i] == 0.0 or not bool(finite[i]):
                results.append(failed_spectrum(shape, min(shape)))
            else:
                results.append(spectrum_from_eigenvalues(values[i], shape, float(traces[i]), staged.scales[i]))
        return results

    def _gram(self, raw: torch.Tensor, dtype: str) -> torch.Tensor:
        """Gram matrices (B, M, M) float64 of raw (B, rows, cols), over blocks of the long side."""
        import torch

        batch, rows, cols = raw.shape
        short, long = min(rows, cols), max(rows, cols)
        step = max(1, _BLOCK_ELEMENTS // max(1, batch * short))
        total = torch.zeros((batch, short, short), dtype=torch.float64, device=self.device)
        for start in range(0, long, step):
            block = raw[:, :, start : start + step] if rows <= cols else raw[:, start : start + step]
            part = _decode(block, dtype)
            product = part @ part.mT if rows <= cols else part.mT @ part
            total += product
        return total


def _signed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """uint16 bits as int16, which torch can move and view as bfloat16 everywhere."""
    return array.view(np.int16) if array.dtype == np.uint16 else array


def _decode(raw: torch.Tensor, dtype: str) -> torch.Tensor:
    """Raw bits on the device -> float64."""
    import torch

    if dtype in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"):
        return raw.contiguous().view(getattr(torch, dtype)).to(torch.float32).to(torch.float64)
    return raw.to(torch.float64)
