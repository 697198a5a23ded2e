"""What a comparison found, in words, each sentence with its evidence. The kind of change is `spectra.compare.verdict`'s."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from spectra import metrics
from spectra.compare import Comparison, Pair, verdict
from spectra.report.finding import Finding, Item
from spectra.report.text import counted, number

LARGEST = 5  # pairs named as evidence
_SHOWN = ("alpha_hill", "stable_rank", "pseudo_rank", "spectral_norm")

NOT_SAID: tuple[str, ...] = (
    "Nothing here tells which of A and B is better, or what B has learned: weights changed, not what they do.",
    "A low-rank update is what a merged adapter leaves, but also what few steps, a small step size or a change to few inputs "
    "may leave. A small relative norm can change a model a great deal, and a large one nothing that matters.",
    "Rank counts singular values above what rounding leaves: full fine-tuning in float32 has full rank however small its steps; "
    "rank says how many directions moved, not how many matter. Read it beside the stable rank of the update.",
    "A difference of exponents has the scatter of both: those of the goodness-of-fit jump where xmin jumps, without any change "
    "of the spectrum worth the name.",
    "Norms scale with the weights; where a normalisation follows, a change of scale may change nothing.",
)


def headline(comparison: Comparison) -> str:
    """What was matched and what kind of change it is, in two or three sentences."""
    alone = len(comparison.only_a) + len(comparison.only_b)
    parts = [f"{counted(len(comparison.pairs), 'matrix', 'matrices')} of A matched with B"]
    parts[0] += f"; {alone:,} without a counterpart." if alone else ", none left over."
    lines = verdict(comparison)
    if lines:
        parts += [f"{_sentence(line)}" for line in (lines[0], *lines[2:])]
    else:
        parts.append("Of two analyses only the metrics are compared: the updates B − A need the checkpoints.")
    return " ".join(parts)


def findings(comparison: Comparison) -> list[Finding]:
    """All findings, the kind of change first."""
    return [*_change(comparison), *_moved(comparison), *_unmatched(comparison), *_conventions(comparison)]


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


def _change(comparison: Comparison) -> Iterator[Finding]:
    lines = verdict(comparison)
    if not lines:
        return
    pairs = comparison.pairs
    changed = [i for i, pair in enumerate(pairs) if pair.update is not None and pair.update.status == "ok"]
    yield Finding(
        heading="Kind of change",
        sentences=tuple(_sentence(line) for line in lines) + (("Largest by relative norm:",) if changed else ()),
        items=tuple(
            Item(row=i, name=pairs[i].a.name, text=_update_words(pairs[i]))
            for i in sorted(changed, key=lambda i: -(_size(pairs[i]) or 0.0))[:LARGEST]
        ),
    )
    unchanged = [i for i, pair in enumerate(pairs) if pair.update is not None and pair.update.status == "unchanged"]
    if changed and unchanged:
        yield Finding(
            heading="Unchanged",
            sentences=(f"{counted(len(unchanged), 'matrix is', 'matrices are')} equal in every stored value: "
                       f"{_by_role([pairs[i] for i in unchanged])}.",),
            items=tuple(Item(row=i, name=pairs[i].a.name) for i in unchanged),
        )  # fmt: skip
    bad = [i for i, pair in enumerate(pairs) if pair.update is not None and pair.update.status == "non_finite"]
    if bad:
        yield Finding(
            heading="Failed",
            sentences=("NaN or infinite entries in A or B: no update. They are hatched on the map and in no median.",),
            items=tuple(Item(row=i, name=pairs[i].a.name) for i in bad),
            tone="bad",
        )


def _size(pair: Pair) -> float | None:
    return pair.update.relative_norm if pair.update is not None else None


def _update_words(pair: Pair) -> str:
    update = pair.update
    assert update is not None
    return (
        f"relative norm {number(update.relative_norm)}, rank {update.rank} of {min(pair.a.rows, pair.a.cols)}, stable rank of the "
        f"update {number(update.values.get('stable_rank'))}, overlap {number(update.overlap)}"
    )


def _by_role(pairs: list[Pair]) -> str:
    counts: dict[str, int] = {}
    for pair in pairs:
        counts[pair.a.role] = counts.get(pair.a.role, 0) + 1
    return ", ".join(f"{count:,} {role}" for role, count in counts.items())


def _moved(comparison: Comparison) -> Iterator[Finding]:
    pairs = comparison.pairs
    for name in _SHOWN:
        gaps = {i: gap for i, pair in enumerate(pairs) if (gap := pair.differences.get(name))}
        if not gaps:
            continue
        up, down = sum(gap > 0 for gap in gaps.values()), sum(gap < 0 for gap in gaps.values())
        yield Finding(
            heading=f"Differences: {metrics.BY_NAME[name].title}",
            sentences=(f"Higher in B for {up:,}, lower for {down:,}, equal or unknown for {len(pairs) - up - down:,}; median of "
                       f"those that differ {number(statistics.median(gaps.values()), '+.3g')}. Largest:",),
            items=tuple(
                Item(row=i, name=pairs[i].a.name, text=f"{number(pairs[i].values_a[name], '.4g')} in A, "
                     f"{number(pairs[i].values_b[name], '.4g')} in B ({number(gaps[i], '+.3g')})")
                for i, _ in sorted(gaps.items(), key=lambda item: -abs(item[1]))[:LARGEST]
            ),
        )  # fmt: skip


def _unmatched(comparison: Comparison) -> Iterator[Finding]:
    for side, names in (("A", comparison.only_a), ("B", comparison.only_b)):
        if names:
            yield Finding(
                heading=f"Only in {side}",
                sentences=(f"{counted(len(names), 'matrix has', 'matrices have')} no counterpart of the same name or place and "
                           "shape; nothing is said of them.",),
                items=tuple(Item(row=-1, name=name) for name in names),
                tone="notable",
            )  # fmt: skip
    renamed = [i for i, pair in enumerate(comparison.pairs) if pair.a.name != pair.b.name]
    if renamed:
        yield Finding(
            heading="Matched by place",
            sentences=(f"{counted(len(renamed), 'matrix is', 'matrices are')} named differently in B and matched by stack, layer, "
                       "role, expert and shape.",),
            items=tuple(Item(row=i, name=comparison.pairs[i].a.name, text=f"in B: {comparison.pairs[i].b.name}") for i in renamed),
        )  # fmt: skip


def _conventions(comparison: Comparison) -> Iterator[Finding]:
    mixed = [i for i, pair in enumerate(comparison.pairs) if pair.a.dtype != pair.b.dtype]
    if mixed:
        kinds = dict.fromkeys((comparison.pairs[i].a.dtype, comparison.pairs[i].b.dtype) for i in mixed)
        yield Finding(
            heading="Stored differently",
            sentences=(f"{counted(len(mixed), 'matrix is', 'matrices are')} stored in another dtype in B "
                       f"({', '.join(f'{x} and {y}' for x, y in kinds)}): part of each difference is rounding.",),
            tone="notable",
        )  # fmt: skip
