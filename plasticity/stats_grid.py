"""Scores of several settings on the same tasks, seeds and questions: aligned, resampled, and compared with one of them.

Legend: K settings, S seeds, Q questions of a task, T tasks, B draws. A table is (K, S, Q).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plasticity.stats_resample import counts
from plasticity.stats_result import Floats, Interval, by_seed, listed
from spectra.errors import SpectraError

Scores = Mapping[str, Mapping[int, ArrayLike]]  # task -> seed -> (Q,) values, the same questions everywhere
_MONTE_CARLO = 20_000  # draws of the multivariate t


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What all settings have.

    Attributes:
        names: settings. K of them.
        seeds: those that every setting has on every task.
        tables: task -> (K, S, Q).
        left_out: sentences on what some setting lacks.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    tables: Mapping[str, Floats]
    left_out: tuple[str, ...]

    @property
    def means(self) -> Floats:
        """(K,): mean over tasks of the mean over seeds and questions."""
        made: Floats = np.mean([table.mean(axis=(1, 2)) for table in self.tables.values()], axis=0)
        return made

    @property
    def n_questions(self) -> int:
        """Of all tasks."""
        return sum(table.shape[2] for table in self.tables.values())


@dataclass(frozen=True, kw_only=True)
class Contrasts:
    """Every setting minus one of them, with simultaneous 95% limits: (K,) each, None where nothing varies."""

    difference: Floats
    low: Floats | None
    high: Floats | None


def align(scores: Mapping[str, Scores]) -> Grid:
    """The settings, seeds and tasks that make a full table; the rest is named.

    A setting without any values is left out; then the tasks and seeds that some setting lacks. A seed whose values are not all
    finite counts as missing.

    Raises:
        SpectraError: numbers of questions of a task differ.
    """
    read = {name: _read(name, tasks) for name, tasks in scores.items()}
    names = tuple(name for name in read if read[name])
    all_tasks = list(dict.fromkeys(task for name in names for task in read[name]))
    tasks = [task for task in all_tasks if all(task in read[name] for name in names)]
    all_seeds = sorted({seed for name in names for task in tasks for seed in read[name][task]})
    seeds = tuple(s for s in all_seeds if all(s in read[name][task] for name in names for task in tasks))
    said = (
        ("settings without values", [name for name in scores if name not in names]),
        ("tasks that not all have", [task for task in all_tasks if task not in tasks]),
        ("seeds that not all have", [str(s) for s in all_seeds if s not in seeds]),
    )
    left_out = tuple(f"Left out, {what}: {listed(which)}." for what, which in said if which)
    tables = {task: _table(task, [[read[name][task][s] for s in seeds] for name in names]) for task in tasks if seeds}
    return Grid(names=names if tables else (), seeds=seeds, tables=tables, left_out=left_out)


def only(grid: Grid, names: tuple[str, ...]) -> Grid:
    """The same with these settings, in this order."""
    at = [grid.names.index(name) for name in names]
    return Grid(
        names=names, seeds=grid.seeds, tables={t: v[at] for t, v in grid.tables.items()}, left_out=grid.left_out
    )


def draw_seeds(rng: np.random.Generator, n_seeds: int, draws: int) -> Floats:
    """(B, S): weights of S - 1 seeds drawn with replacement.

    S - 1, not S: then the variance of a mean of few seeds is drawn without bias (Rao and Wu 1988).
    """
    size = max(1, n_seeds - 1)
    return np.concatenate(list(counts(rng, n_seeds, draws, size))) / size


def draw_means(grid: Grid, rng: np.random.Generator, seed_weights: Floats) -> Floats:
    """(B, K): `Grid.means` with seeds drawn (given) and, within each task, one draw of questions for all settings and seeds.

    All settings and seeds answer the same questions, so they are resampled together (Owen 2007, the pigeonhole bootstrap).
    """
    total: Floats = np.zeros((len(seed_weights), len(grid.names)))
    for table in grid.tables.values():
        k, s, q = table.shape
        flat = table.reshape(k * s, q).T
        at = 0
        for block in counts(rng, q, len(seed_weights)):
            drawn = (block @ flat / q).reshape(-1, k, s)  # counts first: sums of flags are exact, so ties stay ties
            total[at : at + len(block)] += np.einsum("bks,bs->bk", drawn, seed_weights[at : at + len(block)])
            at += len(block)
    return total / len(grid.tables)


def shares(drawn: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """(K,) share of draws in which each column of (B, K) is greatest, ties shared out; and (B, K) who is among the greatest."""
    best = drawn.max(axis=1, keepdims=True)
    among = drawn >= best - 1e-12 * np.maximum(1.0, np.abs(best))
    return (among / among.sum(axis=1, keepdims=True)).mean(axis=0), among


def contrasts(grid: Grid, control: int, *, seed: int = 0) -> Contrasts:
    """Every setting minus `control`, with limits that hold for all at once in 95% of cases (Dunnett 1955).

    So they hold for the one that was picked because it was the best. The variance of a contrast has a part from seeds, one from
    questions, less their interaction, which both contain (two-way random effects). The luck of seeds is pooled over settings, as
    three seeds of one say little; a contrast that scatters more by itself keeps its own. Each part has its own critical value, at
    its own degrees of freedom, and they are added in quadrature: Satterthwaite's one value for both misses 0 in up to 13% of cases
    with two seeds, as the part of the seeds, known from one degree of freedom, is often far too small (Graybill and Wang 1980).
    No limit is narrower than that of its two settings taken alone, at their own degrees of freedom: pooling holds only where seeds
    matter alike in all settings. With a control that scatters four times as much as the others all limits hold in 90 to 95% (5
    settings, 2 or 3 seeds, simulated), without this in 80 to 93%.
    """
    off = [table - table[control] for table in grid.tables.values()]  # (K, S, Q) each
    d: Floats = np.mean([o.mean(axis=(1, 2)) for o in off], axis=0)
    n_tasks = len(off)
    cov_questions = [_cov(o.mean(axis=1)) / (o.shape[2] * n_tasks**2) for o in off]
    cov_all = np.sum(cov_questions, axis=0)
    v_questions = np.diag(cov_all)
    pooled, v_seeds, df_seeds = _seed_variance(np.mean([o.mean(axis=2) for o in off], axis=0), control)
    interaction: Floats = np.sum([_interaction(o) / n_tasks**2 for o in off], axis=0)
    free = np.flatnonzero(np.maximum(v_seeds, v_questions) > 1e-24 * max(1.0, float(np.abs(d).max())) ** 2)
    if not len(free):
        return Contrasts(difference=d, low=None, high=None)
    cov = cov_all[np.ix_(free, free)] + pooled * (np.eye(len(free)) + 1) / 2  # contrasts share the control's luck
    own = np.maximum(v_questions - interaction, 0.0)
    of_questions = critical(cov, _degrees([np.diag(c) for c in cov_questions], off)[free], seed)
    of_seeds = critical(cov, np.full(len(free), df_seeds), seed) if df_seeds else np.zeros(len(free))
    both = np.sqrt(of_seeds**2 * v_seeds[free] + of_questions**2 * own[free])
    half = np.zeros_like(d)
    half[free] = np.maximum(both, of_questions * np.sqrt(v_questions[free]))
    if len(d) > 2:
        half = np.maximum(half, [0.0 if k == control else _half_alone(off, k, seed) for k in range(len(d))])
    return Contrasts(difference=d, low=d - half, high=d + half)


def _half_alone(off: list[Floats], k: int, seed: int) -> float:
    """Half the width of the interval of one contrast, of (K, S, Q) contrasts a task, as if there were no other setting."""
    tables = {str(at): np.stack([table[k], np.zeros_like(table[k])]) for at, table in enumerate(off)}
    grid = Grid(names=("it", "control"), seeds=tuple(range(off[0].shape[1])), tables=tables, left_out=())
    found = contrasts(grid, 1, seed=seed)
    return 0.0 if found.high is None else float(found.high[0] - found.difference[0])


def interval(differences: Mapping[str, Floats]) -> Interval | None:
    """95% interval of the mean over tasks of (S, Q) values, the same seeds in every task; None where nothing varies.

    As `contrasts` of one setting with nothing: over seeds and questions, of one seed over questions alone.
    """
    tables = {task: np.stack([values, np.zeros_like(values)]) for task, values in differences.items()}
    n_seeds = len(next(iter(differences.values())))
    found = contrasts(Grid(names=("it", "nothing"), seeds=tuple(range(n_seeds)), tables=tables, left_out=()), 1)
    return None if found.low is None or found.high is None else (float(found.low[0]), float(found.high[0]))


def _degrees(parts: list[Floats], off: list[Floats]) -> Floats:
    """(K,) of a sum of variances, one a task with as many degrees of freedom as it has questions, less one (Satterthwaite)."""
    total = np.sum(parts, axis=0)
    spread = np.sum([part**2 / max(1, o.shape[2] - 1) for part, o in zip(parts, off, strict=True)], axis=0)
    made: Floats = np.divide(total**2, spread, out=np.ones_like(total), where=spread > 0)
    return made


def _seed_variance(off: Floats, control: int) -> tuple[float, Floats, int]:
    """What seeds add to the variance of a contrast, from (K, S) contrasts with `control`.

    Returns the value pooled over settings (2 MS / S of settings by seeds in blocks), (K,) the greater of that and each contrast's
    own, 0 for the control, and the degrees of freedom of the former.
    """
    k, s = off.shape
    df = (k - 1) * (s - 1)
    rest = off - off.mean(axis=1, keepdims=True) - off.mean(axis=0) + off.mean()
    pooled = 2 * float((rest**2).sum()) / (df * s) if df else 0.0
    each: Floats = np.maximum(np.diag(_cov(off)) / s, pooled)
    each[control] = 0.0
    return pooled, each, df


def critical(cov: Floats, degrees: Floats, seed: int) -> Floats:
    """(m,): for each of m contrasts of covariance `cov` the 95% quantile of the greatest |t| of all, at its degrees of freedom."""
    from scipy import stats

    if len(cov) == 1:
        return np.array([stats.t.ppf(0.975, degrees[0])])
    scale = np.sqrt(np.diag(cov))
    values, vectors = np.linalg.eigh(cov / np.outer(scale, scale))
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((_MONTE_CARLO, len(cov))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    greatest = np.abs(normal).max(axis=1)
    chi = [np.sqrt(rng.chisquare(df, _MONTE_CARLO) / df) for df in degrees]
    return np.array([np.quantile(greatest / one, 0.95) for one in chi])


def _interaction(off: Floats) -> Floats:
    """(K,): what seeds and questions together leave unexplained, as a part of the variance of the mean of (K, S, Q)."""
    k, s, q = off.shape
    if s < 2 or q < 2:
        return np.zeros(k)
    rest = (
        off - off.mean(axis=1, keepdims=True) - off.mean(axis=2, keepdims=True) + off.mean(axis=(1, 2), keepdims=True)
    )
    made: Floats = (rest**2).sum(axis=(1, 2)) / ((s - 1) * (q - 1) * s * q)
    return made


def _cov(values: Floats) -> Floats:
    """(K, K) covariance (n - 1) of the rows of (K, n); zeros where n is 1."""
    n = values.shape[1]
    centred = values - values.mean(axis=1, keepdims=True)
    return centred @ centred.T / (n - 1) if n > 1 else np.zeros((len(values), len(values)))


def _read(setting: str, tasks: Scores) -> dict[str, dict[int, Floats]]:
    made: dict[str, dict[int, Floats]] = {}
    for task, seeds in tasks.items():
        rows = {s: by_seed(values, f"{task} of {setting}, seed {s}") for s, values in seeds.items()}
        kept = {s: row[0] for s, row in rows.items() if len(row) == 1 and row.size and np.isfinite(row).all()}
        if wrong := [s for s, row in rows.items() if len(row) != 1]:
            raise SpectraError(
                f"{task} of {setting}, seed {wrong[0]}, has several rows; expected one value a question. Give each its own seed."
            )
        if kept:
            made[task] = kept
    return made


def _table(task: str, rows: list[list[Floats]]) -> Floats:
    sizes = sorted({len(row) for setting in rows for row in setting})
    if len(sizes) > 1:
        raise SpectraError(
            f"Settings have {listed([str(n) for n in sizes])} questions of {task}; expected the same questions in the same order. "
            "Leave out those that not all have."
        )
    return np.array(rows)


def seeds_said(grid: Grid) -> str:
    """What few seeds are worth; empty from four on. (Measured: tests/plasticity/test_stats_coverage.py.)"""
    n = len(grid.seeds)
    if n == 1:
        return "One seed: the certainty is over questions alone; what another seed would change is not known."
    return (
        "" if n > 3 else f"{n} seeds hardly show how much seeds matter: trust the interval before the shares of draws."
    )
