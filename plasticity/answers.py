"""What tasks need of answers: read one off a response or a gold solution, and tell whether two are the same.

The rules live in `answer_extract` (boxes, "answer is"), `answer_choice` (letters, words), `answer_text` (normal forms),
`answer_number`, `answer_unit` and `answer_clash` (what is told before mathematics is asked), `answer_pool` (mathematics,
time-limited); the authors' own rules in `answer_evolm`.
"""

from __future__ import annotations

from plasticity.answer_choice import letter, word
from plasticity.answer_equal import equal, judge
from plasticity.answer_extract import boxed, extract
from plasticity.answer_text import clean, normalise
from spectra.errors import SpectraError

__all__ = ["equal", "extract", "gold_of_gsm8k", "gold_of_math", "judge", "letter", "normalise", "word"]


def gold_of_gsm8k(solution: str) -> str:
    """The gold answer of a GSM8K solution: what follows the last `####`, without commas; raises `SpectraError`."""
    _, mark, rest = solution.rpartition("####")
    answer = clean(rest).replace(",", "")
    if not mark or not answer:
        raise SpectraError(f"A GSM8K solution ends in '#### <answer>', but got one that ends in {solution[-60:]!r}.")
    return answer


def gold_of_math(solution: str) -> str:
    r"""The gold answer of a MATH solution: the inside of its last `\boxed{...}`; raises `SpectraError`."""
    answer = boxed(solution)
    if answer is None:
        raise SpectraError(
            rf"A MATH solution holds its answer in \boxed{{...}}, but got one that ends in {solution[-60:]!r}."
        )
    return answer
