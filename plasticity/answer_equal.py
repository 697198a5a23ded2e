"""Whether two answers are the same: as text, by rule, by mathematics, in that order.

Source: docs/methods, "Answers".
"""

from __future__ import annotations

from functools import lru_cache

from plasticity.answer_clash import clash, ordered
from plasticity.answer_pool import POOL, Outcome
from plasticity.answer_text import normalise, rewrite

_LONGEST = 2000  # characters of an answer that mathematics is tried on; what is longer is a model that went astray


def judge(first: str, second: str, *, seconds: float = 5.0) -> Outcome:
    """How two answers compare: "same", "different", "out of time" (math-verify did not end within `seconds`), "died".

    The two are interchangeable. An empty answer equals nothing. Verdicts are cached. Raises `SpectraError` where math-verify
    is needed and cannot be started.
    """
    one, two = normalise(first), normalise(second)
    if not one or not two:
        return "different"
    if one == two:
        return "same"
    return _judge(*sorted((rewrite(first), rewrite(second))), seconds)


def equal(first: str, second: str, *, seconds: float = 5.0) -> bool:
    """Whether two answers are shown to be the same; what math-verify cannot show within `seconds` is not."""
    return judge(first, second, seconds=seconds) == "same"


@lru_cache(maxsize=200_000)
def _judge(first: str, second: str, seconds: float) -> Outcome:
    known = clash(first, second)
    if known is not None:
        return "same" if known else "different"
    if max(len(first), len(second)) > _LONGEST:
        return "different"
    first, second = ordered(first, second)
    return POOL.check(first, second, seconds=seconds)
