"""Rows <-> plain dicts, exactly. What `results.py` writes whole, the journal writes line by line.

Numbers survive the round trip bit for bit (Python's repr of a float is exact); NaN and infinity never reach JSON: they are None
with a status beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from spectra.types import (
    CircuitRow,
    Coverage,
    Histogram,
    MatrixRef,
    MatrixRow,
    MatrixView,
    NullValue,
    RowBlock,
    TailCurve,
)

_REF_FIELDS = ("name", "tensor", "layer", "role", "rows", "cols")


def finite(value: Any) -> Any:
    """NaN and infinity as None: the last guard before JSON, which has neither."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def matrix_to_dict(row: MatrixRow) -> dict[str, Any]:
    """One flat object a matrix: identity, status, columns, then `null` and `esd` (DESIGN, "Results on disk")."""
    ref = row.ref
    made: dict[str, Any] = {name: getattr(ref, name) for name in _REF_FIELDS}
    made |= {"n_eigenvalues": row.n_eigenvalues, "dtype": ref.dtype, "status": row.status}
    made |= {name: finite(value) for name, value in row.values.items()}
    made["null"] = {name: asdict(value) for name, value in row.null.items()}
    made["esd"] = histogram_to_dict(row.esd)
    made["tail"] = asdict(row.tail) if row.tail is not None else None
    made |= {
        "stack": ref.stack,
        "module": ref.module,
        "expert": ref.expert,
        "view": asdict(ref.view),
        "seconds": row.seconds,
    }
    return made


_NOT_VALUES = {
    *_REF_FIELDS,
    "n_eigenvalues",
    "dtype",
    "status",
    "null",
    "esd",
    "tail",
    "stack",
    "module",
    "expert",
    "view",
    "seconds",
}


def ref_from_dict(made: Mapping[str, Any]) -> MatrixRef:
    """A MatrixRef from its fields. Raises KeyError or TypeError where one is missing or of another type."""
    view = made["view"]
    return MatrixRef(
        **{name: made[name] for name in _REF_FIELDS},
        dtype=made["dtype"],
        stack=made["stack"],
        module=made["module"],
        expert=made["expert"],
        view=MatrixView(**{**view, "blocks": tuple(RowBlock(**block) for block in view["blocks"])}),
    )


def matrix_from_dict(made: Mapping[str, Any]) -> MatrixRow:
    """The inverse of `matrix_to_dict`. Raises KeyError or TypeError where a field is missing or of another type."""
    return MatrixRow(
        ref=ref_from_dict(made),
        status=made["status"],
        n_eigenvalues=made["n_eigenvalues"],
        values={name: value for name, value in made.items() if name not in _NOT_VALUES},
        null=nulls_from_dict(made["null"]),
        esd=histogram_from_dict(made["esd"]),
        tail=TailCurve(**{name: tuple(values) for name, values in made["tail"].items()}) if made["tail"] else None,
        seconds=made["seconds"],
    )


def histogram_to_dict(esd: Histogram | None) -> dict[str, Any] | None:
    """Edges (of log10 lambda), counts, zeros; None for none."""
    return None if esd is None else {"log10_edges": list(esd.edges), "counts": list(esd.counts), "zeros": esd.zeros}


def histogram_from_dict(made: Mapping[str, Any] | None) -> Histogram | None:
    """The inverse of `histogram_to_dict`."""
    if made is None:
        return None
    return Histogram(edges=tuple(made["log10_edges"]), counts=tuple(made["counts"]), zeros=made["zeros"])


def nulls_from_dict(made: Mapping[str, Any]) -> dict[str, NullValue]:
    """Column -> NullValue."""
    return {name: NullValue(**value) for name, value in made.items()}


CIRCUIT_FIELDS = ("layer", "head", "kv_head", "kind", "convention", "status", "module", "stack")


def circuit_to_dict(row: CircuitRow) -> dict[str, Any]:
    """One flat object a circuit."""
    made: dict[str, Any] = {name: getattr(row, name) for name in CIRCUIT_FIELDS}
    made |= {name: finite(value) for name, value in row.values.items()}
    made["null"] = {name: asdict(value) for name, value in row.null.items()}
    return made


def circuit_from_dict(made: Mapping[str, Any]) -> CircuitRow:
    """The inverse of `circuit_to_dict`."""
    return CircuitRow(
        **{name: made[name] for name in CIRCUIT_FIELDS},
        values={name: value for name, value in made.items() if name not in (*CIRCUIT_FIELDS, "null")},
        null=nulls_from_dict(made["null"]),
    )


def coverage_from_dict(made: Mapping[str, Any]) -> Coverage:
    """The inverse of dataclasses.asdict."""
    return Coverage(**made)
