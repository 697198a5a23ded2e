"""The units of work of an analysis, and what is done to one of them. No threads, files or progress here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spectra import circuits, null, panel, profiles
from spectra.circuits import Side
from spectra.naming import cut
from spectra.null_cache import NullCache
from spectra.options import AnalysisOptions
from spectra.spectrum import Spectrum, gram, safe_scale, spectrum, spectrum_of_gram
from spectra.stored import Stored, unit_roundoff
from spectra.tails import tail_curve
from spectra.types import AttentionRef, CircuitRow, MatrixRef, MatrixRow, NullValue, Plan, Status

Floats = NDArray[np.float64]
Kind = Literal["qk", "vp"]
SIDES: tuple[Side, ...] = ("q", "k", "v", "o")


@dataclass(frozen=True, kw_only=True)
class Group:
    """The matrices cut from one read: a tensor, or one expert of a stack."""

    tensor: str
    index: int | None
    matrices: tuple[MatrixRef, ...]
    file: str = ""

    @property
    def cost(self) -> float:
        """Flops of the Gram matrix and the tridiagonalisation, roughly: M^2 N + 4/3 M^3."""
        sizes = [(min(m.rows, m.cols), max(m.rows, m.cols)) for m in self.matrices]
        return sum(short * short * long + 4.0 / 3.0 * short**3 for short, long in sizes)


@dataclass(frozen=True, kw_only=True)
class Factors:
    """R factors of one side of one attention module; `summed` where the all-heads product was asked for."""

    module: str
    side: Side
    per_head: Floats
    summed: Floats | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of one matrix: its row, or only the factors of the attention modules it is a side of (resumed runs)."""

    row: bool
    sides: Sequence[tuple[AttentionRef, Side]]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What was found; `row` is None where it was not wanted."""

    ref: MatrixRef
    row: MatrixRow | None
    factors: Sequence[Factors]


def measure(
    ref: MatrixRef, matrix: Stored, known: Spectrum | None, wanted: Wanted, options: AnalysisOptions
) -> Finished:
    """Do what is wanted of one matrix; `known` is its spectrum where a device has found it."""
    started = time.perf_counter()
    row, product = None, None
    if known is None and safe_scale(matrix) == 1.0:
        product = gram(matrix, over_rows(ref), lend=True)  # used up before this thread's next matrix
    if known is None and wanted.row:
        known = spectrum(matrix) if product is None else spectrum_of_gram(product, (ref.rows, ref.cols))
    factors = attention_factors(matrix, ref, wanted.sides, options, product)
    if known is not None and wanted.row:  # after the factors: a profile's windows reuse the buffer of the product
        row = matrix_row(ref, matrix, known, options)
        row = replace(row, seconds=time.perf_counter() - started)
    return Finished(ref=ref, row=row, factors=factors)


def groups(plan: Plan, files: Mapping[str, str]) -> list[Group]:
    """Matrices that come from the same read, together, in the order of the plan. `files`: tensor -> file."""
    found: dict[tuple[str, int | None], list[MatrixRef]] = {}
    for ref in plan.matrices:
        found.setdefault((ref.tensor, ref.view.index), []).append(ref)
    return [
        Group(tensor=tensor, index=index, matrices=tuple(refs), file=files.get(tensor, ""))
        for (tensor, index), refs in found.items()
    ]


def sides_by_matrix(attention: Iterable[AttentionRef]) -> dict[str, list[tuple[AttentionRef, Side]]]:
    """Matrix name -> the attention modules it is a side of."""
    found: dict[str, list[tuple[AttentionRef, Side]]] = {}
    for ref in attention:
        for side in SIDES:
            found.setdefault(getattr(ref, side), []).append((ref, side))
    return found


def over_rows(ref: MatrixRef) -> bool:
    """Whether a matrix's Gram matrix is W W^T or W^T W: the smaller one; for square ones, the one over the heads.

    Its diagonal blocks are then the heads' own Gram matrices, which the circuits need.
    """
    return ref.rows < ref.cols or (ref.rows == ref.cols and ref.role != "o")


def matrix_row(ref: MatrixRef, matrix: Stored, found: Spectrum, options: AnalysisOptions) -> MatrixRow:
    """All columns of one matrix but the null, which is compared once all shapes are drawn."""
    profile = profiles.lookup(options.profile)
    fitted = profile.pool(matrix) if profile.pool is not None and found.status == "ok" else None
    values = panel.columns(found, unit_roundoff(ref.dtype), options.fit, profile, fitted)
    if options.uncertainty:
        from spectra.uncertainty import uncertainty_columns

        values |= uncertainty_columns(ref.name, found.eigenvalues, values, options)
    size = int(found.eigenvalues.size)
    status = found.status
    if status == "ok" and size < options.fit.min_eigenvalues:
        status = "too_few_eigenvalues"
    esd = panel.histogram(found)
    curve = tail_curve(found.eigenvalues) if esd is not None else None
    return MatrixRow(ref=ref, status=status, n_eigenvalues=size, values=values, null={}, esd=esd, tail=curve)


def attention_factors(
    matrix: Stored,
    ref: MatrixRef,
    sides: Sequence[tuple[AttentionRef, Side]],
    options: AnalysisOptions,
    product: Floats | None,
) -> list[Factors]:
    """What the circuits need to keep of one matrix; `product` is its Gram matrix (`over_rows`) where it is at hand."""
    of_rows = over_rows(ref)
    return [
        Factors(
            module=attention.module,
            side=side,
            per_head=circuits.head_factors(
                matrix, side, attention, product if of_rows == circuits.gram_of_rows(side) else None
            ),
            summed=circuits.summed_factor(matrix, side, attention) if options.summed_circuits else None,
        )
        for attention, side in sides
    ]


def cut_all(stored: Stored, group: Group) -> list[Stored]:
    """The (rows, cols) matrices of a group, in its order."""
    return [cut(stored, ref.view) for ref in group.matrices]


def circuit_rows(
    attention: AttentionRef,
    dims: Mapping[Side, int],
    sides: Mapping[Side, Factors],
    nulls: NullCache | None,
) -> list[CircuitRow]:
    """Rows of W_QK and W_VP of one attention module, one a head; then, where factors are there, of all heads summed.

    `dims`: the model dimension each side reads or writes (cols of q, k, v; rows of o); they differ in cross-attention.
    """
    rows: list[CircuitRow] = []
    group = attention.heads // attention.kv_heads
    for kind, left_side, right_side, width in _kinds(attention):
        left, right = sides[left_side], sides[right_side]
        d_model = dims[right_side]
        denominators = (width, d_model)
        draws = nulls.circuit(width, (dims[left_side], d_model), denominators) if nulls else None
        for head, values in enumerate(circuits.singular_values(left.per_head, right.per_head)):
            status, made = circuits.circuit_columns(values, *denominators)
            compared: dict[str, NullValue] = {}
            if draws is not None and status == "ok":
                norms = np.linalg.norm(left.per_head[head // group]) * np.linalg.norm(right.per_head[head])
                scale = float(norms) / (width * float(np.sqrt(dims[left_side] * d_model)))
                compared = null.compare_circuit(made, scale, draws)
            rows.append(_row(attention, kind, (head, head // group), circuits.PER_HEAD, (status, made), compared))
        if left.summed is not None and right.summed is not None:
            values = circuits.singular_values(left.summed, right.summed)[0]
            result = circuits.circuit_columns(values, d_model, d_model)
            rows.append(_row(attention, kind, (None, None), circuits.SUMMED, result, {}))
    return rows


def _kinds(attention: AttentionRef) -> tuple[tuple[Kind, Side, Side, int], ...]:
    """(kind, left factor, right factor, head dimension): W_QK = W_K^T W_Q, W_VP = W_P W_V."""
    return ("qk", "k", "q", attention.head_dim), ("vp", "v", "o", attention.value_dim)


def _row(
    attention: AttentionRef,
    kind: Kind,
    heads: tuple[int | None, int | None],
    convention: str,
    result: tuple[Status, dict[str, float | int | None]],
    compared: Mapping[str, NullValue],
) -> CircuitRow:
    return CircuitRow(
        module=attention.module,
        layer=attention.layer,
        stack=attention.stack,
        head=heads[0],
        kv_head=heads[1],
        kind=kind,
        convention=convention,
        status=result[0],
        values=result[1],
        null=compared,
    )
