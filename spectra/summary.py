"""What stands out in an Analysis, with the reason: data for the terminal and for reports. Nothing is a bare threshold on alpha.

Two kinds of evidence: a matrix against a random matrix of its shape (its null), and a matrix against the others of its role
(robust z: (x - median) / (1.4826 MAD)).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spectra.metrics import ALTERNATIVES
from spectra.naming.skips import is_absorbed, loses_matrix
from spectra.selection import NOT_SELECTED
from spectra.stored import FLOAT_DTYPES
from spectra.types import ROLES, Analysis, CircuitRow, MatrixRow

ODD_Z = 5.0  # robust z from which a matrix is called out among its role
MIN_EFFECT = 0.05  # and the least relative distance from the median: a spread of nothing must not make much of little
DOUBT_P = 0.1  # Clauset et al. 2009, sec. 4.2 and 5: the conventional level for both tests
NULL_Z = 3.0  # |z| under which a metric does not differ from its null
MIN_PEERS = 6  # matrices of a role and shape needed before one can be odd among them
MAX_ODD = 12

# Metrics compared among a role: (column, on the log scale, words for more, words for less, label, format).
_COMPARED = (
    ("alpha_hill", False, "lighter tail", "heavier tail", "Hill alpha", ".2f"),
    ("stable_rank", True, "higher stable rank", "lower stable rank", "", ".3g"),
    ("pseudo_rank", False, "higher pseudo-rank", "lower pseudo-rank", "", ".3f"),
    ("spectral_norm", True, "larger spectral norm", "smaller spectral norm", "", ".3g"),
    ("frobenius_norm", True, "larger Frobenius norm", "smaller Frobenius norm", "", ".3g"),
    ("numerical_rank", False, "higher numerical rank", "lower numerical rank", "", ".0f"),
)


@dataclass(frozen=True, kw_only=True)
class RoleLine:
    """One role: how many matrices, and medians over those where the number exists. `excess`: median difference from the null."""

    role: str
    count: int
    shapes: tuple[tuple[int, int], ...]
    failed: int
    medians: Mapping[str, float]
    excess: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Odd:
    """A matrix that stands out, its largest |robust z|, and why in words."""

    name: str
    z: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Matrices without numbers, or fits without an alpha, by status."""

    what: str
    status: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CoverageSummary:
    """Tensors by disposition, share of parameters covered, and reasons of what was skipped (reason -> tensors)."""

    counts: Mapping[str, int]
    parameters: int
    covered: int
    skipped: Mapping[str, int]

    @property
    def share(self) -> float:
        """Covered parameters / all parameters."""
        return self.covered / self.parameters if self.parameters else 0.0


def number(row: MatrixRow | CircuitRow, column: str) -> float | None:
    """A column as a float, None where there is none."""
    value = row.values.get(column)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _mean(values: Iterable[float | None]) -> float:
    kept = [v for v in values if v is not None]
    return float(np.mean(kept)) if kept else float("nan")


def _median(values: Iterable[float | None]) -> float:
    kept = [v for v in values if v is not None]
    return float(np.median(kept)) if kept else float("nan")


_MEDIANS = ("alpha_hill", "alpha_gof", "alpha_fix_finger", "stable_rank", "effective_rank", "pseudo_rank",
          "spectral_norm", "frobenius_norm", "n_spikes")  # fmt: skip


def role_lines(analysis: Analysis) -> list[RoleLine]:
    """One line a role that occurs, in the order of `ROLES`. Failed rows are counted, and in no mean."""
    lines = []
    for role in ROLES:
        rows = [row for row in analysis.matrices if row.ref.role == role]
        if not rows:
            continue
        ok = [row for row in rows if row.status == "ok"]
        lines.append(
            RoleLine(
                role=role,
                count=len(rows),
                shapes=tuple(dict.fromkeys((row.ref.rows, row.ref.cols) for row in rows)),
                failed=len(rows) - len(ok),
                medians={name: _median(number(row, name) for row in ok) for name in _MEDIANS},
                excess={
                    name: _median(row.null[name].difference for row in ok if name in row.null) for name in _MEDIANS
                },
            )
        )
    return lines


def odd_matrices(analysis: Analysis) -> list[Odd]:
    """Matrices that differ from the others of their stack, role and shape, the oddest first."""
    groups: dict[object, list[MatrixRow]] = {}
    for row in analysis.matrices:
        if row.status == "ok":
            groups.setdefault((row.ref.stack, row.ref.role, row.ref.rows, row.ref.cols), []).append(row)
    reasons: dict[str, list[tuple[float, str]]] = {}
    for rows in groups.values():
        if len(rows) >= MIN_PEERS:
            for name, found in _odd_among(rows):
                reasons.setdefault(name, []).append(found)
    odd = [
        Odd(
            name=name,
            z=max(abs(z) for z, _ in found),
            reasons=tuple(t for _, t in sorted(found, key=lambda f: -abs(f[0]))),
        )
        for name, found in reasons.items()
    ]
    return sorted(odd, key=lambda o: -o.z)


def _odd_among(rows: Sequence[MatrixRow]) -> Iterable[tuple[str, tuple[float, str]]]:
    for column, logarithm, more, less, label, form in _COMPARED:
        if column == "numerical_rank" and rows[0].ref.dtype not in FLOAT_DTYPES:
            continue  # of dequantised weights it counts quantisation noise
        known = [
            (row, value) for row in rows if (value := number(row, column)) is not None and (value > 0 or not logarithm)
        ]
        if len(known) < MIN_PEERS:
            continue
        raw = np.array([value for _, value in known])
        x = np.log(raw) if logarithm else raw
        median = float(np.median(x))
        spread = 1.4826 * float(np.median(np.abs(x - median)))
        # Few peers may lie close together by chance: a spread under that of random matrices of the shape proves nothing.
        spread = max(spread, _null_spread(known[0][0], column, logarithm), 1e-3 * abs(median), 1e-12)
        middle = float(np.median(raw))
        for (row, value), z in zip(known, (x - median) / spread, strict=True):
            if abs(z) >= ODD_Z and abs(value - middle) >= MIN_EFFECT * abs(middle):
                shown = f"{label} {value:{form}}".strip()
                text = f"{more if z > 0 else less} ({shown}, role median {middle:{form}}, z {z:+.1f})"
                yield row.ref.name, (float(z), text)


def _null_spread(row: MatrixRow, column: str, logarithm: bool) -> float:
    """Sampling sd of a column over random matrices of the shape (of its logarithm: relative); 0 where there is no null."""
    null = row.null.get(column)
    if null is None or null.sd is None or not null.mean:
        return 0.0
    return null.sd / abs(null.mean) if logarithm else null.sd


def like_random(analysis: Analysis) -> list[str]:
    """Matrices that none of Hill alpha, stable rank, pseudo-rank or spikes tells from a random matrix of their shape."""
    names = []
    for row in analysis.matrices:
        zs = [row.null[m].z for m in ("alpha_hill", "stable_rank", "pseudo_rank") if m in row.null]
        known = [z for z in zs if z is not None]
        if len(known) >= 2 and all(abs(z) < NULL_Z for z in known) and number(row, "n_spikes") == 0:
            names.append(row.ref.name)
    return names


def failures(analysis: Analysis) -> list[Failure]:
    """Matrices and fits that gave no number, by status."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in analysis.matrices:
        if row.status != "ok":
            found.setdefault(("matrix", row.status), []).append(row.ref.name)
            continue
        for fit in ("alpha_hill", "alpha_gof", "alpha_fix_finger"):
            status = str(row.values.get(f"{fit}_status"))
            if status not in ("ok", "not_requested"):
                found.setdefault((fit, status), []).append(row.ref.name)
    return [Failure(what=what, status=status, names=tuple(names)) for (what, status), names in found.items()]


def small_tails(analysis: Analysis) -> int:
    """Goodness-of-fit tails under 50 eigenvalues."""
    return sum(1 for row in analysis.matrices if row.values.get("alpha_gof_small_tail") is True)


def doubts(analysis: Analysis) -> list[str]:
    """What --uncertainty says of the power laws, in words: rejected ones, and alternatives that fit better. Empty without it."""
    tested = [row for row in analysis.matrices if number(row, "bootstrap_p") is not None]
    if not tested:
        return []
    rejected = sum((number(row, "bootstrap_p") or 0.0) < DOUBT_P for row in tested)
    lines = [
        f"power law rejected by the bootstrap (p < {DOUBT_P}) for {rejected} of {len(tested)} goodness-of-fit tails"
    ]
    for other in ALTERNATIVES:
        decided = [row for row in tested if (p := number(row, f"lr_{other}_p")) is not None and p < DOUBT_P]
        for_law = sum((number(row, f"lr_{other}") or 0.0) > 0 for row in decided)
        lines.append(
            f"power law against {other.replace('_', ' ')}: better for {for_law}, worse for {len(decided) - for_law}, undecided "
            f"for {len(tested) - len(decided)}"
        )
    return lines


_ABSORBED_REASON = "scales or factors, folded into the values of other tensors"


def coverage_summary(analysis: Analysis) -> CoverageSummary:
    """Counts of the ledger. Tied tensors count as covered: their values were analysed under the other name."""
    counts: dict[str, int] = {}
    skipped: dict[str, int] = {}
    parameters = covered = 0
    for line in analysis.coverage:
        counts[line.disposition] = counts.get(line.disposition, 0) + 1
        if line.disposition != "skipped":
            parameters += line.parameters
            covered += line.parameters
            continue
        reason = _ABSORBED_REASON if is_absorbed(line.reason) else line.reason
        skipped[reason] = skipped.get(reason, 0) + 1
        if reason != _ABSORBED_REASON:  # those are counted with the tensor they are part of
            parameters += line.parameters
    return CoverageSummary(counts=counts, parameters=parameters, covered=covered, skipped=skipped)


@dataclass(frozen=True, kw_only=True)
class CircuitLine:
    """One kind of circuit over layers and heads (per head): means, and the head and the layer of the lowest pseudo-rank."""

    kind: str
    count: int
    means: Mapping[str, float]
    null_pseudo_rank: float
    lowest: CircuitRow
    lowest_layer: tuple[str, float]
    summed: float


def circuit_lines(analysis: Analysis) -> list[CircuitLine]:
    """W_QK and W_VP in one line each; `summed` is the mean pseudo-rank of all heads summed, NaN where not asked for."""
    lines = []
    for kind in ("qk", "vp"):
        rows = [c for c in analysis.circuits if c.kind == kind and c.head is not None and c.status == "ok"]
        if not rows:
            continue
        layers = circuit_layers(rows)
        lowest_layer = min(layers, key=lambda module: layers[module][0])
        lines.append(
            CircuitLine(
                kind=kind,
                count=len(rows),
                means={
                    n: _mean(number(c, n) for c in rows) for n in ("pseudo_rank", "effective_rank", "spectral_norm")
                },
                null_pseudo_rank=_mean(c.null["pseudo_rank"].mean for c in rows if "pseudo_rank" in c.null),
                lowest=min(rows, key=lambda c: number(c, "pseudo_rank") or 0.0),
                lowest_layer=(lowest_layer, layers[lowest_layer][0]),
                summed=_mean(number(c, "pseudo_rank") for c in analysis.circuits if c.kind == kind and c.head is None),
            )
        )
    return lines


def circuit_layers(rows: Iterable[CircuitRow]) -> dict[str, tuple[float, float]]:
    """Attention module -> mean and least pseudo-rank over its heads."""
    found: dict[str, list[float]] = {}
    for row in rows:
        value = number(row, "pseudo_rank")
        if value is not None and row.head is not None:
            found.setdefault(row.module, []).append(value)
    return {module: (float(np.mean(values)), min(values)) for module, values in found.items()}


def uncompared(analysis: Analysis) -> int:
    """Matrices with fewer than `MIN_PEERS` of their stack, role and shape: nothing can be said of their oddness."""
    groups: dict[object, int] = {}
    for row in analysis.matrices:
        if row.status == "ok":
            key = (row.ref.stack, row.ref.role, row.ref.rows, row.ref.cols)
            groups[key] = groups.get(key, 0) + 1
    return sum(count for count in groups.values() if count < MIN_PEERS)


def fell_short(analysis: Analysis) -> list[str]:
    """What --strict objects to: matrices skipped (beyond the user's own selection), rows or fits that failed."""
    bad: list[str] = []
    lost = [
        line
        for line in analysis.coverage
        if line.disposition == "skipped" and line.reason != NOT_SELECTED and loses_matrix(line.reason)
    ]
    if lost:
        bad.append(f"{len(lost)} tensors skipped (the first: {lost[0].tensor}: {lost[0].reason})")
    bad += [f"{len(f.names)} x {f.what} {f.status} (the first: {f.names[0]})" for f in failures(analysis)]
    return bad
