"""Short ways to write down checkpoints that exist only as names and shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from spectra.naming import plan
from spectra.types import MatrixRef, Plan, TensorInfo


def infos(shapes: Mapping[str, tuple[int, ...] | tuple[tuple[int, ...], str]]) -> dict[str, TensorInfo]:
    """name -> shape, or name -> (shape, dtype)."""
    tensors = {}
    for name, value in shapes.items():
        shape, dtype = value if len(value) == 2 and isinstance(value[1], str) else (value, "float32")
        tensors[name] = TensorInfo(name=name, shape=tuple(shape), dtype=dtype)  # type: ignore[arg-type]
    return tensors


def check_ledger(tensors: Mapping[str, TensorInfo], result: Plan) -> None:
    """What holds for every plan: each tensor once, dispositions agree with the matrices, names are unique."""
    assert [line.tensor for line in result.coverage] == list(tensors)
    made: dict[str, list[MatrixRef]] = {}
    for ref in result.matrices:
        made.setdefault(ref.tensor, []).append(ref)
    for line in result.coverage:
        count = len(made.get(line.tensor, []))
        assert line.reason
        assert {"analysed": count == 1, "split": count >= 1}.get(line.disposition, count == 0), line
        if line.disposition in ("analysed", "split"):
            size = sum(ref.rows * ref.cols for ref in made[line.tensor])
            assert size == line.parameters, line
    names = [ref.name for ref in result.matrices]
    assert len(set(names)) == len(names)
    for circuit in result.attention:
        assert {circuit.q, circuit.k, circuit.v, circuit.o} <= set(names)


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """plan() of name -> shape, with the ledger checked."""

    def make(shapes: Mapping[str, Any], config: Mapping[str, Any] | None = None, **options: Any) -> Plan:
        tensors = infos(shapes)
        result = plan(tensors, config or {}, **options)
        check_ledger(tensors, result)
        return result

    return make


@pytest.fixture
def ledger() -> Callable[[Mapping[str, TensorInfo], Plan], None]:
    """Asserts what holds for every plan."""
    return check_ledger
