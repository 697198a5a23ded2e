"""The cells of a study (part, arm, base, seed), their addresses, and which comes next. Pure functions of what is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .config import Recipe
from .study import Study

Phase = Literal["tuning", "fresh"]
_VERSION = 1  # raise when the same study would give other numbers


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a study.

    Attributes:
        phase: `tuning` (chooses a base) or `fresh` (is compared).
        recipe: resolved.
        key: SHA-256 over what the study says of this run; a default that is added to recipes later does not change it.
    """

    part: str
    arm: str
    base: float
    seed: int
    phase: Phase
    recipe: Recipe
    key: str

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.part} {self.arm} base {self.base:g} seed {self.seed}"


def cell(study: Study, part: str, arm: str, base: float, seed: int) -> Cell:
    """One cell with its address."""
    said = {"version": _VERSION, "order_seed": seed, "given": study.given(part, arm, base, seed)}
    return Cell(
        part=part,
        arm=arm,
        base=base,
        seed=seed,
        phase="tuning" if seed == study.tuning_seed else "fresh",
        recipe=study.resolved(part, arm, base, seed),
        key=hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest(),
    )


def tuning(study: Study, part: str, arm: str) -> list[Cell]:
    """The cells that choose an arm's base; none where there is only one base."""
    bases = study.parts[part].bases[arm]
    return [cell(study, part, arm, base, study.tuning_seed) for base in bases]


def count(study: Study) -> tuple[int, int]:
    """Cells in all: (tuning, fresh)."""
    tuned = sum(len(bases) for part in study.parts.values() for bases in part.bases.values())
    return tuned, len(study.parts) * len(study.arms) * len(study.seeds)


def chosen(study: Study, part: str, arm: str, losses: Mapping[str, float]) -> float | None:
    """The base with the least validation loss on the tuning seed; None: no run of it has ended well.

    Args:
        losses: key -> validation loss of the cells that ended well.
    """
    found = [(losses[c.key], c.base) for c in tuning(study, part, arm) if c.key in losses]
    return min(found)[1] if found else None


def pending(study: Study, losses: Mapping[str, float], failed: Collection[str]) -> Iterator[Cell]:
    """Cells that can be begun now, in the order in which they should be: tuning first, then seed by seed, all arms of a seed.

    An arm whose tuning is not over is passed over. Running cells are not known here: the caller leaves them out.

    Args:
        losses: key -> validation loss of the cells that ended well.
        failed: keys of the cells that did not.
    """
    for part in study.parts:
        yield from (c for arm in study.arms for c in tuning(study, part, arm) if _open(c, losses, failed))
        over = {
            arm: chosen(study, part, arm, losses)
            for arm in study.arms
            if not any(_open(c, losses, failed) for c in tuning(study, part, arm))
        }
        for seed in study.seeds:
            for arm, base in over.items():
                if base is not None:
                    made = cell(study, part, arm, base, seed)
                    if _open(made, losses, failed):
                        yield made


def _open(one: Cell, losses: Mapping[str, Any], failed: Collection[str]) -> bool:
    return one.key not in losses and one.key not in failed
