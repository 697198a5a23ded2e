r"""Profile `evolm`: answers as the plasticity paper's authors read and compared them.

After their evaluation harness (github.com/th789/evolm, cot_eval/evaluation/Evaluator.py): the last `\boxed{...}`, else the text
after the last "answer is" (this case only) and after the last colon in it, to the end of the response; nothing stripped but
blanks; compared by math-verify on bare text, either direction, four seconds each. For majorities only the last 128 characters of a
response are read.
"""

from __future__ import annotations

from functools import lru_cache

from plasticity.answer_extract import boxed
from plasticity.answer_pool import POOL, Outcome

LAST_CHARACTERS = 128


def last_characters(response: str, count: int = LAST_CHARACTERS) -> str:
    """What a majority's answer is read from."""
    return response[-count:] if count > 0 else ""


def after_colon(text: str) -> str:
    """What follows the last colon, blanks stripped; the whole where there is none."""
    return text.rpartition(":")[2].strip()


def extract_evolm(response: str) -> str | None:
    """Their answer of a response; None where there is neither a box nor an "answer is"."""
    found = boxed(response)
    if found:
        return found
    _, phrase, rest = response.rpartition("answer is")
    return (after_colon(rest) or None) if phrase else None


@lru_cache(maxsize=200_000)
def judge_evolm(first: str, second: str, *, seconds: float = 8.0) -> Outcome:
    """Their comparison: math-verify on the bare texts, both directions (four seconds each there, eight together here)."""
    if not first or not second:
        return "different"
    return POOL.check(first, second, seconds=seconds, box=False)
