"""What changed over a track, in words, each sentence with its evidence: from the first checkpoint to the last."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from spectra import metrics
from spectra.report.finding import Finding, Item
from spectra.report.text import counted, number
from spectra.track import Track

MOST = 5  # matrices named as evidence
_SHOWN = ("alpha_hill", "stable_rank", "pseudo_rank", "spectral_norm")

NOT_SAID: tuple[str, ...] = (
    "Nothing here tells how the loss moved, or whether training went well: a spectrum that changes, or stops changing, is "
    "no sign of either by itself.",
    "What changed together need not be cause and effect: step, learning rate, weight decay and data move together.",
    "Between checkpoints nothing is known; a straight line between two of them is drawn, not measured.",
    "First and last are two checkpoints, not a trend: look at the trajectory before believing a change, and at how far it "
    "wanders between neighbours. Goodness-of-fit and fix-finger exponents jump where xmin jumps.",
    "Largest change is by value or as a share of the first value, never by significance: one run has no spread to compare with. "
    "A run of another seed would give one.",
)


def change(series: Sequence[float | None]) -> float | None:
    """Last minus first; None where either has no number."""
    first, last = series[0], series[-1]
    return None if first is None or last is None else last - first


def relative(series: Sequence[float | None]) -> float | None:
    """Change as a share of the first value's size; None without one."""
    gap, first = change(series), series[0]
    return None if gap is None or not first else gap / abs(first)


def headline(track: Track) -> str:
    """How much was followed, and the metric and role that changed most, in words."""
    parts = [
        f"{counted(len(track.matrices), 'matrix', 'matrices')} over {counted(len(track.steps), 'checkpoint')}, "
        f"step {track.steps[0]:,} to {track.steps[-1]:,}."
    ]
    moves = [(abs(share), role, name, share) for role, columns in track.roles.items() for name in _SHOWN
             if (share := relative(columns[name])) is not None]  # fmt: skip
    if moves and max(moves)[0] == 0:
        parts.append("No median by role changed in alpha (Hill), stable rank, pseudo-rank or spectral norm.")
    elif moves:
        _, role, name, share = max(moves)
        series = track.roles[role][name]
        parts.append(
            f"Among the medians by role, {metrics.BY_NAME[name].title} of {role} changed most in proportion: "
            f"{number(series[0], '.4g')} to {number(series[-1], '.4g')} ({100 * share:+.1f}%)."
        )
    return " ".join(parts)


def findings(track: Track) -> list[Finding]:
    """All findings: metrics in a fixed order, circuits, norms, what is missing, what differs in how it was made."""
    rows = {name: i for i, name in enumerate(track.matrices)}
    return [*_metrics(track, rows), *_circuits(track), *_norms(track), *_missing(track, rows), *_conventions(track)]


def _metrics(track: Track, rows: dict[str, int]) -> Iterator[Finding]:
    for name in _SHOWN:
        gaps = {matrix: gap for matrix, columns in track.matrices.items() if (gap := change(columns[name])) is not None}
        by_role = {role: gap for role, columns in track.roles.items() if (gap := change(columns[name])) is not None}
        if not gaps or not by_role:
            continue
        if not any(gaps.values()):
            text = f"The same at the first and the last step in {counted(len(gaps), 'matrix', 'matrices')}."
            yield Finding(heading=metrics.BY_NAME[name].title, sentences=(text,))
            continue
        up, down = sum(gap > 0 for gap in gaps.values()), sum(gap < 0 for gap in gaps.values())
        role = max(by_role, key=lambda r: abs(by_role[r]))
        ends = track.roles[role][name]
        most = [m for m, gap in sorted(gaps.items(), key=lambda item: -abs(item[1]))[:MOST] if gap]
        yield Finding(
            heading=metrics.BY_NAME[name].title,
            sentences=(
                f"Rose in {up:,} of {counted(len(gaps), 'matrix', 'matrices')}, fell in {down:,}; median change "
                f"{number(statistics.median(gaps.values()), '+.3g')}. Of the medians by role, {role} moved farthest: "
                f"{number(ends[0], '.4g')} to {number(ends[-1], '.4g')}.",
                "Largest single changes:",
            ),
            items=tuple(
                Item(row=rows[matrix], name=matrix, text=_words(track.matrices[matrix][name])) for matrix in most
            ),
        )


def _words(series: Sequence[float | None]) -> str:
    known = [value for value in series if value is not None]
    text = f"{number(series[0], '.4g')} to {number(series[-1], '.4g')} ({number(change(series), '+.3g')})"
    if min(known) < min(known[0], known[-1]) or max(known) > max(known[0], known[-1]):
        text += f", between {number(min(known), '.4g')} and {number(max(known), '.4g')} on the way"
    return text


_KINDS = {"qk": "W_QK", "vp": "W_VP"}


def _circuits(track: Track) -> Iterator[Finding]:
    sentences = []
    for kind, label in _KINDS.items():
        found = {m: s for m, kinds in track.circuits.items() if change(s := kinds[kind]) is not None}
        if not found:
            continue
        first, last = (statistics.fmean(s[i] or 0.0 for s in found.values()) for i in (0, -1))
        module = max(found, key=lambda m: abs(change(found[m]) or 0.0))
        sentences.append(
            f"{label}: mean pseudo-rank over {counted(len(found), 'attention module')} {first:.3f} at the first step, {last:.3f} "
            f"at the last; most changed in {module}, {_words(found[module])}."
        )
    if sentences:
        yield Finding(heading="Attention circuits", sentences=tuple(sentences))


def _norms(track: Track) -> Iterator[Finding]:
    gaps = {group: gap for group, series in track.norms.items() if (gap := change(series)) is not None}
    if gaps and any(gaps.values()):
        up, down = max(gaps, key=lambda g: gaps[g]), min(gaps, key=lambda g: gaps[g])
        sentences = [f"Share of the norm of all weight matrices: {up} gained most, {_words(track.norms[up])}"]
        sentences[0] += f"; {down} lost most, {_words(track.norms[down])}." if down != up else "."
        yield Finding(heading="Norms by group", sentences=tuple(sentences))


def _missing(track: Track, rows: dict[str, int]) -> Iterator[Finding]:
    gone = [
        name for name, columns in track.matrices.items() if any(_absent(columns, i) for i in range(len(track.steps)))
    ]
    if gone:
        yield Finding(
            heading="Missing at some step",
            sentences=(f"{counted(len(gone), 'matrix has', 'matrices have')} no number at all at one or more steps.",),
            items=tuple(Item(row=rows[name], name=name, text="none at step " + ", ".join(
                str(step) for i, step in enumerate(track.steps) if _absent(track.matrices[name], i))) for name in gone),
            tone="notable",
        )  # fmt: skip


def _absent(columns: Mapping[str, Sequence[float | None]], i: int) -> bool:
    return all(series[i] is None for series in columns.values())


def _conventions(track: Track) -> Iterator[Finding]:
    options = [
        {key: made.get("options", {}).get(key) for key in ("fit", "profile")} | {"precision": made.get("precision")}
        for made in track.provenance.values()
    ]
    if any(found != options[0] for found in options):
        yield Finding(
            heading="Made by different conventions",
            sentences=("The checkpoints were not all analysed with the same fits, profile and precision (see How): part of a "
                       "change may be theirs.",),
            tone="bad",
        )  # fmt: skip
