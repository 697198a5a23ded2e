"""Which of the planned matrices are analysed: equal tied tensors once, and what --include and --exclude ask for."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from spectra.checkpoint.base import Checkpoint
from spectra.errors import SpectraError
from spectra.types import Coverage, MatrixRef, Plan

NOT_SELECTED = "not selected by --include / --exclude"


def without_ties(plan: Plan, checkpoint: Checkpoint) -> Plan:
    """Turn tie candidates whose values are equal into `tied`; their matrices are dropped."""
    tied: dict[str, str] = {}
    for tensor, other in plan.tie_candidates:
        if tensor not in tied and other not in tied and _same(checkpoint, tensor, other):
            tied[tensor] = other
    if not tied:
        return plan
    coverage = tuple(
        replace(line, disposition="tied", reason=f"same values as {tied[line.tensor]}") if line.tensor in tied else line
        for line in plan.coverage
    )
    return replace(plan, matrices=tuple(m for m in plan.matrices if m.tensor not in tied), coverage=coverage)


def _same(checkpoint: Checkpoint, first: str, second: str) -> bool:
    """Equal values; the first row decides almost always, so that untied embeddings are not read twice."""

    def digest(index: int | None) -> list[str]:
        return [checkpoint.read(name, index).sha256() for name in (first, second)]

    return len(set(digest(0))) == 1 and len(set(digest(None))) == 1


def select(plan: Plan, include: tuple[str, ...], exclude: tuple[str, ...]) -> Plan:
    """Keep the matrices that --include and --exclude ask for.

    Raises:
        SpectraError: a glob matches nothing, or nothing is left.
    """
    if not include and not exclude:
        return plan
    for flag, globs in (("--include", include), ("--exclude", exclude)):
        for glob in globs:
            if not any(_matches(m, glob) for m in plan.matrices):
                raise SpectraError(
                    f"{flag} {glob!r} matches none of the {len(plan.matrices)} matrices (the first is "
                    f"{plan.matrices[0].name if plan.matrices else 'missing: there are none'}). "
                    "Globs are matched against whole names: try '*q_proj*'."
                )
    kept = tuple(
        m
        for m in plan.matrices
        if (not include or any(_matches(m, g) for g in include)) and not any(_matches(m, g) for g in exclude)
    )
    if not kept:
        raise SpectraError("--include and --exclude together leave no matrix. Loosen one of them.")
    names = {m.name for m in kept}
    planned: dict[str, list[MatrixRef]] = {}
    for ref in plan.matrices:
        planned.setdefault(ref.tensor, []).append(ref)
    coverage = tuple(_selected(line, planned.get(line.tensor, []), names) for line in plan.coverage)
    attention = tuple(a for a in plan.attention if {a.q, a.k, a.v, a.o} <= names)
    return replace(plan, matrices=kept, attention=attention, coverage=coverage)


def _selected(line: Coverage, planned: list[MatrixRef], names: set[str]) -> Coverage:
    """The ledger line of a tensor of which only the matrices in `names` are analysed."""
    kept = [ref for ref in planned if ref.name in names]
    if len(kept) == len(planned):
        return line
    if not kept:
        return Coverage(tensor=line.tensor, disposition="skipped", reason=NOT_SELECTED, parameters=line.parameters)
    return replace(line, reason=f"{line.reason}; of these only {', '.join(ref.name for ref in kept)} selected")


def _matches(ref: MatrixRef, glob: str) -> bool:
    """A glob, or the exact name: `[q]` in a name is also a character class in a glob."""
    return glob in (ref.name, ref.tensor) or fnmatchcase(ref.name, glob) or fnmatchcase(ref.tensor, glob)
