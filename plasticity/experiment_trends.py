"""Whether what is measured on bases rises or falls along the axis: probes, pseudo-rank, train-val gap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plasticity import stats
from plasticity.experiment_bases import probe_of
from plasticity.experiment_claim import FALLS, HOLDS, NOT, ONE_SEED, OPEN, RISES, Finding, unknown
from plasticity.experiment_families import Family
from plasticity.experiment_places import is_number
from plasticity.stats_result import counted, listed


def trends(family: Family, axis: str, *, of_paper: bool) -> list[Finding]:
    """One a quantity. `of_paper`: asked in the direction that the paper claims; else neutrally."""
    return [
        _trend(family, axis, claim, quantity, called, direction if of_paper else 0)
        for claim, quantity, called, direction in _trends(family)
    ]


def _trends(family: Family) -> list[tuple[str, str, str, int]]:
    """Claim, quantity, what it is called, direction that the paper claims."""
    return [
        ("probes", probe_of(family.measures), "accuracy of linear probes (best layer)", 1),
        ("rank", "pseudo_rank_qk", "pseudo-rank of W_QK (share of full rank, final checkpoint)", -1),
        ("gap", "gap", "train-val gap (nats a token)", -1),
    ]


def _trend(family: Family, axis: str, claim: str, quantity: str, called: str, direction: int) -> Finding:
    """Over the seeds that have all values. `direction` 0: no claim is made, and the answer is whether it rises or falls."""
    question = f"Does the {called} {('rise or fall', 'rise', 'fall')[direction]} with {axis}?"
    values = {name: seeds for name, seeds in family.of(quantity).items() if is_number(family.x(name))}
    names, grid = list(values), family.numbers
    steps = [grid.index(float(family.x(name))) for name in names]
    if len(names) < 2:
        return unknown(
            claim, family.label, question, f"it takes bases of at least two values of {axis} on which it was measured"
        )
    seeds = family.shared_seeds(quantity, names)
    means = family.means(quantity, names)
    n = {name: len(seeds or values[name]) for name in names}
    evidence = [f"{axis} {family.x(name)}: {means[name]:.4f} ({counted(n[name], 'seed')})" for name in names]
    gone = sorted({seed for of in values.values() for seed in of} - set(seeds))
    if gone and seeds:
        evidence.append(f"Left out, seeds that not all values of {axis} have: {listed([str(s) for s in gone])}.")
    lacking = [f"{x:g}" for at, x in enumerate(grid) if at not in steps]
    if lacking:
        evidence.append(f"Not measured at {axis} {listed(lacking)}.")
    ends = f"{means[names[0]]:.4f} at {family.x(names[0])}, {means[names[-1]]:.4f} at {family.x(names[-1])}"
    if not seeds:
        answer = f"{ends}; no seed has all values of {axis}: there is no interval."
        return Finding(
            claim=claim, group=family.label, question=question, answer=answer, status=OPEN, evidence=evidence
        )
    slopes = {seed: _slope(steps, [values[name][seed] for name in names]) for seed in seeds}
    found = stats.paired_seeds(slopes, dict.fromkeys(seeds, 0.0))
    slope = float(found.value or 0.0)
    if found.ci95 is None:
        why = ONE_SEED if len(seeds) == 1 else "there is no spread over seeds to measure it against"
        status, answer = OPEN, f"{ends}; {why}."
    else:
        low, high = found.ci95
        said = f"{ends}; {slope:+.4f} a step of the grid (95% interval {low:+.4f} to {high:+.4f}, {counted(len(seeds), 'seed')})"
        status, answer = _direction(low, high, direction, said)
        if {0, len(grid) - 1} - {*steps} and status != OPEN:
            status, answer = OPEN, f"{ends}; {axis} {listed(lacking)} was not measured, and may go the other way."
    rises = np.diff([means[name] for name in names]) * (direction or (1 if slope > 0 else -1))
    which = "asked about" if direction else "of the slope"
    evidence.append(
        f"{'Every step goes' if (rises > 0).all() else 'Not every step goes'} in the direction {which} (means over seeds). A step "
        f"is from one value of {axis} to the next; slope by least squares a seed, t-interval over seeds of pretraining."
    )
    return Finding(claim=claim, group=family.label, question=question, answer=answer, status=status, evidence=evidence)


def _direction(low: float, high: float, direction: int, said: str) -> tuple[str, str]:
    """Status and answer from the interval of a slope."""
    if low <= 0 <= high:
        return OPEN, f"{said}: zero is within."
    if not direction:
        return (RISES, f"It rises: {said}.") if low > 0 else (FALLS, f"It falls: {said}.")
    return (HOLDS, f"Yes: {said}.") if (low > 0) == (direction > 0) else (NOT, f"No, the reverse: {said}.")


def _slope(steps: Sequence[int], values: Sequence[float]) -> float:
    """Least squares a step of the grid; exactly 0 of values that are equal."""
    x, y = np.array(steps, float), np.array(values) - values[0]
    x -= x.mean()
    return float(x @ y / (x @ x))
