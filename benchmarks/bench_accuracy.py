"""Accuracy against the slow, obvious way: float64 SVD of every matrix, definitions written out, dense circuit products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import spectra
from benchmarks import tensors
from benchmarks.measure import Line, Result, log
from benchmarks.model import CONFIG, HEADS, KV_HEADS
from benchmarks.settings import Settings
from spectra.options import AnalysisOptions
from spectra.spectrum import spectrum
from spectra.stored import Stored
from spectra.types import CircuitRow, MatrixRow

Floats = NDArray[np.float64]
LAYERS = (0, 15, 29)  # whose circuits are multiplied out
CIRCUIT_COLUMNS = ("pseudo_rank", "effective_rank", "spectral_norm", "frobenius_norm")


def hill(x: Floats) -> float:
    """1 + k / sum of ln(lambda / lambda_(M-k)) over the k = floor(M/2) largest; `x` ascending."""
    k = x.size // 2
    return float(1.0 + k / np.sum(np.log(x[-k:] / x[-k - 1])))


def gof(x: Floats, low: float = 0.0, high: float = np.inf) -> float:
    """Alpha of the xmin with the least left-grid distance, every candidate tried."""
    best, chosen = np.inf, np.nan
    for i, xmin in enumerate(x[:-1]):
        if not low <= xmin <= high:
            continue
        tail = x[i:]
        alpha = 1.0 + tail.size / np.sum(np.log(tail / xmin))
        distance = np.max(np.abs(1.0 - (tail / xmin) ** (1.0 - alpha) - np.arange(tail.size) / tail.size))
        if distance < best:
            best, chosen = distance, alpha
    return float(chosen)


def fix_finger(x: Floats) -> float:
    """Goodness-of-fit with xmin from 0.95 to 1.5 times the left edge of the log histogram's peak."""
    counts, edges = np.histogram(np.log10(x), bins=100)
    center = 10.0 ** edges[int(np.argmax(counts))]
    return gof(x, 0.95 * center, 1.5 * center)


def circuit(state: Mapping[str, NDArray[Any]], layer: int, head: int, kind: str) -> dict[str, float]:
    """Columns of one head's (d, d) product, formed and decomposed in full; d_head = 64."""
    prefix, group = f"model.layers.{layer}.self_attn.", head // (HEADS // KV_HEADS)
    width = int(CONFIG["hidden_size"]) // HEADS  # type: ignore[call-overload]
    mine, shared = slice(head * width, (head + 1) * width), slice(group * width, (group + 1) * width)

    def weight(role: str) -> Floats:
        return np.asarray(state[f"{prefix}{role}_proj.weight"], dtype=np.float64)

    factors = {
        "qk": (weight("k")[shared].T, weight("q")[mine]),
        "vp": (weight("o")[:, mine], weight("v")[shared]),
    }
    left, right = factors[kind]
    product = left @ right
    s = np.linalg.svd(product, compute_uv=False)[:width]
    p = s[s > 0] / s.sum()
    return {
        "pseudo_rank": float(np.argmax(np.cumsum(s) >= 0.95 * s.sum()) + 1) / width,
        "effective_rank": float(np.exp(-np.sum(p * np.log(p)))),
        "spectral_norm": float(s[0]),
        "frobenius_norm": float(np.linalg.norm(product)),
    }


class _Worst:
    """The largest error of each quantity, and where."""

    def __init__(self) -> None:
        self.errors: dict[str, tuple[float, str]] = {}

    def add(self, what: str, where: str, got: object, expected: float) -> None:
        error = abs(float(got) - expected) / abs(expected) if isinstance(got, int | float) else np.inf
        if error > self.errors.get(what, (-1.0, ""))[0]:
            self.errors[what] = (float(error), where)

    def line(self, what: str, title: str, target: str = "") -> Line:
        error, where = self.errors[what]
        return Line(what=title, ours="", other=where, value=error, unit="", target=target)


def run(settings: Settings) -> Result:
    """All matrices, and the circuits of three layers."""
    state = tensors.read_all(settings)
    options = AnalysisOptions(workers=1, device="cpu", null=False)
    analysis = spectra.analyze(dict(state), options=options, config=CONFIG)
    worst = _Worst()
    found = {row.ref.tensor: row for row in analysis.matrices}
    for done, (name, values) in enumerate(tensors.matrices(state).items()):
        _check_matrix(worst, name, values, found[name])
        if done % 50 == 0:
            log(f"{done} matrices checked")
    for row in analysis.circuits:
        if row.layer in LAYERS:
            _check_circuit(worst, state, row)
    lines = [
        worst.line("hill", "Hill alpha, relative error", "<= 1e-9"),
        worst.line("gof", "goodness-of-fit alpha, relative error", "<= 1e-6"),
        worst.line("fix_finger", "fix-finger alpha, relative error", "<= 1e-6"),
        worst.line("singular values", "singular values, error relative to each (where not reported as 0)"),
        worst.line("scaled", "singular values, error relative to the largest", "<= 1e-7"),
        *(worst.line(f"circuit {c}", f"circuits, {c}, relative error", "<= 1e-6") for c in CIRCUIT_COLUMNS),
    ]
    return Result(
        name="accuracy",
        title=f"Largest errors against float64 SVDs, {len(found)} matrices, circuits of {len(LAYERS)} layers",
        lines=lines,
        notes=(f"Eigenvalues reported as 0 (under the rounding floor): {_zeros(analysis.matrices)}.",),
        details={"worst": worst.errors},
    )


def _check_matrix(worst: _Worst, name: str, values: NDArray[Any], row: MatrixRow) -> None:
    s = np.linalg.svd(values.astype(np.float64), compute_uv=False)[::-1]
    ours = np.sqrt(spectrum(Stored(values, "float32")).eigenvalues)
    kept = ours > 0
    worst.add("singular values", name, float(np.max(np.abs(ours[kept] / s[kept] - 1.0))) + 1.0, 1.0)
    worst.add("scaled", name, float(np.max(np.abs(ours - s))) / s[-1] + 1.0, 1.0)
    x = s[kept] ** 2  # the fits of both sides see the same eigenvalues: those that carry digits
    worst.add("hill", name, row.values["alpha_hill"], hill(s**2))
    worst.add("gof", name, row.values["alpha_gof"], gof(x))
    worst.add("fix_finger", name, row.values["alpha_fix_finger"], fix_finger(x))


def _check_circuit(worst: _Worst, state: Mapping[str, NDArray[Any]], row: CircuitRow) -> None:
    if row.head is None or row.layer is None:
        return
    expected = circuit(state, row.layer, row.head, row.kind)
    for column in CIRCUIT_COLUMNS:
        where = f"layer {row.layer} head {row.head} {row.kind}"
        worst.add(f"circuit {column}", where, row.values[column], expected[column])


def _zeros(rows: Any) -> int:
    return sum(row.esd.zeros for row in rows if row.esd is not None)
