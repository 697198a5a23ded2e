"""Whether two answers are the same: as text, by rule, by mathematics, in that order.

Source: docs/methods, "Answers".
"""

from __future__ import annotations

from functools import lru_cache

from plasticity.answer_clash import clash, ordered
from plasticity.answer_pool import POOL, Outcome
from plasticity.answer_text import normalise, plain, rewrite
from plasticity.answer_unit import currency_of, unit_of

_LONGEST = 2000  # characters of an answer that mathematics is tried on; what is longer is a model that went astray


def judge(first: str, second: str, *, seconds: float = 5.0) -> Outcome:
    """How two answers compare: "same", "different", "out of time" (math-verify did not end within `seconds`), "died".

    The two are interchangeable. An empty answer equals nothing. Verdicts are cached. Raises `SpectraError` where math-verify
    is needed and cannot be started.
    """
    one, two = normalise(first), normalise(second)
    if not one or not two or _other_unit(first, second):
        return "different"
    if one == two:
        return "same"
    return _judge(*sorted((rewrite(first), rewrite(second))), seconds)


def equal(first: str, second: str, *, seconds: float = 5.0) -> bool:
    """Whether two answers are shown to be the same; what math-verify cannot show within `seconds` is not."""
    return judge(first, second, seconds=seconds) == "same"


def _other_unit(first: str, second: str) -> bool:
    """Whether both state a unit, not the same, one of them of currency, which `normalise` takes off."""
    one, two = currency_of(first), currency_of(second)
    if one is None and two is None:
        return False
    one, two = one or unit_of(plain(rewrite(first))), two or unit_of(plain(rewrite(second)))
    return one is not None and two is not None and one != two


@lru_cache(maxsize=200_000)
def _judge(first: str, second: str, seconds: float) -> Outcome:
    known = clash(first, second)
    if known is not None:
        return "same" if known else "different"
    if max(len(first), len(second)) > _LONGEST:
        return "different"
    first, second = ordered(first, second)
    return POOL.check(first, second, seconds=seconds)
