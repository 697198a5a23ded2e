"""Responses to what scores are made of: the answer of each, whether it is right, and which answer has the majority.

Comparisons go through worker processes that can be killed (`answer_pool`), several questions at a time.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity.scores import Sample, winner

if TYPE_CHECKING:
    from plasticity.answer_pool import Outcome
    from plasticity.profiles import Profile
    from plasticity.responses import Answers
    from plasticity.tasks.base import Question

NAME = "answers.jsonl"
_THREADS = 4
_NEW_TURN = re.compile(r"^[ \t]*Human:", re.MULTILINE)  # of the template (`Task.prompt`)


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One question with its samples judged.

    Attributes:
        question: what was asked.
        samples: in the order drawn; answer None: none was found.
        majority: the first sample of the largest cluster of equal answers.
        undecided: comparisons, with the gold answer and for the majority, that ran out of time or died; they count as not equal.
        asked: whether it was asked at all: a prompt that leaves no room in the context has empty responses, no rewards, and is
            wrong.
        new_turns: responses that go on with a new turn of the template, `Human:` at the start of a line, after their answer.
        read_after: those of them whose answer is another one than that of what comes before the turn.
    """

    question: Question
    samples: tuple[Sample, ...]
    majority: Sample
    undecided: int
    asked: bool = True
    new_turns: int = 0
    read_after: int = 0

    @property
    def majority_is_correct(self) -> bool:
        """Whether the majority's answer is right."""
        return self.majority.correct and self.majority.answer is not None


def grade(
    questions: Sequence[Question],
    answers: Sequence[Answers],
    profile: Profile,
    *,
    rewards: Mapping[str, Sequence[float]] | None = None,
    listener: Callable[[int, int], None] | None = None,
) -> list[Graded]:
    """Judge all samples of all questions; `answers` in the order of `questions`, `rewards` by question id (asked ones only).

    Raises:
        SpectraError: math-verify is needed and does not start, or a user's task fails.
    """
    done = 0
    lock = threading.Lock()

    def one(question: Question, given: Answers) -> Graded:
        nonlocal done
        made = _grade(question, given, profile)
        if rewards is not None and question.id in rewards:
            made = rewarded(made, rewards[question.id])
        with lock:
            done += 1
            if listener is not None:
                listener(done, len(questions))
        return made

    with ThreadPoolExecutor(_THREADS, "grading") as pool:
        return list(pool.map(one, questions, answers))


def rewarded(graded: Graded, rewards: Sequence[float]) -> Graded:
    """The same with a reward a sample."""
    samples = tuple(replace(sample, reward=reward) for sample, reward in zip(graded.samples, rewards, strict=True))
    return replace(graded, samples=samples)


def _grade(question: Question, given: Answers, profile: Profile) -> Graded:
    reading = _Reading(profile=profile, question=question)
    texts = [response.text for response in given.responses]
    samples = tuple(reading.judged(reading.answer(profile.answer, text)) for text in texts)
    votes = samples
    if profile.name == "evolm":
        votes = tuple(reading.judged(reading.answer(profile.majority_answer, text)) for text in texts)
    majority = winner(votes, lambda a, b: reading.compare(a, b) == "same", evolm=profile.invalid_are_clusters)
    turns = [(found.start(), at) for at, text in enumerate(texts) if (found := _NEW_TURN.search(text))]
    before = [(reading.answer(profile.answer, texts[at][:start]), samples[at].answer) for start, at in turns]
    return Graded(
        question=question, samples=samples, majority=majority, undecided=reading.undecided,
        asked=any(response.finish != "too_long" for response in given.responses), new_turns=len(turns),
        read_after=sum(one != two for one, two in before),
    )  # fmt: skip


@dataclass(kw_only=True)
class _Reading:
    """Answers of one question read and compared; what fails in a user's task names the question."""

    profile: Profile
    question: Question
    undecided: int = 0

    def answer(self, read: Callable[[str], str | None], text: str) -> str | None:
        from plasticity.tasks.user_code import expect, named

        what = f"a response to question {self.question.id!r} ({text[:60]!r})"
        with named(self.profile.task, "extract", what):
            found = read(text)
        if found is not None:
            expect(self.profile.task, "extract", what, found, str, "a text (str), or None")
        return found

    def compare(self, first: str, second: str) -> Outcome:
        from plasticity.tasks.user_code import named

        with named(self.profile.task, "equal", f"answers to question {self.question.id!r} ({first!r}, {second!r})"):
            outcome = self.profile.compare(first, second)
        self.undecided += outcome not in {"same", "different"}
        return outcome

    def judged(self, answer: str | None) -> Sample:
        """A sample of that answer, compared with the gold one."""
        if answer is None:
            return Sample(answer=None, correct=False)
        return Sample(answer=answer, correct=self.compare(answer, self.question.gold) == "same")


def records(greedy: Iterable[Graded], sampled: Iterable[Graded] | None) -> list[dict[str, Any]]:
    """One record a question, for the file beside the result: what every score and every comparison of checkpoints is made of."""
    from plasticity.tasks.report import question_key

    made: list[dict[str, Any]] = []
    for one in greedy:
        question = one.question
        made.append(
            {
                "id": question.id, "part": question.part, "question_sha256": question_key(question), "gold": question.gold,
                "greedy": _sample(one.samples[0]),
            }
        )  # fmt: skip
    for record, many in zip(made, sampled if sampled is not None else [], strict=False):
        record["samples"] = [_sample(sample) for sample in many.samples]
        record["majority"] = {"answer": many.majority.answer, "correct": many.majority_is_correct}
    return made


def write_records(made: Iterable[Mapping[str, Any]], path: Path) -> None:
    """As JSONL, whole."""
    from spectra.atomic import write_text

    write_text(path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in made))


def _sample(sample: Sample) -> dict[str, Any]:
    made: dict[str, Any] = {"answer": sample.answer, "correct": sample.correct}
    return made if sample.reward is None else made | {"reward": sample.reward}
