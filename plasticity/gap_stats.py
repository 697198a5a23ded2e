"""The train-val gap and its interval from losses by document; pure. Source: equation 3 of the plasticity paper; docs/gap.md.

A mean token loss is a ratio, sum of losses over sum of tokens. Documents are resampled whole, each with all its tokens in the
sample, on either side by itself. A percentile interval of such resamples is too narrow where documents are few or unequal (92%
where it says 95%, with 25 documents): its deviations are stretched to the leave-one-document-out standard error, and by
Student's t with Welch's degrees of freedom, the number of documents being counted by their tokens (Kish).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plasticity import stats_resample

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DRAWS = stats_resample.DRAWS
LEAST_DOCUMENTS = 8  # on either side; with fewer, an interval over documents means nothing
LEAST_EFFECTIVE = 3.0  # the same where one or two long ones have most of the tokens


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
    """A difference of two mean losses in nats a token.

    `se` and `ci95` are None with too few units on a side; `ci95` also where no unit differs from another (`se` is 0), since an
    interval of no width would say that it is known for sure.
    """

    value: float
    se: float | None
    ci95: tuple[float, float] | None


def by_unit(unit: Ints, loss: Floats, tokens: Ints) -> Sums:
    """Sums over equal `unit`; all of shape (pieces,)."""
    _, inverse = np.unique(unit, return_inverse=True)
    sums = (np.bincount(inverse, weights=values).astype(float) for values in (loss, tokens))
    return Sums(loss=next(sums), tokens=next(sums))


def effective(side: Sums) -> float:
    """How many units of equal size would be as good: (sum of tokens)^2 / sum of squares (Kish)."""
    return float(side.tokens.sum() ** 2 / np.sum(side.tokens**2)) if len(side.tokens) else 0.0


def standard_error(side: Sums) -> float:
    """Standard error of a mean loss over independent units: the jackknife's, each unit left out in turn, about the mean."""
    n = len(side.loss)
    residual = side.loss - side.mean * side.tokens
    moved = residual / (side.tokens.sum() - side.tokens)  # how far the mean goes when the unit is left out
    return float(np.sqrt((n - 1) / n * np.sum(moved**2)))


class Draws:
    """A side resampled: `deviation` (draws,), of the mean loss of each resample from the sample's."""

    def __init__(self, side: Sums, key: tuple[int, ...], draws: int = DRAWS) -> None:
        """`key`: all that decides the resampling."""
        self.side, n = side, len(side.loss)
        rng = np.random.default_rng(key)
        features = np.stack([side.loss - side.mean * side.tokens, side.tokens], axis=1)  # (n, 2)
        sums = np.concatenate([block @ features for block in stats_resample.counts(rng, n, draws)])
        self.deviation: Floats = sums[:, 0] / sums[:, 1]


def difference(first: Draws | None, second: Draws | None, value: float) -> Estimate:
    """Mean loss of `first` minus that of `second`, with interval; `value` is that difference. None: too few units."""
    if first is None or second is None:
        return Estimate(value=value, se=None, ci95=None)
    return _interval((first.side, second.side), first.deviation - second.deviation, value)


def mean(side: Draws | None, value: float) -> Estimate:
    """Mean loss of one side, which is `value`, with interval. None: too few units."""
    return Estimate(value=value, se=None, ci95=None) if side is None else _interval((side.side,), side.deviation, value)


def _interval(sides: tuple[Sums, ...], moved: Floats, value: float) -> Estimate:
    """`moved`: (draws,), deviations of the resamples from `value`."""
    se = float(np.hypot.reduce([standard_error(side) for side in sides]))
    if se == 0.0 or moved.std() == 0.0:
        return Estimate(value=value, se=se, ci95=None)
    low, high = np.quantile(moved, (0.025, 0.975)) * _stretch(sides, se) / moved.std()
    return Estimate(value=value, se=se, ci95=(value + float(low), value + float(high)))


def _stretch(sides: tuple[Sums, ...], se: float) -> float:
    """What the resamples' standard deviation must become: the standard error, wider as Student's t is than the normal."""
    from scipy.stats import norm, t

    shares = ((standard_error(side) ** 4, effective(side) - 1) for side in sides)
    freedom = se**4 / sum(fourth / degrees for fourth, degrees in shares)
    return se * float(t.ppf(0.975, freedom) / norm.ppf(0.975))


def draws(side: Sums, key: tuple[int, ...]) -> Draws | None:
    """A side resampled; None where it has too few units."""
    enough = len(side.loss) >= LEAST_DOCUMENTS and effective(side) >= LEAST_EFFECTIVE
    return Draws(side, key) if enough else None


def estimate(first: Sums, second: Sums, seed: int) -> Estimate:
    """Mean loss of `first` minus that of `second`, the two independent samples."""
    return difference(draws(first, (seed, 0)), draws(second, (seed, 1)), first.mean - second.mean)
