"""The best setting by validation loss beside the best by downstream score, and how sure it is that they differ (finding 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plasticity.stats_grid import Grid, Scores, align, contrasts, draw_means, draw_seeds, only, seeds_said, shares
from plasticity.stats_resample import DRAWS
from plasticity.stats_result import Estimate, Floats, Remarks, counted, listed


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """Best settings by loss and by score.

    Attributes:
        best_by_loss, best_by_score: the setting of the least loss and of the greatest score; several where they tie.
        loss, score: setting -> mean loss; mean over tasks of the score.
        wins_by_loss, wins_by_score: setting -> share of draws in which it is best; ties share the draw out.
        differ: share of draws in which no setting is best by both.
        difference: score of the best by score minus score of the best by loss (the first of each where several tie), with an
            interval that allows for the former having been picked as the best of all: it holds at once for every setting against
            the best by loss. It is not a bootstrap. None where both are the same setting.
        n: settings.
        n_seeds, n_questions: over which the scores are.
        draws, method: of the shares.
        status, why: `ok`, or a code and sentences.
    """

    best_by_loss: tuple[str, ...]
    best_by_score: tuple[str, ...]
    loss: Mapping[str, float]
    score: Mapping[str, float]
    wins_by_loss: Mapping[str, float]
    wins_by_score: Mapping[str, float]
    differ: float | None
    difference: Estimate
    n: int
    n_seeds: int
    n_questions: int
    draws: int
    method: str
    status: str = "ok"
    why: str = ""


_DIFFERENCE = (
    "paired difference; simultaneous 95% interval against the best by loss (Dunnett; seeds and questions random)"
)


def optimum(
    loss: Mapping[str, Mapping[int, ArrayLike]],
    scores: Mapping[str, Scores],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Optimum:
    """Which setting (weight decay) is best by loss, which by score, and how often each is under resampling.

    A draw takes seeds, then questions: the same seeds for all settings, since a seed is one initialisation and order of data, and
    the same questions for all settings and seeds. Where losses and scores have the same seeds, they are drawn together. Losses of
    documents are resampled as questions are. With one seed and one loss a setting, the best by loss is the same in every draw.

    Args:
        loss: setting -> seed -> mean validation loss, or the losses of documents, (D,).
        scores: setting -> task -> seed -> (Q,), greater is better. What some setting lacks is left out, and said.

    Raises:
        SpectraError: numbers of questions or of documents differ.
    """
    cheap = align(
        {name: {"loss": {s: np.atleast_1d(v) for s, v in loss[name].items()}} for name in loss if scores.get(name)}
    )
    full = align({name: tasks for name, tasks in scores.items() if loss.get(name)})
    names = tuple(name for name in full.names if name in cheap.names)
    said, left_out = Remarks(), _left_out(cheap, full, names, [*scores, *loss])
    if len(names) < 2:
        few = f"{counted(len(names), 'setting')} with both a loss and scores; two make a choice."
        said.add("too_few_settings", few)
        return _none(names, draws, said, left_out)
    cheap, full = only(cheap, names), only(full, names)
    least, score = -cheap.means, full.means
    by_loss, by_score = _best(least), _best(score)
    rng = np.random.default_rng(seed)
    weights = draw_seeds(rng, len(full.seeds), draws)
    loss_weights = weights if cheap.seeds == full.seeds else draw_seeds(rng, len(cheap.seeds), draws)
    score_shares, score_among = shares(draw_means(full, rng, weights))
    loss_shares, loss_among = shares(-draw_means(cheap, rng, loss_weights))
    if few := seeds_said(full):
        said.add("one_seed" if len(full.seeds) == 1 else "few_seeds", few)
    if cheap.tables["loss"].shape[1:] == (1, 1):
        said.add("one_loss", "One loss a setting: the best by loss is the same in every draw.")
    for what, best in (("loss", by_loss), ("score", by_score)):
        if len(best) > 1:
            said.add("tied", f"Tied as best by {what}: {listed([names[k] for k in best])}.")
    for sentence in left_out:
        said.add("left_out", sentence)
    return Optimum(
        best_by_loss=tuple(names[k] for k in by_loss),
        best_by_score=tuple(names[k] for k in by_score),
        loss=dict(zip(names, (-least).tolist(), strict=True)),
        score=dict(zip(names, score.tolist(), strict=True)),
        wins_by_loss=dict(zip(names, loss_shares.tolist(), strict=True)),
        wins_by_score=dict(zip(names, score_shares.tolist(), strict=True)),
        differ=float((~(score_among & loss_among).any(axis=1)).mean()),
        difference=_difference(full, by_score, by_loss, seed),
        n=len(names),
        n_seeds=len(full.seeds),
        n_questions=full.n_questions,
        draws=draws,
        method=_method(full, draws),
        status=said.status,
        why=said.why,
    )


def _difference(full: Grid, by_score: list[int], by_loss: list[int], seed: int) -> Estimate:
    same = [k for k in by_loss if k in by_score]
    n = full.n_questions
    if same:
        why = f"{full.names[same[0]]} is best by both."
        return Estimate(value=0.0, ci95=None, n=n, method=_DIFFERENCE, status="same", why=why)
    found, picked = contrasts(full, by_loss[0], seed=seed), by_score[0]
    value = float(found.difference[picked])
    if found.low is None or found.high is None or found.low[picked] == found.high[picked]:
        why = "Neither seeds nor questions vary in this difference: it has no interval."
        return Estimate(value=value, ci95=None, n=n, method=_DIFFERENCE, status="constant", why=why)
    ci95 = (float(found.low[picked]), float(found.high[picked]))
    return Estimate(value=value, ci95=ci95, n=n, method=_DIFFERENCE)


def _best(values: Floats) -> list[int]:
    return [int(k) for k in np.flatnonzero(shares(values[None, :])[1][0])]


def _method(grid: Grid, draws: int) -> str:
    seeds, tasks = counted(len(grid.seeds), "seed"), counted(len(grid.tables), "task")
    return f"bootstrap over {seeds}, then over questions within {tasks}, common to all settings; {draws} draws"


def _left_out(cheap: Grid, full: Grid, names: tuple[str, ...], asked: list[str]) -> list[str]:
    said = [f"By {what}: {sentence}" for what, grid in (("loss", cheap), ("score", full)) for sentence in grid.left_out]
    if lacking := [name for name in dict.fromkeys(asked) if name not in names]:
        said.append(f"Left out, without both loss and scores: {listed(lacking)}.")
    return said


def _none(names: tuple[str, ...], draws: int, said: Remarks, left_out: list[str]) -> Optimum:
    for sentence in left_out:
        said.add("left_out", sentence)
    empty = Estimate(value=None, ci95=None, n=0, method=_DIFFERENCE, status=said.status, why=said.why)
    return Optimum(
        best_by_loss=(),
        best_by_score=(),
        loss={},
        score={},
        wins_by_loss={},
        wins_by_score={},
        differ=None,
        difference=empty,
        n=len(names),
        n_seeds=0,
        n_questions=0,
        draws=draws,
        method="bootstrap over seeds, then over questions",
        status=said.status,
        why=said.why,
    )
