"""`answers.jsonl` of an evaluation -> each score by question, so that questions can be resampled and checkpoints compared."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plasticity.stats_result import Floats
from spectra.errors import SpectraError

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A score by question: the sum of `value` over the sum of `weight`, (Q,) each; weight 0: not over this question."""

    ids: tuple[str, ...]
    value: Floats
    weight: Floats

    @property
    def score(self) -> float | None:
        """None where it is over no question."""
        total = float(self.weight.sum())
        return float(self.value.sum()) / total if total else None

    def of(self, names: Sequence[str]) -> Floats:
        """Values of these questions, in this order."""
        if list(self.ids) == list(names):
            return self.value
        at = {name: number for number, name in enumerate(self.ids)}
        picked: Floats = self.value[[at[name] for name in names]]
        return picked


def shared(found: Sequence[Table]) -> list[str]:
    """Questions that all tables are over, in the order of the first."""
    over = [{name for name, weight in zip(t.ids, t.weight, strict=True) if weight > 0} for t in found]
    return [name for name in found[0].ids if all(name in one for one in over)] if found else []


def read(path: Path) -> list[Record]:
    """The records of a file.

    Raises:
        SpectraError: it is missing, or a line of it is no record.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        made = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise SpectraError(f"Cannot read {path}: {error}. Run the cell again.") from None
    if not all(isinstance(one, dict) and "id" in one for one in made):
        raise SpectraError(f"{path} has lines that are no records of answers. Run the cell again.")
    return made


def tables(records: Sequence[Record], scores: Iterable[str]) -> dict[str, Table]:
    """Score -> by question; scores that the records do not hold are not in it."""
    ids = _ids(records)
    made = {}
    for name in scores:
        found = [_one(record, name) for record in records]
        if any(pair is not None for pair in found):
            pairs = np.array([pair or (0.0, 0.0) for pair in found], dtype=np.float64)
            made[name] = Table(ids=ids, value=pairs[:, 0], weight=pairs[:, 1])
    return made


def _ids(records: Sequence[Record]) -> tuple[str, ...]:
    """Names of questions, the same for the same question in any run; the second of equal ones told apart."""
    seen: Counter[str] = Counter()
    made = []
    for record in records:
        name = f"{record.get('task', '')}/{record['id']}/{record.get('question_sha256', '')[:16]}"
        made.append(f"{name}#{seen[name]}")
        seen[name] += 1
    return tuple(made)


def _one(record: Record, name: str) -> tuple[float, float] | None:
    """Value and weight of one question; None where the record does not hold the score. As `plasticity.scores` defines them."""
    if "metrics" in record:
        return _metric(record, name)
    kind = name.partition("@")[0]
    if kind in _GREEDY:
        return _GREEDY[kind](record["greedy"])
    return _SAMPLED[kind](record) if kind in _SAMPLED and record.get("samples") else None


def _metric(record: Record, name: str) -> tuple[float, float] | None:
    part, slash, metric = name.rpartition("/")
    if metric not in record["metrics"]:
        return None
    if slash and record.get("task") != part:
        return 0.0, 0.0
    return _number(record["metrics"][metric])


def _flag(value: object) -> tuple[float, float]:
    return float(bool(value)), 1.0


def _number(value: float | None) -> tuple[float, float]:
    return (0.0, 0.0) if value is None or not math.isfinite(value) else (float(value), 1.0)


def _ratio(record: Record) -> tuple[float, float]:
    """Share of correct samples, over the questions that have one."""
    share = sum(sample["correct"] for sample in record["samples"]) / len(record["samples"])
    return (share, 1.0) if share else (0.0, 0.0)


def _ranked(record: Record) -> tuple[float, float]:
    """Whether the sample of the highest reward is right; a question that was not asked has no rewards."""
    rewards = [sample.get("reward") for sample in record["samples"]]
    if None in rewards:
        return _flag(False)
    return _flag(record["samples"][max(range(len(rewards)), key=rewards.__getitem__)]["correct"])


def _rewarded(record: Record) -> tuple[float, float]:
    rewards = [sample.get("reward") for sample in record["samples"]]
    return _number(None if None in rewards else sum(rewards) / len(rewards))


_GREEDY: Mapping[str, Callable[[Record], tuple[float, float]]] = {
    "greedy": lambda sample: _flag(sample["correct"]),
    "harmfulness": lambda sample: _number(sample.get("reward")),
}
_SAMPLED: Mapping[str, Callable[[Record], tuple[float, float]]] = {
    "maj": lambda record: _flag(record["majority"]["correct"]),
    "pass": lambda record: _flag(any(sample["correct"] for sample in record["samples"])),
    "correct_ratio": _ratio,
    "rm": _ranked,
    "orm_score": _rewarded,
}


def checked(found: Mapping[str, Table], scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Table]:
    """Those tables whose mean is the score that the evaluation wrote."""
    made = {}
    for name, table in found.items():
        score, written = table.score, scores[name]["value"]
        if score is not None and written is not None and math.isclose(score, written, rel_tol=1e-6, abs_tol=1e-9):
            made[name] = table
    return made
