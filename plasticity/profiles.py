"""Conventions of scoring by name: `default`, and `evolm`, the plasticity paper's authors' own harness.

A profile says how responses are drawn beyond temperature and count, how answers are read off them, and how they are compared.
Tasks with an answer rule of their own (a letter, a word) keep it under `evolm`: that harness's rules are those of mathematics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from plasticity.answers import judge
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.answer_pool import Outcome
    from plasticity.generate_options import SamplingOptions
    from plasticity.tasks.base import Task

NAMES = ("default", "evolm")
EVOLM_WINDOW = 2048


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How the responses to one task are drawn, read and compared. Source: METHODS, section 3, "Answers" and "Scores"."""

    name: str
    task: Task

    def sampling(self, options: SamplingOptions) -> SamplingOptions:
        """`evolm`: repetition penalty 1.1, stop at "Human" and "Assistant", 2048 tokens of prompt and response together."""
        if self.name != "evolm":
            return options
        window = min(options.window or EVOLM_WINDOW, EVOLM_WINDOW)
        return replace(options, repetition_penalty=1.1, stop=("Human", "Assistant"), window=window)

    @property
    def mathematics(self) -> bool:
        """Whether answers are those of mathematics, which the profile reads and compares; else the task does."""
        return type(self.task).extract is _base().extract and type(self.task).equal is _base().equal

    @property
    def invalid_are_clusters(self) -> bool:
        """Whether, in a majority, every response without an answer is a cluster of its own (`evolm`)."""
        return self.name == "evolm"

    def answer(self, response: str) -> str | None:
        """The answer of a response, None where there is none."""
        if self.name == "evolm" and self.mathematics:
            from plasticity.answer_evolm import extract_evolm

            return extract_evolm(response)
        return self.task.extract(response)

    def majority_answer(self, response: str) -> str | None:
        """The answer that a response votes for; `evolm` reads it from the last 128 characters."""
        if self.name == "evolm":
            from plasticity.answer_evolm import last_characters

            return self.answer(last_characters(response))
        return self.answer(response)

    def compare(self, first: str, second: str) -> Outcome:
        """Whether two answers are the same, different, or could not be compared in time."""
        if not self.mathematics:
            return "same" if self.task.equal(first, second) else "different"
        if self.name == "evolm":
            from plasticity.answer_evolm import judge_evolm

            return judge_evolm(first, second)
        return judge(first, second)


def profile(name: str, task: Task) -> Profile:
    """The profile of that name for a task.

    Raises:
        SpectraError: there is none; names all.
    """
    if name not in NAMES:
        raise SpectraError(f"Unknown profile {name!r}. Use one of: {', '.join(NAMES)}.")
    return Profile(name=name, task=task)


def _base() -> type[Task]:
    from plasticity.tasks.base import Task

    return Task
