"""What every statistic holds, how several remarks become one status, and how per-question values are read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.errors import SpectraError

Floats = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number and how sure it is.

    Attributes:
        value: None where it cannot be given.
        ci95: 95% interval; None where it cannot be given, or would mislead.
        n: what the method resamples or counts: questions, seeds, points.
        method: its name, in words that can be printed.
        status: `ok`, or a code of what cannot be given, is left out or is weak; the numbers that are there hold.
        why: a sentence or more for a status that is not `ok`, else empty.
    """

    value: float | None
    ci95: Interval | None
    n: int
    method: str
    status: str = "ok"
    why: str = ""


class Remarks:
    """Codes and sentences as they come up; the first code is the status, all sentences are said."""

    def __init__(self) -> None:
        self._said: list[tuple[str, str]] = []

    def add(self, code: str, sentence: str) -> None:
        self._said.append((code, sentence))

    @property
    def status(self) -> str:
        return self._said[0][0] if self._said else "ok"

    @property
    def why(self) -> str:
        return " ".join(sentence for _, sentence in self._said)


def by_seed(values: ArrayLike, what: str) -> Floats:
    """Per-question values as (S, Q): one row a seed; (Q,) is one seed.

    Raises:
        SpectraError: rows of different lengths, more than two axes, or not numbers.
    """
    try:
        made = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise SpectraError(
            f"The values of {what} are not a table of numbers: expected one number a question, or one such row a seed, "
            "all of the same questions. Leave out the questions that some seed lacks."
        ) from error
    if made.ndim not in (1, 2):
        raise SpectraError(f"Got {made.ndim} axes for {what}, expected (questions,) or (seeds, questions).")
    return np.atleast_2d(made) if made.size else np.empty((1, 0))


def listed(names: tuple[str, ...] | list[str], most: int = 6) -> str:
    """`a, b, c and 4 more`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def is_constant(values: Floats) -> bool:
    """All equal, up to the rounding of the greatest of them."""
    return bool(np.ptp(values) <= 8 * np.finfo(np.float64).eps * np.abs(values).max())


def is_number(value: float | None) -> TypeGuard[float]:
    """Neither missing nor infinite nor not a number."""
    return value is not None and math.isfinite(value)
