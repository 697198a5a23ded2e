"""The train-val gap and its interval from losses by document; pure. Source: equation 3 of the plasticity paper; docs/gap.md.

A mean token loss is a ratio, sum of losses over sum of tokens. Documents are resampled whole, each with all its tokens in the
sample, on either side by itself; the interval is the studentised bootstrap's, which keeps its level with few and unequal
documents, where the percentile interval is too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DRAWS = 2000
LEAST_DOCUMENTS = 5  # on either side; with fewer, an interval over documents means nothing
_CELLS = 4_000_000  # resampled documents at a time: bounded memory


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Losses of one side by unit (document or window): `loss` (D,) summed nats, `tokens` (D,) how many."""

    loss: Floats
    tokens: Floats

    @property
    def mean(self) -> float:
        """Mean loss a token; nan without tokens."""
        return float(self.loss.sum() / self.tokens.sum()) if len(self.loss) else float("nan")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A difference of two mean losses in nats a token; `se` and `ci95` are None with under 5 units on a side."""

    value: float
    se: float | None
    ci95: tuple[float, float] | None


def by_unit(unit: Ints, loss: Floats, tokens: Ints) -> Sums:
    """Sums over equal `unit`; all of shape (pieces,)."""
    _, inverse = np.unique(unit, return_inverse=True)
    sums = (np.bincount(inverse, weights=values).astype(float) for values in (loss, tokens))
    return Sums(loss=next(sums), tokens=next(sums))


def standard_error(side: Sums) -> float:
    """Standard error of a mean loss over independent units: the ratio estimator's, linearised, with n/(n-1)."""
    n = len(side.loss)
    residual = side.loss - side.mean * side.tokens
    return float(np.sqrt(n / (n - 1) * np.sum(residual**2)) / side.tokens.sum())


class Draws:
    """A side resampled `DRAWS` times: deviations of the mean loss from the sample's, and their squared standard errors."""

    def __init__(self, side: Sums, key: tuple[int, ...], draws: int = DRAWS) -> None:
        """`key`: all that decides the resampling."""
        self.side, n = side, len(side.loss)
        rng = np.random.default_rng(key)
        residual = side.loss - side.mean * side.tokens  # sums to 0; keeps the squares below free of cancellation
        features = np.stack([residual, side.tokens, residual**2, residual * side.tokens, side.tokens**2], axis=1)
        step = max(1, _CELLS // n)
        sums = np.concatenate([_counts(rng, n, min(step, draws - at)) @ features for at in range(0, draws, step)])
        c, t, cc, ct, tt = sums.T
        self.deviation: Floats = c / t
        spread = np.maximum(cc - 2 * self.deviation * ct + self.deviation**2 * tt, 0.0)
        self.variance: Floats = n / (n - 1) * spread / t**2


def _counts(rng: np.random.Generator, n: int, rows: int) -> Floats:
    """How often each of n units is drawn in each of so many resamples, (rows, n)."""
    cells = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
    return np.bincount(cells.ravel(), minlength=rows * n).reshape(rows, n).astype(float)


def difference(first: Draws | None, second: Draws | None, value: float) -> Estimate:
    """Mean loss of `first` minus that of `second`, with interval; `value` is that difference. None: too few units."""
    if first is None or second is None:
        return Estimate(value=value, se=None, ci95=None)
    se = float(np.hypot(standard_error(first.side), standard_error(second.side)))
    spread = np.sqrt(first.variance + second.variance)
    moved = first.deviation - second.deviation
    t = moved[spread > 0] / spread[spread > 0]
    if se == 0.0 or len(t) == 0:
        return Estimate(value=value, se=se, ci95=(value, value))
    low, high = np.quantile(t, (0.025, 0.975))
    return Estimate(value=value, se=se, ci95=(value - float(high) * se, value - float(low) * se))


def draws(side: Sums, key: tuple[int, ...]) -> Draws | None:
    """A side resampled; None where it has too few units."""
    return Draws(side, key) if len(side.loss) >= LEAST_DOCUMENTS else None


def estimate(first: Sums, second: Sums, seed: int) -> Estimate:
    """Mean loss of `first` minus that of `second`, the two independent samples."""
    return difference(draws(first, (seed, 0)), draws(second, (seed, 1)), first.mean - second.mean)
