"""What stands out, in words, each sentence with its evidence. Data from `spectra.summary`; nothing is a threshold on alpha."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from spectra import summary
from spectra.report.finding import Finding, Item
from spectra.report.text import counted, number
from spectra.types import Analysis, MatrixRow

FARTHEST = 5  # matrices named as farthest from their null


NOT_SAID: tuple[str, ...] = (
    "No spectrum here tells how well the model answers, how much it was trained, or whether it will fine-tune well. "
    "Nothing on this page is a grade.",
    "A bare exponent says little: the shape of a matrix alone moves Hill's alpha from about 2 to 4.5. Compare with the null "
    "of the same shape, or with the same role in other layers; never across shapes.",
    "To differ from a Gaussian matrix is what training does; a large z says that the difference is measured precisely, not that "
    "it is large or matters.",
    "A fitted power law is a description. That the spectrum follows one is not shown by the fit, nor by a small KS distance.",
    "Odd among its role means unlike its neighbours: a first or last layer is often odd and well.",
)


def headline(analysis: Analysis) -> str:
    """The verdict in one or two sentences."""
    total = len(analysis.matrices)
    if not total:
        return "No matrix was analysed: the ledger below says what became of each tensor."
    odd, random = len(summary.odd_matrices(analysis)), len(summary.like_random(analysis))
    parts = [f"{counted(total, 'matrix', 'matrices')} analysed."]
    if any(row.null for row in analysis.matrices):
        if random:
            parts.append(
                f"{random:,} cannot be told from a random matrix of the same shape by exponent, ranks and spikes."
            )
        else:
            parts.append("Every one compared differs from a random matrix of its shape.")
    alone = summary.uncompared(analysis)
    if alone < total:
        parts.append(f"{counted(odd, 'stands', 'stand')} out among others of the same role." if odd
                     else "None stands out among others of the same role.")  # fmt: skip
    bad = sum(len(f.names) for f in summary.failures(analysis) if f.what == "matrix")
    if bad:
        parts.append(f"{counted(bad, 'matrix', 'matrices')} gave no spectrum.")
    return " ".join(parts)


def findings(analysis: Analysis) -> list[Finding]:
    """All findings, the most urgent first."""
    rows = {row.ref.name: i for i, row in enumerate(analysis.matrices)}
    return [*_failed(analysis, rows), *_among_role(analysis, rows), *_against_null(analysis, rows), *_circuits(analysis),
            *_power_laws(analysis)]  # fmt: skip


def _failed(analysis: Analysis, rows: dict[str, int]) -> Iterator[Finding]:
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for failure in summary.failures(analysis):
        groups.setdefault((failure.status, failure.names), []).append(failure.what)
    for (status, names), failed in groups.items():
        count = len(names)
        if failed == ["matrix"]:
            what = "hold NaN or infinite entries" if status == "non_finite" else "gave no spectrum"
            if count == 1:
                what = what.replace("hold", "holds", 1)
            text = f"{counted(count, 'matrix', 'matrices')} {what} (status {status})."
        else:
            which, have = ", ".join(failed), "has" if len(failed) == 1 else "have"
            text = f"{which} {have} no value for {counted(count, 'matrix', 'matrices')} (status {status})."
        yield Finding(
            heading="Failed",
            sentences=(text + " Hatched on the map, and in no mean or median.",),
            items=tuple(Item(row=rows.get(name, -1), name=name) for name in names),
            tone="bad" if status == "non_finite" else "notable",
        )


_DIRECTIONS = (
    ("alpha_hill", "Hill alpha", "lighter tail", "heavier tail"),
    ("stable_rank", "Stable rank", "higher", "lower"),
    ("pseudo_rank", "Pseudo-rank", "higher", "lower"),
)


def _against_null(analysis: Analysis, rows: dict[str, int]) -> Iterator[Finding]:
    if not any(row.null for row in analysis.matrices):
        yield Finding(
            heading="Against random matrices",
            sentences=("No null was computed, so nothing is said against chance: see the notes and options.",),
        )
        return
    sentences = []
    for metric, title, more, less in _DIRECTIONS:
        known = [row.null[metric].z for row in analysis.matrices if metric in row.null]
        zs = [z for z in known if z is not None]
        if not zs:
            continue
        above, below = sum(z >= summary.NULL_Z for z in zs), sum(z <= -summary.NULL_Z for z in zs)
        gaps = [d for row in analysis.matrices if metric in row.null and (d := row.null[metric].difference) is not None]
        sentences.append(
            f"{title}: {above + below:,} of {len(zs):,} differ from chance (|z| at least {summary.NULL_Z:.0f}): {below:,} {less}, "
            f"{above:,} {more}; median difference {number(statistics.median(gaps) if gaps else None, '+.3g')}."
        )
    yield Finding(
        heading="Against random matrices of the same shape",
        sentences=(*sentences, "Farthest in Hill alpha, by size of the difference:"),
        items=tuple(_farthest(analysis, rows)),
    )
    random = summary.like_random(analysis)
    if random:
        yield Finding(
            heading="Like random",
            sentences=(f"{counted(len(random), 'matrix', 'matrices')} cannot be told from a random matrix of the same shape by "
                       "Hill alpha, stable rank, pseudo-rank or spikes. In a trained model that may mean untouched weights.",),
            items=tuple(Item(row=rows[name], name=name) for name in random),
            tone="notable",
        )  # fmt: skip


def _farthest(analysis: Analysis, rows: dict[str, int]) -> Iterator[Item]:
    def gap(row: MatrixRow) -> float:
        null = row.null.get("alpha_hill")
        known = null is not None and null.difference is not None and null.z is not None
        return abs(null.difference or 0.0) if null is not None and known and abs(null.z or 0) >= summary.NULL_Z else 0.0

    for row in sorted(analysis.matrices, key=gap, reverse=True)[:FARTHEST]:
        null = row.null.get("alpha_hill")
        if null is not None and gap(row) > 0:
            value = number(summary.number(row, "alpha_hill"), ".2f")
            text = f"{value}, random {number(null.mean, '.2f')} ± {number(null.sd, '.2g')} (z {number(null.z, '+.0f')})"
            yield Item(row=rows[row.ref.name], name=row.ref.name, text=text)


def _among_role(analysis: Analysis, rows: dict[str, int]) -> Iterator[Finding]:
    odd, alone = summary.odd_matrices(analysis), summary.uncompared(analysis)
    rule = (
        f"Compared with the others of its stack, role and shape (at least {summary.MIN_PEERS}) by a robust z of at least "
        f"{summary.ODD_Z:.0f} and at least {100 * summary.MIN_EFFECT:.0f}% from the median."
    )
    compared = sum(row.status == "ok" for row in analysis.matrices) - alone
    sentences = [f"{odd_words(len(odd))} of {compared:,} compared. {rule}"] if compared else []
    if alone:
        few = f"fewer than {summary.MIN_PEERS} of the same role and shape"
        sentences.append(f"{counted(alone, 'matrix was', 'matrices were')} not compared ({few}).")
    if sentences:
        yield Finding(
            heading="Odd among their role",
            sentences=tuple(sentences),
            items=tuple(Item(row=rows[o.name], name=o.name, text="; ".join(o.reasons)) for o in odd),
            tone="notable" if odd else "plain",
        )


def odd_words(count: int) -> str:
    """`None stands out`, `1 matrix stands out`, `9 matrices stand out`."""
    if not count:
        return "None stands out"
    return f"{counted(count, 'matrix', 'matrices')} {'stands' if count == 1 else 'stand'} out"


_KINDS = {"qk": "W_QK", "vp": "W_VP"}


def _circuits(analysis: Analysis) -> Iterator[Finding]:
    sentences = []
    for line in summary.circuit_lines(analysis):
        low = line.lowest
        null = line.null_pseudo_rank
        random = f" (random {null:.3f})" if math.isfinite(null) else ""
        sentences.append(
            f"{_KINDS[line.kind]}: mean pseudo-rank {number(line.means['pseudo_rank'], '.3f')} of d_head over "
            f"{counted(line.count, 'head')}{random}; lowest layer {line.lowest_layer[0]} ({line.lowest_layer[1]:.3f}), lowest "
            f"head {low.head} of {low.module} ({number(summary.number(low, 'pseudo_rank'), '.3f')})."
        )
    failed = [row for row in analysis.circuits if row.status != "ok"]
    if failed:
        states = ", ".join(dict.fromkeys(row.status for row in failed))
        modules = ", ".join(dict.fromkeys(row.module for row in failed))
        sentences.append(f"{counted(len(failed), 'circuit')} gave no numbers ({states}): {modules}.")
    if sentences:
        yield Finding(heading="Attention circuits", sentences=tuple(sentences), tone="notable" if failed else "plain")


def _power_laws(analysis: Analysis) -> Iterator[Finding]:
    sentences = [f"{line[0].upper()}{line[1:]}." for line in summary.doubts(analysis)]
    if not sentences and analysis.matrices:
        sentences.append(
            "Whether the tails are power laws at all was not tested (--uncertainty does): read alpha as a description."
        )
    short = summary.small_tails(analysis)
    if short:
        sentences.append(
            f"The goodness-of-fit tail has under 50 eigenvalues for {short:,} of {len(analysis.matrices):,}: alpha is uncertain "
            "there."
        )
    if sentences:
        yield Finding(heading="How far to believe the exponents", sentences=tuple(sentences))
