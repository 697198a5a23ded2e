"""Two analyses side by side: matched matrices, differences per metric, and, between checkpoints, the spectrum of the update."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from spectra import devices
from spectra.checkpoint.base import Checkpoint
from spectra.errors import SpectraError
from spectra.naming import cut
from spectra.stored import Stored, unit_roundoff
from spectra.types import SCHEMA_VERSION, Analysis, MatrixRef, MatrixRow
from spectra.update import Update, update

# Columns whose differences are given, B - A.
COMPARED = (
    "alpha_hill", "alpha_gof", "alpha_fix_finger", "frobenius_norm", "spectral_norm", "nuclear_norm", "stable_rank",
    "effective_rank", "spectral_entropy_rank", "numerical_rank", "pseudo_rank", "n_spikes",
)  # fmt: skip

LOW_RANK = 0.25  # an update of at most this share of M counts as low-rank
SMALL = 0.1  # relative norm under which weights are still those of the first checkpoint, in the main


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One matrix of A and its counterpart in B; `differences` are B - A; `update` where both are checkpoints.

    `values_a`, `values_b` and `differences` have the columns of `COMPARED`; None where there is no number.
    """

    a: MatrixRef
    b: MatrixRef
    values_a: Mapping[str, float | None]
    values_b: Mapping[str, float | None]
    differences: Mapping[str, float | None]
    update: Update | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `spectra compare` found. `only_a` and `only_b` are names without a counterpart of the same shape."""

    schema_version: int
    provenance: Mapping[str, Any]
    pairs: Sequence[Pair]
    only_a: Sequence[str]
    only_b: Sequence[str]


def match(a: Analysis, b: Analysis) -> tuple[list[tuple[MatrixRow, MatrixRow]], list[str], list[str]]:
    """Rows of A with their counterparts in B, and the names without one.

    By name and shape; what is left by stack, layer, role, expert and shape where that is unique on both sides (names differ
    between GGUF and Hugging Face files, and with prefixes).
    """
    by_name = {row.ref.name: row for row in b.matrices}
    pairs, left = [], []
    for row in a.matrices:
        other = by_name.get(row.ref.name)
        if other is not None and _shape(other) == _shape(row):
            pairs.append((row, other))
            del by_name[row.ref.name]
        else:
            left.append(row)
    places_a, places_b = _unique(left), _unique(by_name.values())
    pairs.extend((places_a[place], places_b[place]) for place in places_a.keys() & places_b.keys())
    order = {row.ref.name: i for i, row in enumerate(a.matrices)}
    pairs.sort(key=lambda pair: order[pair[0].ref.name])
    matched_a = {pair[0].ref.name for pair in pairs}
    matched_b = {pair[1].ref.name for pair in pairs}
    return (
        pairs,
        [row.ref.name for row in a.matrices if row.ref.name not in matched_a],
        [row.ref.name for row in b.matrices if row.ref.name not in matched_b],
    )


def _shape(row: MatrixRow) -> tuple[int, int]:
    return row.ref.rows, row.ref.cols


def _unique(rows: Iterable[MatrixRow]) -> dict[object, MatrixRow]:
    found: dict[object, list[MatrixRow]] = {}
    for row in rows:
        ref = row.ref
        found.setdefault((ref.stack, ref.layer, ref.role, ref.expert, ref.rows, ref.cols), []).append(row)
    return {place: rows[0] for place, rows in found.items() if len(rows) == 1 and rows[0].ref.role != "other"}


def compare(
    a: Analysis,
    b: Analysis,
    checkpoints: tuple[Checkpoint, Checkpoint] | None = None,
    *,
    workers: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Comparison:
    """Match two analyses and take differences; with their checkpoints, also the spectrum of every update.

    Raises:
        SpectraError: no matrix of A has a counterpart in B.
    """
    for name in ("profile", "fit"):
        x, y = (analysis.provenance.get("options", {}).get(name) for analysis in (a, b))
        if x != y:
            raise SpectraError(
                f"The analyses were made with different conventions ({name}: {x} and {y}); their numbers do not compare. "
                "Analyse one of them again with the other's options."
            )
    rows, only_a, only_b = match(a, b)
    if not rows:
        raise SpectraError(
            f"No matrix of {a.provenance['source']} has a counterpart of the same name or place and shape in "
            f"{b.provenance['source']}. Compare checkpoints of one architecture and size."
        )
    updates: dict[str, Update] = {}
    if checkpoints is not None:
        made = _updates([(x.ref, y.ref) for x, y in rows], checkpoints, workers)
        for done, (name, found) in enumerate(made, start=1):
            updates[name] = found
            if progress is not None:
                progress(done, len(rows), name)
    return Comparison(
        schema_version=SCHEMA_VERSION,
        provenance={"a": dict(a.provenance), "b": dict(b.provenance), "updates": checkpoints is not None},
        pairs=tuple(
            Pair(
                a=x.ref,
                b=y.ref,
                values_a=_numbers(x),
                values_b=_numbers(y),
                differences=differences(x, y),
                update=updates.get(x.ref.name),
            )
            for x, y in rows
        ),
        only_a=tuple(only_a),
        only_b=tuple(only_b),
    )


def _updates(
    refs: Sequence[tuple[MatrixRef, MatrixRef]], checkpoints: tuple[Checkpoint, Checkpoint], workers: int
) -> Iterable[tuple[str, Update]]:
    """Name in A and Update of every pair, in order; `workers` pairs in memory."""

    def one(pair: tuple[MatrixRef, MatrixRef]) -> tuple[str, Update]:
        matrices = [_read(checkpoint, ref) for checkpoint, ref in zip(checkpoints, pair, strict=True)]
        roundoff = max(unit_roundoff(ref.dtype) for ref in pair)
        return pair[0].name, update(matrices[0], matrices[1], roundoff)

    with threadpool_limits(1), ThreadPoolExecutor(workers or devices.cores()) as pool:
        yield from pool.map(one, refs)


def _read(checkpoint: Checkpoint, ref: MatrixRef) -> Stored:
    return cut(checkpoint.read(ref.tensor, ref.view.index), ref.view)


def differences(a: MatrixRow, b: MatrixRow) -> dict[str, float | None]:
    """B - A for every column of `COMPARED`; None where either has no number."""
    before, after = _numbers(a), _numbers(b)
    return {
        name: y - x if (x := before[name]) is not None and (y := after[name]) is not None else None for name in COMPARED
    }


def _numbers(row: MatrixRow) -> dict[str, float | None]:
    found = {name: row.values.get(name) for name in COMPARED}
    return {name: float(value) if isinstance(value, (int, float)) else None for name, value in found.items()}


def verdict(comparison: Comparison) -> list[str]:
    """What kind of change the updates are, in words with the evidence; empty without updates."""
    found = [pair.update for pair in comparison.pairs if pair.update is not None]
    if not found:
        return []
    unchanged = sum(u.status == "unchanged" for u in found)
    changed = [u for u in found if u.status == "ok"]
    lines = [f"{len(changed)} of {len(found)} matrices changed, {unchanged} are equal in every stored value"]
    if not changed:
        return lines
    shares = [u.rank_share for u in changed if u.rank_share is not None]
    sizes = [u.relative_norm for u in changed if u.relative_norm is not None]
    overlaps = [u.overlap for u in changed if u.overlap is not None]
    most = max(u.rank or 0 for u in changed)
    lines.append(
        f"updates: rank {min(u.rank or 0 for u in changed)} to {most} (median {float(np.median(shares)):.0%} of full), "
        f"relative norm {float(np.median(sizes)):.3g} (median), top-subspace overlap {float(np.median(overlaps)):.3f} (median)"
    )
    if float(np.median(shares)) <= LOW_RANK:
        lines.append(f"low-rank updates (at most {most}): what a merged LoRA adapter of that rank leaves")
    elif float(np.median(sizes)) < SMALL:
        lines.append("full-rank but small updates: what full fine-tuning leaves")
    else:
        lines.append("full-rank updates of the size of the weights: longer training, or another run altogether")
    return lines
