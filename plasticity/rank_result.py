"""What `plasticity rank` ends with: signals with the ranking each gives, a combined one with its certainty, agreement. One JSON.

Legend: n candidates, B draws. Rank 1 is best; what a signal does not tell apart ties (`rank_ties`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plasticity import rank_ties
from plasticity.rank_words import lacking, told_nothing
from plasticity.result_file import ResultFile
from plasticity.scores import mean_score
from plasticity.stats_grid import shares
from plasticity.stats_ranking import Agreement
from plasticity.stats_resample import DRAWS, counts
from plasticity.stats_result import Floats, Interval
from spectra.errors import SpectraError

NAME = "rank.json"
FILE = ResultFile(name=NAME, format="plasticity.rank", version=1, command="plasticity rank", remake="Rank again")
SHORT = "short_finetune"
SETTLED = 0.95
# Signal -> what it is, and the sign of what is better: the plasticity paper's (sections 5.1 to 5.3), of loss the usual one, of
# alpha's spread AlphaDecay's.
SIGNALS: Mapping[str, tuple[str, int]] = {
    "probe": ("accuracy of linear probes, best layer", 1),
    "pseudo_rank_qk": ("mean pseudo-rank of W_QK", -1),
    "alpha_sd": ("spread of alpha over matrices", -1),
    "gap": ("train-val gap, nats a token", -1),
    "loss": ("loss on the run's validation windows, nats a token", -1),
    SHORT: ("greedy score after a short fine-tuning", 1),
}


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One cheap signal.

    Attributes:
        better: `higher` or `lower`.
        values, ranks: candidate -> number, rank; None where it is not known.
        why: candidate -> why it is not known.
        used: whether the combined ranking has it: where all candidates do, and they can be compared.
        remark: why it is not used; else empty.
        tied: pairs of candidates that are not shown to differ, though their numbers may.
        ties: how that is decided, in words.
    """

    name: str
    title: str
    better: str
    values: Mapping[str, float | None]
    ranks: Mapping[str, float | None]
    why: Mapping[str, str]
    used: bool
    remark: str = ""
    tied: tuple[tuple[str, str], ...] = ()
    ties: str = ""

    @property
    def exact(self) -> bool:
        """Whether it is without uncertainty, so that any difference counts."""
        return self.name in rank_ties.EXACT

    @property
    def tells(self) -> bool:
        """Whether it tells any two candidates apart."""
        return len({rank for rank in self.ranks.values() if rank is not None}) > 1


@dataclass(frozen=True, kw_only=True)
class Short:
    """The short fine-tuning: score with its interval over questions.

    `first`: share of draws of questions in which each candidate's score is the greatest; None where no two are told apart.
    """

    score: str
    values: Mapping[str, float]
    ci95: Mapping[str, Interval | None]
    first: Mapping[str, float] | None
    steps: Mapping[str, int]
    n_questions: int


@dataclass(frozen=True, kw_only=True)
class Combined:
    """Mean rank over the used signals.

    Attributes:
        order: candidates, best first.
        mean_rank: of each.
        signals: names of those used; told: of those among them that tell any two candidates apart.
        first: share of draws of questions in which each candidate is first; ties share the draw out, and candidates that the short
            fine-tuning does not tell apart tie in it in every draw. None where it tells no two apart, or there is none: the
            other signals are taken as they are, and nothing is drawn.
        settled: whether one candidate is first in at least 95% of draws, and by the short fine-tuning alone too, by which it is
            shown to be better than every other: signals that are taken as they are could else settle it by differences of no
            meaning.
    """

    order: tuple[str, ...]
    mean_rank: Mapping[str, float]
    signals: tuple[str, ...]
    first: Mapping[str, float] | None
    settled: bool
    method: str
    told: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RankResult:
    """A ranking of candidates for a task.

    `agreement`: signal -> how well its ranking agreed with an experiment in full; `experience`: what that says of the combined one.
    """

    task: str
    candidates: Mapping[str, Mapping[str, Any]]
    signals: tuple[Signal, ...]
    short: Short | None
    combined: Combined
    agreement: Mapping[str, Agreement] = field(default_factory=dict)
    experiment: str | None = None
    experience: str = ""
    remarks: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def signal(
    name: str,
    values: Mapping[str, float | None],
    *,
    why: Mapping[str, str] | None = None,
    doubt: str = "",
    sign: int = 0,
    apart: rank_ties.Apart | None = None,
) -> Signal:
    """A signal with the ranking it gives.

    Args:
        doubt: why its numbers cannot be compared between the candidates.
        sign: 1 where higher is better, -1 where lower; 0: as `SIGNALS` has it.
        apart: whether two candidates are shown to differ; None: any difference counts.
    """
    title, usual = SIGNALS[name]
    sign = sign or usual
    known = {label: value for label, value in values.items() if value is not None and math.isfinite(value)}
    labels = list(known)
    tied = rank_ties.pairs(labels, apart)
    numbers = np.array([list(known.values())])
    placed = rank_ties.ranks(numbers, sign, rank_ties.matrix(labels, tied))[0].tolist() if known else []
    ranked = dict(zip(known, placed, strict=True))
    shown = {label: known.get(label) for label in values}
    remark = doubt or lacking(shown, why or {})
    return Signal(
        name=name, title=title, better="higher" if sign > 0 else "lower", values=shown,
        ranks={label: ranked.get(label) for label in values}, why=dict(why or {}), used=not remark, remark=remark, tied=tied,
        ties=rank_ties.HOW[name],
    )  # fmt: skip


def draw(gains: Mapping[str, Floats], *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """(B, n): mean of each candidate's (Q,) values over questions drawn with replacement, the same for all candidates."""
    table = np.stack(list(gains.values()), 1)  # (Q, n)
    blocks = counts(np.random.default_rng(seed), len(table), draws)
    return np.concatenate([block @ table / len(table) for block in blocks])


def shorten(
    score: str, gains: Mapping[str, Floats], sign: int, steps: Mapping[str, int], drawn: Floats, *, tells: bool = True
) -> Short:
    """The short fine-tuning by candidate.

    Args:
        gains: (Q,) each, greater is better.
        drawn: of `draw`.
        tells: whether any two candidates are told apart.
    """
    scored = {label: mean_score((sign * v).tolist(), share=sign > 0) for label, v in gains.items()}
    return Short(
        score=score, values={label: sign * float(v.mean()) for label, v in gains.items()},
        ci95={label: one.ci95 for label, one in scored.items()},
        first=dict(zip(gains, shares(drawn)[0].tolist(), strict=True)) if tells else None, steps=dict(steps),
        n_questions=len(next(iter(gains.values()))),
    )  # fmt: skip


def combine(signals: Sequence[Signal], drawn: Floats | None) -> Combined:
    """Mean rank over the signals that all candidates have, all weighing the same.

    Args:
        drawn: (B, n) gains of the short fine-tuning under resampled questions, candidates in the order of the signals' values.

    Raises:
        SpectraError: no signal is known of all candidates.
    """
    used = [one for one in signals if one.used]
    if not used:
        said = "; ".join(f"{one.name}: {one.remark}" for one in signals)
        raise SpectraError(
            f"No signal can be compared between all candidates ({said}). Give --budget for a short fine-tuning."
        )
    labels = list(used[0].values)
    table = np.array([[one.ranks[label] for label in labels] for one in used], dtype=np.float64)  # (signals, n)
    mean = table.mean(axis=0)
    first, settled = None, False
    method = "mean rank over the signals; nothing in it is drawn, so there is no certainty to give"
    short = next((one for one in used if one.name == SHORT), None)
    if drawn is not None and short is not None and not short.tells:
        known = {label: value for label, value in short.values.items() if value is not None}
        method = f"mean rank over the signals; {told_nothing(known)}, so there is no certainty to give"
    elif drawn is not None and short is not None:
        first, settled = _certainty(table, used.index(short), drawn, short, labels)
        method = (
            f"mean rank over the signals; {len(drawn)} draws of the short fine-tuning's questions, the other signals as they are: "
            "what another seed of fine-tuning or pretraining would change is not in it"
        )
    return Combined(
        order=tuple(sorted(labels, key=lambda label: (mean[labels.index(label)], labels.index(label)))),
        mean_rank=dict(zip(labels, mean.tolist(), strict=True)), signals=tuple(one.name for one in used), first=first,
        settled=settled, method=method, told=tuple(one.name for one in used if one.tells),
    )  # fmt: skip


def _certainty(
    table: Floats, at: int, drawn: Floats, short: Signal, labels: list[str]
) -> tuple[dict[str, float], bool]:
    """Share of draws in which each candidate is first by mean rank; and whether one is settled on.

    Args:
        table: (signals, n) ranks; `at`: which of them is the short fine-tuning's.
    """
    tied = rank_ties.matrix(labels, short.tied)
    rest = np.delete(table, at, axis=0).sum(axis=0)
    total = (rest + rank_ties.ranks(drawn, 1, tied)) / len(table)
    together, alone = shares(-total)[0], shares(drawn)[0]
    sure = (np.minimum(together, alone) >= SETTLED) & ~tied.any(axis=1)
    return dict(zip(labels, together.tolist(), strict=True)), bool(sure.any())


def write(result: RankResult, path: Path) -> None:
    """Write it whole; raises `SpectraError` where it cannot be written."""
    FILE.write(result, path)
