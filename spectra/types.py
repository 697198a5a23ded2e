"""Frozen results and the plan that leads to them. Data only: nothing here computes.

Shape legend: W (rows, cols) = (out, in); M = min(rows, cols), N = max(rows, cols); H heads, K key/value heads,
Dh = dimension of one head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas

SCHEMA_VERSION = 1

Role = Literal["q", "k", "v", "o", "gate", "up", "down", "qkv_in", "router", "embed", "lm_head", "conv", "other"]
ROLES: tuple[Role, ...] = (
    "q", "k", "v", "o", "gate", "up", "down", "qkv_in", "router", "embed", "lm_head", "conv", "other",
)  # fmt: skip

Status = Literal["ok", "too_few_eigenvalues", "no_tail", "degenerate", "non_finite"]
Disposition = Literal["analysed", "split", "tied", "skipped"]


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One stored tensor, known from the headers alone.

    `dtype` is the name of what is stored: a numpy or torch name without prefix (`float32`, `bfloat16`,
    `float8_e4m3fn`, `int64`, `bool`) or a GGUF quantisation type (`Q4_1`).
    `kind` is the owning module's class name where a live module is read (`Conv1D`, `Linear`), else empty.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: str = ""
    kind: str = ""

    @property
    def parameters(self) -> int:
        """Number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, kw_only=True)
class RowBlock:
    """Rows start, start + step, ... below stop, of a matrix already oriented as (out, in)."""

    start: int
    stop: int
    step: int = 1


@dataclass(frozen=True, kw_only=True)
class MatrixView:
    """How one (rows, cols) = (out, in) matrix is cut from a stored tensor, in this order.

    `index`: take `tensor[index]` (one expert of a stack). `flatten`: reshape to (shape[0], -1) (Conv kernels) or, with
    leading ones, to the last two dimensions. `transpose`: the stored order is (in, out). `blocks`: keep these rows,
    one after another.
    """

    tensor: str
    index: int | None = None
    flatten: bool = False
    transpose: bool = False
    blocks: tuple[RowBlock, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MatrixRef:
    """One matrix of the checkpoint: what it is called, where it stands, and how to cut it from its tensor.

    `name` is unique: the tensor's name, followed by `[q]`, `[gate]` or `[expert 5]` (or `[expert 5][gate]`) where the
    tensor was split. `stack` tells stacks with their own layer numbers apart (`encoder`, `decoder`, `vision`, `mtp`), else ''.
    `module` is the name of the module the matrix belongs to, without its own last part
    (`model.layers.3.self_attn`).
    """

    name: str
    tensor: str
    layer: int | None
    role: Role
    rows: int
    cols: int
    dtype: str
    view: MatrixView
    stack: str = ""
    module: str = ""
    expert: int | None = None


@dataclass(frozen=True, kw_only=True)
class AttentionRef:
    """One attention module whose q, k, v, o are known as matrices, by `MatrixRef.name`.

    Rows of q are H blocks of `head_dim`; of k, K blocks of `head_dim`; of v, K blocks of `value_dim`;
    columns of o are H blocks of `value_dim`. Query head h pairs with key/value head h // (H / K).
    """

    module: str
    layer: int | None
    q: str
    k: str
    v: str
    o: str
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    stack: str = ""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """One line of the ledger: what became of one tensor. `reason` says why, or into what it was split."""

    tensor: str
    disposition: Disposition
    reason: str
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be done with every tensor of a checkpoint, decided from names, shapes and config alone.

    `coverage` has every tensor exactly once. `tie_candidates` are pairs (tensor, the tensor it may repeat): the
    caller compares values and turns equal ones into `tied`. `notes` are sentences for the user (why circuits
    are missing, say).
    """

    matrices: tuple[MatrixRef, ...]
    attention: tuple[AttentionRef, ...]
    coverage: tuple[Coverage, ...]
    tie_candidates: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TailFit:
    """A power-law fit p(x) ~ x^-alpha for x >= xmin to the tail of a spectrum.

    `alpha` is NaN unless `status` is `ok`; `stderr` is (alpha - 1) / sqrt(tail_size); `ks` the Kolmogorov-Smirnov
    distance D of the fitted tail; `xmin` an eigenvalue (or, for Hill, the eigenvalue the ratios are taken to).
    """

    alpha: float
    stderr: float
    xmin: float
    tail_size: int
    ks: float
    status: Status


@dataclass(frozen=True, kw_only=True)
class NullValue:
    """A metric of i.i.d. Gaussian matrices of the same shape and Frobenius norm, and how the measured one differs.

    `difference` = measured - mean; `z` = difference / sd.
    """

    mean: float | None
    sd: float | None
    difference: float | None
    z: float | None


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of log10(eigenvalue) between `edges` (len(counts) + 1 of them); `zeros` eigenvalues lie below the
    rounding floor of the computation and are in no bin."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    zeros: int


@dataclass(frozen=True, kw_only=True)
class TailCurve:
    """The upper spectrum at ranks k spaced evenly in log k: enough for a CCDF and a Hill plot without the eigenvalues.

    `eigenvalues[i]` is the `ranks[i]`-th largest; `hill_alphas[i]` is Hill's alpha over the `ranks[i]` largest, relative to
    the next one (None where that one is zero or equal to them).
    """

    ranks: tuple[int, ...]
    eigenvalues: tuple[float, ...]
    hill_alphas: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """All numbers of one matrix. `values` holds the columns of `metrics.py` by name; None where there is no number,
    with the reason in the status column beside it."""

    ref: MatrixRef
    status: Status
    n_eigenvalues: int
    values: Mapping[str, float | int | str | bool | None]
    null: Mapping[str, NullValue]
    esd: Histogram | None
    tail: TailCurve | None = None
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, kw_only=True)
class CircuitRow:
    """Spectrum of one head's W_QK = W_K^T W_Q or W_VP = W_P W_V (plasticity paper, sec. 5.2); see `circuits.py`."""

    module: str
    layer: int | None
    stack: str
    head: int | None
    kv_head: int | None
    kind: Literal["qk", "vp"]
    convention: str
    status: Status
    values: Mapping[str, float | int | None]
    null: Mapping[str, NullValue]


@dataclass(frozen=True, kw_only=True, repr=False)
class Analysis:
    """Everything `spectra analyze` found out. Written to and read from disk by `results.py`."""

    schema_version: int
    provenance: Mapping[str, Any]
    matrices: Sequence[MatrixRow]
    circuits: Sequence[CircuitRow]
    coverage: Sequence[Coverage]
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        source = self.provenance.get("source")
        return f"<Analysis of {source}: {len(self.matrices)} matrices, {len(self.circuits)} circuits>"

    def _repr_html_(self) -> str:
        """What a notebook shows: a line a role, what stands out, two figures."""
        from spectra.figures.notebook import html  # at call time: data does not import what draws it

        return html(self)

    def to_pandas(self, table: Literal["matrices", "circuits", "coverage"] = "matrices") -> pandas.DataFrame:
        """One row a matrix (a circuit, a tensor), columns as in the CSV; missing numbers are NaN. Needs pandas.

        Raises:
            SpectraError: pandas is not installed, or there is no such table.
        """
        from spectra.results import to_pandas  # at call time: data does not import what writes it

        return to_pandas(self, table)
