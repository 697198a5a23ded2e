"""How well a cheap ranking agreed with the full measurement: rank correlations, and what following it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from plasticity.stats_correlation import Correlation, kendall, spearman
from plasticity.stats_grid import Grid, Scores, align, contrasts, draw_means, draw_seeds, only, seeds_said, shares
from plasticity.stats_resample import DRAWS
from plasticity.stats_result import Estimate, Remarks, counted, listed


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A cheap ranking of settings against their scores.

    Attributes:
        kendall, spearman: between the cheap signal and the score, with leave-one-out ranges.
        top: what the cheap signal puts first; None without settings.
        best: settings of the greatest score (several where they tie).
        score: setting -> score in full.
        top_is_best: share of draws of the full measurement in which `top` is best; ties share the draw out. The cheap signal is
            taken as it is.
        regret: score of the best minus score of `top`, at least 0. The interval is Hsu's (1984), from simultaneous limits of every
            setting against `top`: it allows for the best having been picked as such.
        regret_at_random: the same of a setting drawn at random, to compare with.
        n: settings.
        method: of `top_is_best`.
        status, why: `ok`, or a code and sentences.
    """

    kendall: Correlation
    spearman: Correlation
    top: str | None
    best: tuple[str, ...]
    score: Mapping[str, float]
    top_is_best: float | None
    regret: Estimate
    regret_at_random: float | None
    n: int
    method: str
    status: str = "ok"
    why: str = ""


_REGRET = (
    "score lost by the top choice; 95% interval of multiple comparisons with the best (Hsu; seeds and questions random)"
)


def agreement(
    cheap: Mapping[str, float | None], scores: Mapping[str, Scores], *, draws: int = DRAWS, seed: int = 0
) -> Agreement:
    """Compare a cheap signal with the full measurement.

    Args:
        cheap: setting -> signal, greater is better (turn a loss round). None or not finite counts as missing.
        scores: setting -> task -> seed -> (Q,), greater is better, as in `optimum`.

    Raises:
        SpectraError: numbers of questions of a task differ.
    """
    full, said = align(scores), Remarks()
    signal = {name: float(v) for name, v in cheap.items() if v is not None and math.isfinite(v)}
    names = tuple(name for name in full.names if name in signal)
    lacking = [name for name in dict.fromkeys([*cheap, *full.names]) if name not in names]
    top: str | None = None
    if len(names) < 2:
        said.add("too_few_settings", f"{counted(len(names), 'setting')} with both numbers; two make a ranking.")
    else:
        full = only(full, names)
        top = max(names, key=signal.__getitem__)  # the first of those that tie
        if len(tied := [name for name in names if signal[name] == signal[top]]) > 1:
            said.add("tied", f"The cheap signal puts {listed(tied)} first alike; {top}, given first, is taken.")
        if few := seeds_said(full):
            said.add("one_seed" if len(full.seeds) == 1 else "few_seeds", few)
    for sentence in full.left_out:
        said.add("left_out", sentence)
    if lacking:
        said.add("left_out", f"Left out, without both numbers: {listed(lacking)}.")
    score = {} if top is None else dict(zip(names, full.means.tolist(), strict=True))
    known = {name: signal[name] for name in score}
    return Agreement(
        kendall=kendall(known, score),
        spearman=spearman(known, score),
        top=top,
        best=_best(full) if score else (),
        score=score,
        top_is_best=None if top is None else _top_is_best(full, names.index(top), draws, seed),
        regret=_regret(None if top is None else full, names.index(top) if top else 0, seed, said),
        regret_at_random=max(score.values()) - sum(score.values()) / len(score) if score else None,
        n=len(names),
        method=f"bootstrap over {counted(len(full.seeds), 'seed')}, then over questions; {draws} draws",
        status=said.status,
        why=said.why,
    )


def _best(full: Grid) -> tuple[str, ...]:
    among = shares(full.means[None, :])[1][0]
    return tuple(name for name, is_best in zip(full.names, among, strict=True) if is_best)


def _top_is_best(full: Grid, top: int, draws: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    return float(shares(draw_means(full, rng, draw_seeds(rng, len(full.seeds), draws)))[0][top])


def _regret(full: Grid | None, top: int, seed: int, said: Remarks) -> Estimate:
    if full is None:
        return Estimate(value=None, ci95=None, n=0, method=_REGRET, status=said.status, why=said.why)
    found = contrasts(full, top, seed=seed)
    value, n = max(0.0, float(found.difference.max())), full.n_questions
    if found.low is None or found.high is None:
        why = "Neither seeds nor questions vary between the settings: there is no interval."
        return Estimate(value=value, ci95=None, n=n, method=_REGRET, status="constant", why=why)
    ci95 = (max(0.0, float(found.low.max())), max(0.0, float(found.high.max())))
    return Estimate(value=value, ci95=ci95, n=n, method=_REGRET)
