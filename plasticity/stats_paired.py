"""Two checkpoints: bootstrap over questions, exact McNemar, paired t over seeds, Holm over tasks.

Legend: Q questions, S seeds. Differences are `first` minus `second`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alphadecay.study_stats import holm, paired
from plasticity.stats_proportion import constant_interval, proportion_interval
from plasticity.stats_resample import DRAWS, means, percentile
from plasticity.stats_result import Estimate, Floats, Interval, Remarks, by_seed, counted, is_number, listed
from spectra.errors import SpectraError


@dataclass(frozen=True, kw_only=True)
class PairedDifference(Estimate):
    """Mean difference over `n` questions; `seeds`: how many of each were averaged."""

    seeds: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class McNemar(Estimate):
    """Exact McNemar test.

    Attributes:
        value, ci95: share of the discordant questions that only the first got right, with its exact interval, which leaves out 1/2
            where p < 0.05.
        n: questions.
        only_first, only_second: discordant questions, by who was right.
        difference: (only_first - only_second) / n; None without questions.
        p: two-sided; None without a discordant question.
    """

    only_first: int
    only_second: int
    difference: float | None
    p: float | None


@dataclass(frozen=True, kw_only=True)
class SeedDifference(Estimate):
    """Paired t over `n` seeds.

    Attributes:
        value, ci95: mean difference and its t-interval.
        t, p: two-sided, n - 1 degrees of freedom.
        effect, effect_ci95: Cohen's d_z and its interval from the noncentral t distribution.
        left_out: seeds that only one of the two has, or whose number is not finite.
    """

    t: float | None
    p: float | None
    effect: float | None
    effect_ci95: Interval | None
    left_out: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Holm:
    """Adjusted p-values by task, in the order given; None for those without one, which `left_out` names and `n` does not count."""

    adjusted: Mapping[str, float | None]
    n: int
    method: str
    left_out: tuple[str, ...]
    status: str = "ok"
    why: str = ""


def paired_bootstrap(first: ArrayLike, second: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> PairedDifference:
    """Mean difference of per-question values with its 95% percentile bootstrap interval.

    Several seeds of fine-tuning are averaged question by question, then questions are resampled: the interval is about other
    questions, not about other seeds (`paired_seeds` is). Where flags (0 or 1) never differ, or all by the same, it is exact
    instead.

    Args:
        first, second: (Q,) or (S, Q), the same questions in the same order; numbers of seeds may differ.

    Raises:
        SpectraError: numbers of questions differ; see `stats_result.by_seed`.
    """
    a, b = by_seed(first, "the first checkpoint"), by_seed(second, "the second checkpoint")
    if a.shape[1] != b.shape[1]:
        raise SpectraError(
            f"Got {a.shape[1]} and {b.shape[1]} questions, expected the same questions in the same order. "
            "Leave out those that only one has."
        )
    seeds = (len(a), len(b))
    method = "paired bootstrap over questions"
    if seeds != (1, 1):
        each = str(seeds[0]) if seeds[0] == seeds[1] else f"{seeds[0]} and {seeds[1]}"
        method += f" of means over {each} seeds (questions resampled, seeds not)"
    method += f"; 95% percentile, {draws} draws"
    value, ci95, said = None, None, Remarks()
    n = a.shape[1]
    if a.size == 0 or b.size == 0:
        said.add("no_values", "There is no question.")
    elif not (np.isfinite(a).all() and np.isfinite(b).all()):
        said.add("non_finite", "Some values are not finite numbers: no difference can be given.")
    else:
        d = a.mean(axis=0) - b.mean(axis=0)
        value = float(d.mean())
        if n == 1:
            said.add("too_few_questions", "One question has no interval.")
        elif not is_constant_difference(a, b, d):
            ci95 = percentile(means(np.random.default_rng(seed), d[:, None], draws)[:, 0])
        elif _are_flags(a) and _are_flags(b):
            ci95 = constant_interval(value, n, (-1.0, 1.0))
            method = "paired; all differences equal: exact 95% interval of what n equal differences leave possible"
        else:
            said.add("constant", f"All {n} differences are equal: the bootstrap would give an interval of no width.")
    return PairedDifference(value=value, ci95=ci95, n=n, method=method, seeds=seeds, status=said.status, why=said.why)


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Exact McNemar test of greedy flags: a two-sided binomial test on the questions that only one got right.

    Without such a question there is no test: p is None. Leaving it out of Holm is fair, since how many questions are discordant
    says nothing about who wins them.

    Args:
        first, second: (Q,) flags, the same questions in the same order. One seed: responses of several are not independent.

    Raises:
        SpectraError: not flags, more than one seed, numbers of questions differ.
    """
    a, b = by_seed(first, "the first checkpoint"), by_seed(second, "the second checkpoint")
    if a.shape != b.shape or len(a) != 1 or not (_are_flags(a) and _are_flags(b)):
        raise SpectraError(
            f"McNemar's test got arrays of shape {a.shape} and {b.shape}; expected one flag (0 or 1) a question of one seed, the "
            "same questions in the same order. Use paired_bootstrap for shares and for means over seeds."
        )
    n = a.shape[1]
    only_first, only_second = int((a > b).sum()), int((a < b).sum())
    discordant = only_first + only_second
    share = proportion_interval(only_first, discordant)
    p, said = None, Remarks()
    if n == 0:
        said.add("no_values", "There is no question.")
    elif discordant == 0:
        said.add(
            "no_discordant", f"Both are right or wrong on the same of the {n} questions: there is nothing to test."
        )
    else:
        from scipy import stats

        p = min(1.0, 2 * float(stats.binom.cdf(min(only_first, only_second), discordant, 0.5)))
    return McNemar(
        value=share.value,
        ci95=share.ci95,
        n=n,
        method="exact McNemar test (two-sided binomial on discordant questions)",
        only_first=only_first,
        only_second=only_second,
        difference=(only_first - only_second) / n if n else None,
        p=p,
        status=said.status,
        why=said.why,
    )


def paired_seeds(first: Mapping[int, float | None], second: Mapping[int, float | None]) -> SeedDifference:
    """Paired t-test over the seeds that both have; for what another seed would give.

    Args:
        first, second: seed -> score. A score that is None or not finite counts as missing.
    """
    a, b = ({s: v for s, v in side.items() if is_number(v)} for side in (first, second))
    kept = [s for s in a if s in b]
    left_out = tuple(s for s in dict.fromkeys([*first, *second]) if s not in kept)
    said, found = Remarks(), paired([a[s] for s in kept], [b[s] for s in kept]) if kept else None
    ci95 = effect_ci95 = None
    if found is None:
        said.add("no_pairs", "No seed has a number on both sides.")
    elif found.status == "too_few_pairs":
        said.add("one_seed", "One seed gives a difference, but neither an interval nor a test.")
    elif found.status == "constant":
        said.add("constant", f"The differences of all {len(kept)} seeds are equal: there is no spread to test against.")
    else:
        ci95 = _both(found.difference.low, found.difference.high)
        effect_ci95 = _both(found.effect_low, found.effect_high)
        if effect_ci95 is None:
            said.add("no_effect_interval", "The interval of the effect size is out of reach numerically.")
    if left_out:
        said.add("seeds_left_out", f"Left out, without a pair: {listed([f'seed {s}' for s in left_out])}.")
    return SeedDifference(
        value=None if found is None else found.difference.mean,
        ci95=ci95,
        n=len(kept),
        method="paired t-test over seeds; effect size d_z",
        t=None if found is None else found.t,
        p=None if found is None else found.p,
        effect=None if found is None else found.effect,
        effect_ci95=effect_ci95,
        left_out=left_out,
        status=said.status,
        why=said.why,
    )


def holm_over_tasks(p_values: Mapping[str, float | None]) -> Holm:
    """Holm's adjustment of one p-value a task: at most the level in wrong rejections among all, whatever their dependence.

    Raises:
        SpectraError: a p-value outside [0, 1]. (NaN counts as missing.)
    """
    known = {task: p if is_number(p) else None for task, p in p_values.items()}
    for task, p in known.items():
        if p is not None and not 0.0 <= p <= 1.0:
            raise SpectraError(
                f"The p-value of {task} is {p}; expected a number from 0 to 1, or None where there is none."
            )
    left_out = tuple(task for task, p in known.items() if p is None)
    said = Remarks()
    if len(left_out) == len(known):
        said.add("no_p_values", "No task has a p-value.")
    elif left_out:
        said.add("tasks_left_out", f"Left out, without a p-value: {listed(left_out)}.")
    n = len(known) - len(left_out)
    return Holm(
        adjusted=dict(zip(known, holm(list(known.values())), strict=True)),
        n=n,
        method=f"Holm over {counted(n, 'task')}",
        left_out=left_out,
        status=said.status,
        why=said.why,
    )


def is_constant_difference(a: Floats, b: Floats, d: Floats) -> bool:
    """Whether the (Q,) differences `d` of means of `a` and `b` are equal up to the rounding of what they are made of."""
    return bool(np.ptp(d) <= 16 * np.finfo(np.float64).eps * max(np.abs(a).max(), np.abs(b).max()))


def _are_flags(values: Floats) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _both(low: float | None, high: float | None) -> Interval | None:
    return None if low is None or high is None else (low, high)
