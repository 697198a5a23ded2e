"""Rewards of responses on disk, question by question: resumable like the responses themselves (`jsonl_file`).

Questions are scored in groups of at least 8 batches, each sorted by length. A group of which anything is missing is scored
whole on resume, so that the same batches are formed and the same bytes come out (with the same batch size and device).
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity import jsonl_file
from plasticity.reward_model import Reward
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.responses import Answers
    from plasticity.reward_model import RewardModel

FORMAT, VERSION = "plasticity.rewards", 1
_BATCHES = 8  # a group is worth sorting, and a kill loses little


@dataclass(frozen=True, kw_only=True)
class QuestionRewards:
    """The rewards of all samples of one question, in order; `empty`: how many of the responses have no text."""

    question_id: str
    rewards: tuple[Reward, ...]
    empty: int


@dataclass(frozen=True)
class Rewards(Mapping[str, tuple[float, ...]]):
    """Question id -> one reward a sample, in the order of the questions; what was cut and what was empty beside it."""

    header: Mapping[str, Any]
    questions: Mapping[str, QuestionRewards]

    def __getitem__(self, question_id: str) -> tuple[float, ...]:
        return tuple(reward.value for reward in self.questions[question_id].rewards)

    def __iter__(self) -> Iterator[str]:
        return iter(self.questions)

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def truncated(self) -> int:
        """Responses whose text was cut to fit (`header["model"]["cut"]` says on which side)."""
        return sum(reward.truncated for one in self.questions.values() for reward in one.rewards)

    @property
    def empty(self) -> int:
        """Responses without text; they are scored like any other."""
        return sum(one.empty for one in self.questions.values())

    @property
    def complete(self) -> bool:
        """Whether every question is scored."""
        return len(self) == int(self.header["questions"])


@dataclass(frozen=True, kw_only=True)
class RewardProgress:
    """A question was scored: how many are done, of how many, and seconds since this run began."""

    done: int
    total: int
    question: QuestionRewards
    seconds: float


RewardListener = Callable[[RewardProgress], None]


def score_responses(
    answers: Sequence[Answers],
    questions: Mapping[str, str],
    model: RewardModel,
    out: Path,
    *,
    task: Mapping[str, Any],
    resume: bool = False,
    listener: RewardListener | None = None,
) -> Rewards:
    """Give every response a reward and record it in `out` (`rewards.jsonl`).

    White space around a response is dropped: in training a blank stands between prompt and response (`Task.completion`), and the
    reward models' templates have their own. A response without text is scored like any other, and counted.

    Args:
        questions: the text of each question by id, as the task has it, without the prompt's template.
        task: what identifies the task in the file's header.
        resume: go on with `out` where it exists; otherwise an existing file is refused.
        listener: told of every question scored in this run.

    Raises:
        SpectraError: a question twice, without text or without responses; a file of something else; what `RewardModel.score`
            raises.
    """
    _check(answers, questions)
    header = {
        "model": dict(model.describe()), "task": dict(task), "responses": fingerprint(answers, questions),
        "questions": len(answers),
    }  # fmt: skip
    began = time.monotonic()
    with jsonl_file.RecordFile(out, _FORM, header, resume=resume) as file:
        for group in _groups(answers, _BATCHES * model.batch_size):
            if all(a.question_id in file.records for a in group):
                continue
            for scored in _score(group, questions, model):
                if scored.question_id in file.records:
                    continue
                file.append(scored)
                if listener is not None:
                    seconds = time.monotonic() - began
                    listener(
                        RewardProgress(done=len(file.records), total=len(answers), question=scored, seconds=seconds)
                    )
        order = [a.question_id for a in answers]
        file.finish(order)
        return Rewards(header=file.header, questions={id_: file.records[id_] for id_ in order})


def load_rewards(path: Path) -> Rewards:
    """Read a file of rewards, finished or not.

    Raises:
        SpectraError: missing, another format, or a broken line that is not the last.
    """
    header, records = jsonl_file.load(path, _FORM)
    return Rewards(header=header, questions={one.question_id: one for one in records})


def fingerprint(answers: Sequence[Answers], questions: Mapping[str, str]) -> str:
    """SHA-256 of ids, questions and responses, in order."""
    digest = hashlib.sha256()
    for one in answers:
        content = (one.question_id, questions[one.question_id], tuple(r.text for r in one.responses))
        digest.update(repr(content).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _check(answers: Sequence[Answers], questions: Mapping[str, str]) -> None:
    if not answers:
        raise SpectraError("There are no responses to score. Generate some first.")
    twice = [id_ for id_, n in Counter(a.question_id for a in answers).items() if n > 1]
    if twice:
        raise SpectraError(f"Question id {twice[0]!r} occurs more than once; ids must be unique.")
    for one in answers:
        if one.question_id not in questions:
            raise SpectraError(
                f"There are responses to question {one.question_id!r}, but the task has no such question. Name the task, its "
                "version and its data that the responses were generated with."
            )
        if not one.responses:
            raise SpectraError(f"Question {one.question_id!r} has no responses. Generate them first.")


def _groups(answers: Sequence[Answers], size: int) -> Iterator[list[Answers]]:
    """Questions in order, with at least `size` responses together; they depend on nothing that is done already."""
    group: list[Answers] = []
    for one in answers:
        group.append(one)
        if sum(len(a.responses) for a in group) >= size:
            yield group
            group = []
    if group:
        yield group


def _score(group: Sequence[Answers], questions: Mapping[str, str], model: RewardModel) -> Iterator[QuestionRewards]:
    pairs = [(questions[a.question_id], r.text.strip()) for a in group for r in a.responses]
    names = [f"sample {r.sample} of question {a.question_id!r}" for a in group for r in a.responses]
    found = iter(model.score(pairs, names))
    for one in group:
        yield QuestionRewards(
            question_id=one.question_id,
            rewards=tuple(next(found) for _ in one.responses),
            empty=sum(not r.text.strip() for r in one.responses),
        )


def _encode(one: QuestionRewards) -> dict[str, Any]:
    return {"id": one.question_id, "rewards": [asdict(reward) for reward in one.rewards], "empty": one.empty}


def _decode(record: Mapping[str, Any]) -> QuestionRewards:
    rewards = tuple(Reward(**reward) for reward in record["rewards"])
    return QuestionRewards(question_id=record["id"], rewards=rewards, empty=record["empty"])


_FORM = jsonl_file.Format(
    name=FORMAT, version=VERSION, noun="rewards", found_in="the rewards.jsonl of an evaluation",
    remake="Score the responses again", key=lambda one: one.question_id, encode=_encode, decode=_decode,
)  # fmt: skip
