"""A series of analyses ordered by training step -> trajectories of every matrix, role, attention module and parameter group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectra.errors import SpectraError
from spectra.types import ROLES, SCHEMA_VERSION, Analysis, CircuitRow, MatrixRow, Role

# Columns followed per matrix and, as medians, per role.
FOLLOWED = (
    "alpha_hill", "alpha_gof", "alpha_fix_finger", "spectral_norm", "frobenius_norm", "stable_rank", "effective_rank",
    "pseudo_rank", "n_spikes",
)  # fmt: skip

Series = tuple[float | None, ...]  # one value a step; None where there is no number


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a matrix stands: the fields of its `MatrixRef` by which it is grouped."""

    stack: str
    layer: int | None
    role: Role
    module: str
    expert: int | None
    rows: int
    cols: int


@dataclass(frozen=True, kw_only=True)
class Track:
    """Trajectories over `steps`.

    Attributes:
        steps, sources: training steps, ascending, and where each analysis came from.
        places: name -> where the matrix stands, in the order of the analyses.
        matrices: name -> column -> Series; None at a step that has no such matrix.
        roles: role -> column -> Series of medians over the role's matrices with a number.
        circuits: attention module -> `qk` or `vp` -> Series of the mean pseudo-rank over heads (plasticity paper, fig. 5, 26-28).
        norms: group (`embed`, `layer 3`, `lm_head`, `other`) -> Series of ||group||_F / ||all||_F over weight matrices
            (fig. 29, 30; vectors are not in it).
    """

    schema_version: int
    provenance: Mapping[str, Any]
    steps: tuple[int, ...]
    sources: tuple[str, ...]
    places: Mapping[str, Place]
    matrices: Mapping[str, Mapping[str, Series]]
    roles: Mapping[str, Mapping[str, Series]]
    circuits: Mapping[str, Mapping[str, Series]]
    norms: Mapping[str, Series]


def track(series: Sequence[tuple[int, Analysis]]) -> Track:
    """Trajectories of (step, Analysis) pairs, in any order.

    Raises:
        SpectraError: fewer than two, two at the same step, or no matrix that all of them have.
    """
    ordered = sorted(series, key=lambda item: item[0])
    steps = tuple(step for step, _ in ordered)
    analyses = [analysis for _, analysis in ordered]
    if len(ordered) < 2:
        raise SpectraError(f"A track needs at least two checkpoints, got {len(ordered)}.")
    twice = {step for step in steps if steps.count(step) > 1}
    if twice:
        raise SpectraError(f"Two checkpoints are at step {min(twice)}. Give different ones with --steps.")
    rows = [{row.ref.name: row for row in analysis.matrices} for analysis in analyses]
    names = list(dict.fromkeys(name for found in rows for name in found))
    if not any(all(name in found for found in rows) for name in names):
        raise SpectraError("The checkpoints have no matrix name in common: they are not one training run.")
    return Track(
        schema_version=SCHEMA_VERSION,
        provenance={str(step): dict(a.provenance) for step, a in ordered},
        steps=steps,
        sources=tuple(str(a.provenance["source"]) for a in analyses),
        places={name: _place(next(found[name] for found in rows if name in found)) for name in names},
        matrices={
            name: {column: tuple(_number(found.get(name), column) for found in rows) for column in FOLLOWED}
            for name in names
        },
        roles={
            role: {column: tuple(_role_median(a, role, column) for a in analyses) for column in FOLLOWED}
            for role in ROLES
            if any(row.ref.role == role for a in analyses for row in a.matrices)
        },
        circuits=_circuits(analyses),
        norms=_norms(analyses),
    )


def _place(row: MatrixRow) -> Place:
    ref = row.ref
    return Place(
        stack=ref.stack,
        layer=ref.layer,
        role=ref.role,
        module=ref.module,
        expert=ref.expert,
        rows=ref.rows,
        cols=ref.cols,
    )


def _number(row: MatrixRow | CircuitRow | None, column: str) -> float | None:
    value = row.values.get(column) if row is not None else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _role_median(analysis: Analysis, role: str, column: str) -> float | None:
    values = [v for row in analysis.matrices if row.ref.role == role and (v := _number(row, column)) is not None]
    return float(np.median(values)) if values else None


def _circuits(analyses: Sequence[Analysis]) -> dict[str, dict[str, Series]]:
    modules = list(dict.fromkeys(c.module for a in analyses for c in a.circuits))
    found: list[dict[tuple[str, str], list[float]]] = []
    for analysis in analyses:
        values: dict[tuple[str, str], list[float]] = {}
        for circuit in analysis.circuits:
            value = _number(circuit, "pseudo_rank")
            if circuit.head is not None and value is not None:
                values.setdefault((circuit.module, circuit.kind), []).append(value)
        found.append(values)
    return {
        module: {
            kind: tuple(float(np.mean(v)) if (v := values.get((module, kind))) else None for values in found)
            for kind in ("qk", "vp")
        }
        for module in modules
    }


def _group(row: MatrixRow) -> str:
    if row.ref.layer is not None:
        return f"{row.ref.stack} layer {row.ref.layer}".strip()
    return row.ref.role if row.ref.role in ("embed", "lm_head") else "other"


def _norms(analyses: Sequence[Analysis]) -> dict[str, Series]:
    squares: list[dict[str, float]] = []
    for analysis in analyses:
        sums: dict[str, float] = {}
        for row in analysis.matrices:
            sums[_group(row)] = sums.get(_group(row), 0.0) + (_number(row, "frobenius_norm") or 0.0) ** 2
        squares.append(sums)
    groups = list(dict.fromkeys(group for sums in squares for group in sums))
    return {
        group: tuple(
            float(np.sqrt(sums[group] / total)) if group in sums and (total := sum(sums.values())) > 0 else None
            for sums in squares
        )
        for group in groups
    }
