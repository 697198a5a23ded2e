"""What an experiment says of the plasticity paper's findings, in sentences: holds, does not hold, not settled, not measured.

A finding is settled only by an interval over at least two seeds of pretraining that leaves out zero. Paper: arXiv 2602.11137,
sections 4, 5. The paper's claims are about weight decay: of another axis the same is asked, but nothing is claimed of the paper:
the answers are yes and no, and rises and falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from plasticity import stats
from plasticity.experiment_claim import HOLDS, NO, NOT, ONE_SEED, OPEN, UNKNOWN, YES, Finding, unknown
from plasticity.experiment_families import Family, Scores
from plasticity.experiment_places import POLICY, is_number
from plasticity.experiment_statistics import LOSS, reference, why_not_by_loss
from plasticity.experiment_trends import trends
from plasticity.stats_grid import Contrasts, Grid, align, contrasts
from plasticity.stats_result import counted, listed

_WORDS = {"decay.base": "weight decay", "train.lr": "learning rate"}
_PAPER = "decay.base"
_UNSETTLED_LOSS = "which has the smallest loss is itself not settled"


@dataclass(frozen=True, kw_only=True)
class _Against:
    """Every place against the one of the smallest loss, with limits that hold for all at once.

    Attributes:
        unscored: places without scores that all others have, or whose base is not done.
    """

    grid: Grid
    control: str
    by: str
    found: Contrasts
    unscored: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.grid.names

    @property
    def n_seeds(self) -> int:
        return len(self.grid.seeds)

    def limits(self, name: str) -> tuple[float, float] | None:
        """None where nothing varies, or with one seed."""
        return self._of(self.found, name)

    def beats(self, name: str, other: str) -> bool:
        """Whether its score is shown to be greater, among comparisons of all places with `other`."""
        limits = self._of(contrasts(self.grid, self.names.index(other)), name)
        return limits is not None and limits[0] > 0

    def _of(self, found: Contrasts, name: str) -> tuple[float, float] | None:
        at = self.names.index(name)
        if self.n_seeds < 2 or found.low is None or found.high is None or found.low[at] == found.high[at]:
            return None
        return float(found.low[at]), float(found.high[at])

    def difference(self, name: str) -> float:
        return float(self.found.difference[self.names.index(name)])


def findings(family: Family, scores: Sequence[Scores], axis: str, warning: str | None) -> list[Finding]:
    """The paper's five, of one family. `warning`: why losses and gaps of the family cannot be compared; None: they can."""
    chosen, of_paper = _main(scores), axis == _PAPER and _is_uniform(family)
    axis = _WORDS.get(axis, axis)
    others = [one for one in scores if chosen is not None and one.setting == chosen.setting and one is not chosen]
    made = [_plasticity(family, chosen, axis, others), _loss(family, chosen, axis)]
    made += trends(family, axis, of_paper=of_paper)
    if not of_paper:
        named = {HOLDS: YES, NOT: NO}
        made = [replace(one, of_paper=False, status=named.get(one.status, one.status)) for one in made]
    return [_doubted(one, warning) if warning and one.claim in {"plasticity", "loss", "gap"} else one for one in made]


def _is_uniform(family: Family) -> bool:
    """Whether what decays its bases is one decay for all modules, as in the paper, as far as the experiment says."""
    return {place.axes.get(POLICY) for place in family.places if place.x} <= {None, "uniform", "none"}


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
    unscored = tuple(place.name for place in (*family.places, *family.absent) if place.name not in grid.names)
    found = contrasts(grid, grid.names.index(control))
    return _Against(grid=grid, control=control, by=by, found=found, unscored=unscored)


def _enough(family: Family, against: _Against) -> bool:
    """Whether there are seeds of pretraining to tell what pretraining does."""
    return family.by_base and against.n_seeds > 1


def _lacking(family: Family, one: Scores | None, need: str) -> str:
    """What it takes to compare."""
    if one is not None and len(one.values) > 1 and not one.seeds():
        return f"no seed of {family.seeds_of} is there for all bases that are compared"
    return need


def _larger_loss(family: Family, names: Sequence[str], control: str) -> dict[str, stats.SeedDifference]:
    """Name -> its loss minus that of the control, over the seeds of pretraining that both have."""
    loss = family.of(LOSS)
    return {name: stats.paired_seeds({**loss[name]}, {**loss[control]}) for name in names if name in loss}


def _is_larger(found: stats.SeedDifference) -> bool:
    return found.ci95 is not None and found.ci95[0] > 0


def _plasticity(family: Family, one: Scores | None, axis: str, others: Sequence[Scores]) -> Finding:
    question = (
        f"Does a base with a larger {axis} than the one of the smallest validation loss score better once fine-tuned?"
    )
    against = _against(family, one) if one is not None else None
    if one is None or against is None:
        need = _lacking(family, one, f"it takes fine-tuned bases of at least two values of {axis}")
        return unknown("plasticity", family.label, question, need)
    at = family.x(against.control)
    if not is_number(at):
        return unknown("plasticity", family.label, question, f"its bases have no number for {axis}")
    larger = [name for name in against.names if is_number(family.x(name)) and family.x(name) > at]
    unknown_larger = [name for name in against.unscored if not is_number(family.x(name)) or family.x(name) > at]
    told = _told(family, one, against)
    why = why_not_by_loss(family, against.by)
    which = f"the smallest value ({why})" if why else "the smallest validation loss"
    if not larger:
        tried = "scored" if unknown_larger else "tried"
        answer = f"{axis} {at} has {which}, and no larger value was {tried}: it cannot be said."
        return Finding(
            claim="plasticity", group=family.label, question=question, answer=answer, status=OPEN, evidence=told
        )
    best = max(larger, key=against.difference)
    told += [f"{other.task}: {text}" for other in others if (text := _by_itself(family, other, best, against.control))]
    pair = f"{axis} {{}} against {at}, which has {which}"
    status, answer = _judged(family, one, against, larger, pair, best, unknown_larger, ordered=True)
    if status == HOLDS:
        answer = f"Yes: {answer}"
    elif status == NOT:
        answer = f"No: every larger value scores worse; the best of them: {answer}"
    if against.by != "loss":
        status, answer = OPEN, f"{answer.removeprefix('Yes: ').removeprefix('No: ')} {_without_loss(family)}"
    return Finding(
        claim="plasticity", group=family.label, question=question, answer=answer, status=status, evidence=told
    )


def _without_loss(family: Family) -> str:
    known = "Without the losses it" if family.comparable else "With different tokenizers it"
    return f"{known} is not known which base has the smallest."


def _judged(  # noqa: PLR0913 -- what the two findings on scores differ in
    family: Family,
    one: Scores,
    against: _Against,
    names: Sequence[str],
    pair: str,
    best: str,
    unscored: Sequence[str],
    *,
    ordered: bool = False,
) -> tuple[str, str]:
    """Status and sentence on whether one of these is better than the control, or all are worse; `pair`: with a gap for its name.

    Which base comes first by loss is itself measured: one that is better must be so than every base that may have the smallest
    (and lie above it on the axis, if `ordered`), and have a larger loss than the control. `unscored`: of the kind of `names`, but
    without scores: it cannot be said that all are worse.
    """
    said = f"{pair.format(family.told(best))}: {_gain(family, one, against, best)}"
    if not _enough(family, against):
        return OPEN, f"{said}; {ONE_SEED}."
    by_loss = _larger_loss(family, against.names, against.control) if against.by == "loss" else {}
    open_by_loss = [name for name, found in by_loss.items() if name != against.control and not _is_larger(found)]
    limits = {name: against.limits(name) for name in names}
    lows = {name: found[0] for name, found in limits.items() if found is not None and found[0] > 0}
    sure = {
        name: low
        for name, low in lows.items()
        if name not in open_by_loss
        and all(
            against.beats(name, other) and (not ordered or _is_above(family, name, other)) for other in open_by_loss
        )
    }
    hidden = _maybe_smallest(family, against) if against.by == "loss" else []
    if sure and not hidden:
        clear = max(sure, key=sure.__getitem__)
        also = f"; so also against {listed([family.told(other) for other in open_by_loss])}" if open_by_loss else ""
        return HOLDS, f"{pair.format(family.told(clear))}: {_gain(family, one, against, clear)}{also}."
    worse = all(found is not None and found[1] < 0 for found in limits.values())
    lacking = hidden or (list(unscored) if worse else [])
    if worse and not open_by_loss and not lacking:
        return NOT, f"{said}."
    if not (worse or lows):
        return OPEN, f"{said}. The interval does not decide it."
    shown = max(lows, key=lows.__getitem__) if lows else best
    text = f"{pair.format(family.told(shown))}: {_gain(family, one, against, shown)}; but "
    if lacking:
        return OPEN, f"{text}{listed([family.told(name) for name in lacking])} was not scored, and may change that."
    doubt = shown if shown in open_by_loss else open_by_loss[0]
    return OPEN, f"{text}{_UNSETTLED_LOSS} ({_by_how_much(family, against, doubt, by_loss[doubt])})."


def _is_above(family: Family, name: str, other: str) -> bool:
    x, below = family.x(name), family.x(other)
    return is_number(x) and is_number(below) and x > below


def _maybe_smallest(family: Family, against: _Against) -> list[str]:
    """Places without scores that are not shown to have a larger loss than the control: one may be the true one."""
    by_loss = _larger_loss(family, against.unscored, against.control)
    return [name for name in against.unscored if name not in by_loss or not _is_larger(by_loss[name])]


def _by_how_much(family: Family, against: _Against, name: str, found: stats.SeedDifference) -> str:
    """The difference of two losses in words."""
    text = f"loss of {family.told(name)} minus that of {family.told(against.control)}: {found.value or 0.0:+.4f}"
    if found.ci95 is None:
        return f"{text}, no interval over {counted(found.n, 'seed')}"
    return f"{text}, 95% interval {found.ci95[0]:+.4f} to {found.ci95[1]:+.4f}, {counted(found.n, 'seed')}"


def _loss(family: Family, one: Scores | None, axis: str) -> Finding:
    question = (
        f"Is the {axis} of the smallest validation loss a wrong choice for fine-tuning (loss does not predict scores)?"
    )
    against = _against(family, one) if one is not None else None
    if one is not None and against is not None and not family.comparable:
        answer = "Losses of bases with different tokenizers cannot be compared."
        return Finding(claim="loss", group=family.label, question=question, answer=answer, status=OPEN)
    if one is None or against is None or against.by != "loss":
        need = _lacking(family, one, "it takes losses and scores of at least two bases")
        return unknown("loss", family.label, question, need)
    others = [name for name in against.names if name != against.control]
    best = max(others, key=against.difference)
    at = family.told(against.control)
    pair = f"{axis} {{}} against {at}, which has the smallest loss"
    status, answer = _judged(family, one, against, others, pair, best, against.unscored)
    if status == HOLDS:
        answer = f"Yes: a larger loss and a better score: {answer}"
    elif status == NOT:
        answer = f"No: the smallest loss also scores best; next to it: {answer}"
    by_loss = [
        _sentence(_by_how_much(family, against, name, found))
        for name, found in _larger_loss(family, others, against.control).items()
    ]
    return Finding(
        claim="loss", group=family.label, question=question, answer=answer, status=status,
        evidence=[*_told(family, one, against), *by_loss, _correlation(family, one)],
    )  # fmt: skip


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _correlation(family: Family, one: Scores) -> str:
    names = [name for name in one.values if name in family.of(LOSS)]
    seeds = [seed for seed in one.seeds(names) if seed in family.shared_seeds(LOSS, names)] if family.by_base else []
    found = stats.pearson({**family.means(LOSS, names, seeds)}, {**one.means(names, seeds)})
    if found.value is None:
        return f"No correlation of loss with score can be given. {found.why}"
    loo = f", {found.loo_range[0]:+.2f} to {found.loo_range[1]:+.2f} with one left out" if found.loo_range else ""
    return (
        f"Pearson r of loss with score {found.value:+.2f}{loo} ({counted(found.n, 'point')}; no interval with so few)."
    )


def _told(family: Family, one: Scores, against: _Against) -> list[str]:
    """Loss and score of every place, over the seeds that all have, and what was left out for that."""
    loss, means = family.means(LOSS, against.names), one.means(against.names)
    made = []
    for name in against.names:
        known = f"loss {loss[name]:.4f}, " if name in loss else ""
        made.append(f"{family.told(name)}: {known}{one.task} {one.score} {_amount(one, means[name])}")
    tasks = next(iter(one.values.values()))
    questions = sum(len(next(iter(seeds.values()))) for seeds in tasks.values())
    how = "of one seed there is no interval here; the table of comparisons has one over questions alone"
    if against.n_seeds > 1:
        how = f"intervals hold for all comparisons with {family.told(against.control)} at once (Dunnett), for this question alone"
    made.append(f"{counted(against.n_seeds, 'seed')} of {family.seeds_of}, {counted(questions, 'question')}; {how}.")
    if against.unscored:
        made.append(f"Without scores: {listed([family.told(name) for name in against.unscored])}.")
    if one.task == "mean":
        made.append(f"The mean is over {listed(one.tasks)}.")
    return [*made, *against.grid.left_out, *one.remarks]


def _gain(family: Family, one: Scores, against: _Against, name: str) -> str:
    limits, value = against.limits(name), against.difference(name)
    scale, unit = (1.0, "less harmful") if one.sign < 0 else (100.0, "points")
    text = f"{scale * value:+.2f} {unit} on {one.task} {one.score}"
    if limits is None:
        return text
    over = f"{counted(against.n_seeds, 'seed')} of {family.seeds_of}"
    return f"{text} (95% interval {scale * limits[0]:+.2f} to {scale * limits[1]:+.2f}, {over})"


def _by_itself(family: Family, one: Scores, first: str, second: str) -> str:
    """The same two on another task, without an interval (`comparisons` has it); empty where one is missing."""
    if first not in one.values or second not in one.values:
        return ""
    means = one.means([first, second])
    return (
        f"{_amount(one, means[first])} at {family.told(first)}, {_amount(one, means[second])} at {family.told(second)}"
    )


def _amount(one: Scores, value: float) -> str:
    return f"{value:.3f}" if one.sign < 0 else f"{100 * value:.1f}%"


def _doubted(one: Finding, warning: str) -> Finding:
    status = one.status if one.status == UNKNOWN else OPEN
    return replace(one, answer=f"{one.answer} But: {warning}", status=status)
