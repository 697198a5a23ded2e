"""Scores of modules -> their weight decays. Pure functions of numbers.

Legend: eta the base decay, x_i the score of module i of L. Source: AlphaDecay, eq. 3 (linear) and appendix A.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Literal

from spectra.errors import SpectraError

Assignment = Literal["linear", "sqrt", "log2", "sigmoid"]
ASSIGNMENTS: tuple[Assignment, ...] = ("linear", "sqrt", "log2", "sigmoid")


@dataclass(frozen=True, kw_only=True)
class AssignOptions:
    """How scores become decays.

    Attributes:
        assignment: `linear`, `sqrt`, `log2` or `sigmoid`.
        ratio: (s1, s2) of `linear`: the least and the largest decay as multiples of the base decay.
        steepness: beta of `sigmoid`.
    """

    assignment: Assignment = "linear"
    ratio: tuple[float, float] = (2 / 3, 5.0)
    steepness: float = 4.0

    def __post_init__(self) -> None:
        if self.assignment not in ASSIGNMENTS:
            raise SpectraError(f"Unknown assignment {self.assignment!r}. Use one of: {', '.join(ASSIGNMENTS)}.")
        low, high = self.ratio
        if not (math.isfinite(high) and 0 <= low <= high):
            raise SpectraError(f"ratio takes (s1, s2) with 0 <= s1 <= s2, got {self.ratio}.")
        if not self.steepness > 0:
            raise SpectraError(f"steepness must be above 0, got {self.steepness}.")


def assign(
    scores: Mapping[str, float], layers: Mapping[str, Hashable], base: float, options: AssignOptions
) -> dict[str, float]:
    """Weight decay of every scored module, by name.

    Args:
        scores: finite score by module; modules without one are left out by the caller, and keep the base decay.
        layers: module -> its transformer layer, within which `sigmoid` standardises.
        base: eta.

    A module that a formula gives no decay for (a negative one, from scores of mixed signs under a logarithm) is missing
    from the result.
    """
    if not scores:
        return {}
    made = _FORMULAS[options.assignment](scores, layers, options)
    return {name: base * value for name, value in made.items() if math.isfinite(value) and value >= 0.0}


def linear(scores: Mapping[str, float], layers: Mapping[str, Hashable], options: AssignOptions) -> dict[str, float]:
    """(x_i - min x)/(max x - min x) (s2 - s1) + s1 (eq. 3); 1 where all scores are equal."""
    low, high = min(scores.values()), max(scores.values())
    s1, s2 = options.ratio
    if high == low:
        return dict.fromkeys(scores, 1.0)
    return {name: (x - low) / (high - low) * (s2 - s1) + s1 for name, x in scores.items()}


def _over_mean(transform: Callable[[float], float]) -> Callable[..., dict[str, float]]:
    def formula(
        scores: Mapping[str, float], layers: Mapping[str, Hashable], options: AssignOptions
    ) -> dict[str, float]:
        made = {name: y for name, x in scores.items() if math.isfinite(y := transform(x))}
        mean = math.fsum(made.values()) / len(made) if made else 0.0
        return {name: y / mean if mean != 0.0 else math.nan for name, y in made.items()}

    return formula


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0.0 else math.nan


def _log2(x: float) -> float:
    return math.log2(x) if x > 0.0 else math.nan


sqrt = _over_mean(_sqrt)
log2 = _over_mean(_log2)


def sigmoid(scores: Mapping[str, float], layers: Mapping[str, Hashable], options: AssignOptions) -> dict[str, float]:
    """2/(1 + exp(-beta z_i)), z_i the score standardised (population sd) over the modules of one layer; z 0 where sd is 0."""
    members: dict[Hashable, list[float]] = {}
    for name, x in scores.items():
        members.setdefault(layers[name], []).append(x)
    moments = {}
    for layer, values in members.items():
        mean = math.fsum(values) / len(values)
        moments[layer] = mean, math.sqrt(math.fsum((x - mean) ** 2 for x in values) / len(values))
    made = {}
    for name, x in scores.items():
        mean, sd = moments[layers[name]]
        made[name] = _sigmoid(options.steepness * (x - mean) / sd) if sd > 0.0 else 1.0
    return made


def _sigmoid(x: float) -> float:
    """2/(1 + exp(-x)), in (0, 2)."""
    return 2.0 / (1.0 + math.exp(min(-x, 700.0)))


_FORMULAS: Mapping[str, Callable[..., dict[str, float]]] = {
    "linear": linear,
    "sqrt": sqrt,
    "log2": log2,
    "sigmoid": sigmoid,
}
