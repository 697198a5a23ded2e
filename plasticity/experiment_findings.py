"""What an experiment says of the plasticity paper's findings, in sentences: holds, does not hold, not settled, not measured.

A finding is settled only by an interval over at least two seeds that leaves out zero. Paper: arXiv 2602.11137, sections 4, 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plasticity import stats
from plasticity.experiment_families import Family, Scores
from plasticity.experiment_statistics import LOSS, reference
from plasticity.stats_grid import Contrasts, align, contrasts
from plasticity.stats_result import counted

HOLDS, NOT, OPEN, UNKNOWN = "holds", "does not hold", "not settled", "not measured"
_WORDS = {"decay.base": "weight decay", "train.lr": "learning rate"}
_ONE_SEED = "one seed: what another seed would change is not known"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim of the paper, put as a question, and what this experiment answers, in one sentence with its certainty."""

    claim: str
    group: str
    question: str
    answer: str
    status: str
    evidence: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Against:
    """Every place against the one of the smallest loss, with limits that hold for all at once."""

    names: tuple[str, ...]
    control: str
    by: str
    n_seeds: int
    found: Contrasts

    def limits(self, name: str) -> tuple[float, float] | None:
        """None where nothing varies, or with one seed."""
        at = self.names.index(name)
        if (
            self.n_seeds < 2
            or self.found.low is None
            or self.found.high is None
            or self.found.low[at] == self.found.high[at]
        ):
            return None
        return float(self.found.low[at]), float(self.found.high[at])

    def difference(self, name: str) -> float:
        return float(self.found.difference[self.names.index(name)])


def findings(family: Family, scores: Sequence[Scores], axis: str, warning: str | None) -> list[Finding]:
    """The paper's five, of one family. `warning`: why losses and gaps of the family cannot be compared; None: they can."""
    chosen, axis = _main(scores), _WORDS.get(axis, axis)
    others = [one for one in scores if chosen is not None and one.setting == chosen.setting and one is not chosen]
    made = [_plasticity(family, chosen, axis, others), _loss(family, chosen, axis)]
    made += [_trend(family, axis, *claim) for claim in _trends(family)]
    return [_doubted(one, warning) if warning and one.claim in {"plasticity", "loss", "gap"} else one for one in made]


def _main(scores: Sequence[Scores]) -> Scores | None:
    """What findings on scores are made of: pooled over settings where there are several, over tasks where there are several."""
    first = [one for one in scores if one.setting == scores[0].setting]
    whole = [one for one in first if one.task == "mean"]
    return next(iter(whole or first), None)


def _against(family: Family, one: Scores) -> _Against | None:
    grid = align(one.as_gain)
    if len(grid.names) < 2:
        return None
    control, by = reference(family, grid.names)
    return _Against(
        names=grid.names, control=control, by=by, n_seeds=len(grid.seeds), found=contrasts(grid, grid.names.index(control))
    )  # fmt: skip


def _plasticity(family: Family, one: Scores | None, axis: str, others: Sequence[Scores]) -> Finding:
    question = (
        f"Does a base with a larger {axis} than the one of the smallest validation loss score better once fine-tuned?"
    )
    against = _against(family, one) if one is not None else None
    if one is None or against is None:
        return _unknown("plasticity", family, question, f"it takes fine-tuned bases of at least two values of {axis}")
    at = family.x(against.control)
    if not _number(at):
        return _unknown("plasticity", family, question, f"its bases have no number for {axis}")
    larger = [name for name in against.names if _number(family.x(name)) and family.x(name) > at]
    told = _told(family, one, against)
    which = "the smallest validation loss" if against.by == "loss" else "the smallest value (not all losses are known)"
    if not larger:
        answer = f"{axis} {at} has {which}, and no larger value was tried: it cannot be said."
        return Finding(
            claim="plasticity", group=family.label, question=question, answer=answer, status=OPEN, evidence=told
        )
    best = max(larger, key=against.difference)
    told += [f"{other.task}: {text}" for other in others if (text := _by_itself(family, other, best, against.control))]
    said = f"{axis} {family.told(best)} against {at}, which has {which}: {_gain(one, against, best)}"
    limits = [against.limits(name) for name in larger]
    if against.n_seeds < 2:
        status, answer = OPEN, f"{said}; {_ONE_SEED}."
    elif (of_best := _clear(against, larger)) is not None:
        status, answer = (
            HOLDS,
            f"Yes: {axis} {family.told(of_best)} against {at}, which has {which}: {_gain(one, against, of_best)}.",
        )
    elif all(found is not None and found[1] < 0 for found in limits):
        status, answer = NOT, f"No: every larger value scores worse; the best of them: {said}."
    else:
        status, answer = OPEN, f"The best of the larger values: {said}. The interval does not decide it."
    if against.by != "loss":
        status = OPEN if status != UNKNOWN else status
        answer = (
            answer.removeprefix("Yes: ").removeprefix("No: ")
            + " Without the losses it is not known which base has the smallest."
        )
    return Finding(
        claim="plasticity", group=family.label, question=question, answer=answer, status=status, evidence=told
    )


def _clear(against: _Against, names: Sequence[str]) -> str | None:
    """The place that is surest to be better than the reference."""
    lows = {name: limits[0] for name in names if (limits := against.limits(name)) is not None and limits[0] > 0}
    return max(lows, key=lows.__getitem__) if lows else None


def _loss(family: Family, one: Scores | None, axis: str) -> Finding:
    question = (
        f"Is the {axis} of the smallest validation loss a wrong choice for fine-tuning (loss does not predict scores)?"
    )
    against = _against(family, one) if one is not None else None
    if one is None or against is None or against.by != "loss":
        return _unknown("loss", family, question, "it takes losses and scores of at least two bases")
    others = [name for name in against.names if name != against.control]
    best = max(others, key=against.difference)
    pair = f"{axis} {family.told(best)} against {family.told(against.control)}"
    said = f"{pair}, which has the smallest loss: {_gain(one, against, best)}"
    limits = [against.limits(name) for name in others]
    if against.n_seeds < 2:
        status, answer = OPEN, f"{said}; {_ONE_SEED}."
    elif (clear := _clear(against, others)) is not None:
        status = HOLDS
        answer = (
            f"Yes: {axis} {family.told(clear)} has a larger loss than {family.told(against.control)} and scores better: "
            f"{_gain(one, against, clear)}."
        )
    elif all(found is not None and found[1] < 0 for found in limits):
        status, answer = NOT, f"No: the smallest loss also scores best; next to it: {said}."
    else:
        status, answer = OPEN, f"The best other choice: {said}. The interval does not decide it."
    return Finding(
        claim="loss", group=family.label, question=question, answer=answer, status=status,
        evidence=[*_told(family, one, against), _correlation(family, one)],
    )  # fmt: skip


def _correlation(family: Family, one: Scores) -> str:
    loss = {name: float(np.mean(list(seeds.values()))) for name, seeds in family.of(LOSS).items()}
    found = stats.pearson({**loss}, {**one.means()})
    if found.value is None:
        return f"No correlation of loss with score can be given. {found.why}"
    loo = f", {found.loo_range[0]:+.2f} to {found.loo_range[1]:+.2f} with one left out" if found.loo_range else ""
    return (
        f"Pearson r of loss with score {found.value:+.2f}{loo} ({counted(found.n, 'point')}; no interval with so few)."
    )


def _told(family: Family, one: Scores, against: _Against) -> list[str]:
    """Loss and score of every place."""
    loss, means = family.of(LOSS), one.means()
    made = []
    for name in against.names:
        known = f"loss {np.mean(list(loss[name].values())):.4f}, " if name in loss else ""
        made.append(f"{family.told(name)}: {known}{one.task} {one.score} {_amount(one, means[name])}")
    tasks = next(iter(one.values.values()))
    questions = sum(len(next(iter(seeds.values()))) for seeds in tasks.values())
    made.append(
        f"{counted(against.n_seeds, 'seed')}, {counted(questions, 'question')}; intervals hold for all comparisons with "
        f"{family.told(against.control)} at once (Dunnett), for this question alone."
    )
    return made


def _gain(one: Scores, against: _Against, name: str) -> str:
    limits, value = against.limits(name), against.difference(name)
    scale, unit = (1.0, "less harmful") if one.sign < 0 else (100.0, "points")
    text = f"{scale * value:+.2f} {unit} on {one.task} {one.score}"
    if limits is None:
        return text
    return f"{text} (95% interval {scale * limits[0]:+.2f} to {scale * limits[1]:+.2f}, {counted(against.n_seeds, 'seed')})"


def _by_itself(family: Family, one: Scores, first: str, second: str) -> str:
    """The same two on another task, without an interval (`comparisons` has it); empty where one is missing."""
    means = one.means()
    if first not in means or second not in means:
        return ""
    return (
        f"{_amount(one, means[first])} at {family.told(first)}, {_amount(one, means[second])} at {family.told(second)}"
    )


def _amount(one: Scores, value: float) -> str:
    return f"{value:.3f}" if one.sign < 0 else f"{100 * value:.1f}%"


def _trends(family: Family) -> list[tuple[str, str, str, int]]:
    """Claim, quantity, what it is called, direction that the paper claims."""
    probes = [name for name in family.quantities if name.startswith("probe")]
    probe = "probe mean" if "probe mean" in probes else next(iter(probes), "probe")
    return [
        ("probes", probe, "accuracy of linear probes (best layer)", 1),
        ("rank", "pseudo_rank_qk", "pseudo-rank of W_QK (share of full rank, final checkpoint)", -1),
        ("gap", "gap", "train-val gap (nats a token)", -1),
    ]


def _trend(family: Family, axis: str, claim: str, quantity: str, called: str, direction: int) -> Finding:
    verb = "rise" if direction > 0 else "fall"
    question = f"Does the {called} {verb} with {axis}?"
    values = {name: seeds for name, seeds in family.of(quantity).items() if _number(family.x(name))}
    names = list(values)
    if len(names) < 2:
        return _unknown(
            claim, family, question, f"it takes bases of at least two values of {axis} on which it was measured"
        )
    means = {name: float(np.mean(list(values[name].values()))) for name in names}
    evidence = [f"{axis} {family.x(name)}: {means[name]:.4f} ({counted(len(values[name]), 'seed')})" for name in names]
    seeds = [seed for seed in values[names[0]] if all(seed in values[name] for name in names)]
    ends = f"{means[names[0]]:.4f} at {family.x(names[0])}, {means[names[-1]]:.4f} at {family.x(names[-1])}"
    if not seeds:
        answer = f"{ends}; no seed has all values of {axis}: there is no interval."
        return Finding(
            claim=claim, group=family.label, question=question, answer=answer, status=OPEN, evidence=evidence
        )
    slopes = {seed: _slope([values[name][seed] for name in names]) for seed in seeds}
    found = stats.paired_seeds(slopes, dict.fromkeys(seeds, 0.0))
    slope = float(found.value or 0.0)
    if found.ci95 is None:
        why = _ONE_SEED if len(seeds) == 1 else "there is no spread over seeds to measure it against"
        status, answer = OPEN, f"{ends}; {why}."
    else:
        low, high = found.ci95
        said = f"{ends}; {slope:+.4f} a step of the grid (95% interval {low:+.4f} to {high:+.4f}, {counted(len(seeds), 'seed')})"
        ahead = low > 0 if direction > 0 else high < 0
        behind = high < 0 if direction > 0 else low > 0
        status = HOLDS if ahead else NOT if behind else OPEN
        answer = f"Yes: {said}." if ahead else f"No, the reverse: {said}." if behind else f"{said}: zero is within."
    steps = np.diff([means[name] for name in names]) * direction
    evidence.append(
        f"{'Every step goes' if (steps > 0).all() else 'Not every step goes'} in the direction asked about (means over seeds). A "
        f"step is from one value of {axis} to the next; slope by least squares a seed, t-interval over seeds."
    )
    return Finding(claim=claim, group=family.label, question=question, answer=answer, status=status, evidence=evidence)


def _slope(values: Sequence[float]) -> float:
    """Least squares a step, of equally spaced steps."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def _unknown(claim: str, family: Family, question: str, why: str) -> Finding:
    answer = f"{why[0].upper()}{why[1:]}."
    return Finding(claim=claim, group=family.label, question=question, answer=answer, status=UNKNOWN)


def _doubted(one: Finding, warning: str) -> Finding:
    status = one.status if one.status == UNKNOWN else OPEN
    return Finding(
        claim=one.claim, group=one.group, question=one.question, answer=f"{one.answer} But: {warning}", status=status,
        evidence=one.evidence,
    )  # fmt: skip


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
