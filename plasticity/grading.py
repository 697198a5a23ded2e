"""Responses to what scores are made of: the answer of each, whether it is right, and which answer has the majority.

Comparisons go through worker processes that can be killed (`answer_pool`), several questions at a time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity.scores import Sample, winner

if TYPE_CHECKING:
    from plasticity.profiles import Profile
    from plasticity.responses import Answers
    from plasticity.tasks.base import Question

NAME = "answers.jsonl"
_THREADS = 4


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One question with its samples judged.

    Attributes:
        question: what was asked.
        samples: in the order drawn; answer None: none was found.
        majority: the first sample of the largest cluster of equal answers.
        undecided: comparisons with the gold answer that ran out of time or died; they count as not equal.
    """

    question: Question
    samples: tuple[Sample, ...]
    majority: Sample
    undecided: int

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
    """Judge all samples of all questions; `answers` in the order of `questions`, `rewards` by question id.

    Raises:
        SpectraError: math-verify is needed and does not start.
    """
    done = 0
    lock = threading.Lock()

    def one(question: Question, given: Answers) -> Graded:
        nonlocal done
        made = _grade(question, given, profile)
        if rewards is not None:
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
    undecided = 0

    def judged(answer: str | None) -> Sample:
        nonlocal undecided
        if answer is None:
            return Sample(answer=None, correct=False)
        outcome = profile.compare(answer, question.gold)
        undecided += outcome not in {"same", "different"}
        return Sample(answer=answer, correct=outcome == "same")

    texts = [response.text for response in given.responses]
    samples = tuple(judged(profile.answer(text)) for text in texts)
    votes = samples if profile.name != "evolm" else tuple(judged(profile.majority_answer(text)) for text in texts)
    majority = winner(votes, lambda a, b: profile.compare(a, b) == "same", evolm=profile.invalid_are_clusters)
    return Graded(question=question, samples=samples, majority=majority, undecided=undecided)


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
