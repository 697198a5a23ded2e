"""Multiple choice: how options are written under a question, and how an answer ends."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Drop, Header

LETTERS = "ABCDEFGHIJ"
NO_QUESTION = "no question"
NO_OPTIONS = "fewer than two options, or an empty one"
NO_ANSWER = "the answer is not one of the options"
MULTIPLE_CHOICE = (NO_QUESTION, NO_OPTIONS, NO_ANSWER)


def with_options(question: str, options: Sequence[str]) -> str:
    """The question, then a line an option: `A. ...`.

    Raises:
        Drop: no question, fewer than two options, an empty one.
    """
    if not question.strip():
        raise Drop(NO_QUESTION)
    if not 2 <= len(options) <= len(LETTERS) or not all(option.strip() for option in options):
        raise Drop(NO_OPTIONS)
    lines = (f"{letter}. {option.strip()}" for letter, option in zip(LETTERS, options, strict=False))
    return "\n".join([question.strip(), *lines])


def letter_of(answer: object, options: Sequence[str]) -> str:
    """The letter of the right option, from a letter or an index from 0.

    Raises:
        Drop: it is none of them.
    """
    known = LETTERS[: len(options)]
    if isinstance(answer, str) and len(answer.strip()) == 1 and answer.strip().upper() in known:
        return answer.strip().upper()
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(known):
        return known[answer]
    raise Drop(NO_ANSWER)


def concluded(reasoning: str, answer: str) -> str:
    """A response: the reasoning, if there is any, and `The answer is X.`"""
    conclusion = f"The answer is {answer}."
    return f"{reasoning.strip()}\n{conclusion}" if reasoning.strip() else conclusion


def guessing(chance: float, k: int = 16) -> dict[str, float | None]:
    """What drawing an option at random scores, k times (METHODS.md, section 3).

    Pass@k is 1 - (1 - p)^k. Correct ratio is over questions with at least one correct answer: p / pass@k.
    """
    passed = 1 - (1 - chance) ** k
    return {"greedy": chance, f"maj@{k}": chance, f"pass@{k}": passed, "correct_ratio": chance / passed}


def baseline_of(header: Header, k: int) -> dict[str, float | None]:
    """A header's baseline, which is stated for 16 samples, for k of them: worked out again from the chance of a single guess.

    Without such a chance (`greedy` in the header), what depends on k is None.
    """
    chance = header.baseline.get("greedy")
    if k in (0, 16):
        return dict(header.baseline)
    drawn = guessing(chance, k) if chance else {}
    names = {name: name.replace("@16", f"@{k}") for name in header.baseline}
    kept = {"greedy", *(name for name in header.baseline if name != "correct_ratio" and "@16" not in name)}
    return {ours: header.baseline[name] if name in kept else drawn.get(ours) for name, ours in names.items()}
