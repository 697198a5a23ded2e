"""Rewards on disk: one a sample, resumed after any cut with the same bytes, refused where anything else differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from plasticity.responses import Answers, Response
from plasticity.reward import Reward, RewardModel, RewardProgress, load_reward, load_rewards, score_responses
from spectra.errors import SpectraError

from .reward_checkpoints import tiny, write

TASK = {"name": "test", "version": 1}
QUESTIONS = {f"q{i}": "Why? " * (1 + i % 5) for i in range(20)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RewardModel:
    folder = write(tmp_path_factory.mktemp("reward") / "llama", tiny())
    return load_reward(str(folder), template="Q {question} A {response}", device="cpu", batch_size=2, max_tokens=60)


def answer(id_: str, texts: Sequence[str]) -> Answers:
    responses = [Response(question_id=id_, sample=i, text=t, tokens=1, finish="stop") for i, t in enumerate(texts)]
    return Answers(question_id=id_, responses=tuple(responses))


def answers(n: int = 20) -> list[Answers]:
    """Three responses each: one with blanks around it, one that is too long for some questions, one that is sometimes empty."""
    return [answer(f"q{i}", (f" r{i}\n", "so " * (i * 2), "" if i % 4 == 0 else "no")) for i in range(n)]


class Counting(RewardModel):
    """Counts the texts it scores."""

    scored = 0

    def score(self, pairs: Sequence[tuple[str, str]], names: Sequence[str] = ()) -> list[Reward]:
        Counting.scored += len(pairs)
        return super().score(pairs, names)


def test_one_reward_a_sample_in_the_order_of_the_questions(model: RewardModel, tmp_path: Path) -> None:
    seen: list[RewardProgress] = []
    found = score_responses(answers(), QUESTIONS, model, tmp_path / "r.jsonl", task=TASK, listener=seen.append)
    assert list(found) == [f"q{i}" for i in range(20)] and found.complete
    for one in answers():
        wanted = model.score([(QUESTIONS[one.question_id], r.text.strip()) for r in one.responses])
        assert found[one.question_id] == pytest.approx([r.value for r in wanted], abs=1e-5)
    every = model.score([(QUESTIONS[a.question_id], r.text.strip()) for a in answers() for r in a.responses])
    assert found.truncated == sum(r.truncated for r in every) > 0
    assert found.empty == 6  # q0, q4, ... and the second of q0
    assert [(p.done, p.total) for p in seen] == [(i + 1, 20) for i in range(20)]
    assert [p.question for p in seen] == list(found.questions.values())
    again = load_rewards(tmp_path / "r.jsonl")
    assert dict(again) == dict(found) and again.header == found.header and again.truncated == found.truncated
    assert again.header["model"] == model.describe() and again.header["task"] == TASK


def test_a_run_cut_anywhere_ends_with_the_same_bytes(model: RewardModel, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    score_responses(answers(), QUESTIONS, model, path, task=TASK)
    whole = path.read_bytes()
    counting = Counting(**vars(model))
    for size in range(0, len(whole) + 1, 331):
        path.write_bytes(whole[:size])
        Counting.scored = 0
        new: list[RewardProgress] = []
        found = score_responses(answers(), QUESTIONS, counting, path, task=TASK, resume=True, listener=new.append)
        assert path.read_bytes() == whole and found.complete
        kept = max(0, whole[:size].count(b"\n") - 1)
        assert len(new) == 20 - kept
        assert Counting.scored <= 3 * (20 - kept // 6 * 6)  # a group is 6 questions: 8 batches of 2 texts, rounded up
    header, *lines = whole.splitlines(keepends=True)
    path.write_bytes(header + b"".join(reversed(lines)))
    Counting.scored = 0
    score_responses(answers(), QUESTIONS, counting, path, task=TASK, resume=True)
    assert Counting.scored == 0 and path.read_bytes() == whole


def test_another_model_task_or_responses_are_refused(model: RewardModel, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    score_responses(answers(8), QUESTIONS, model, path, task=TASK)
    whole = path.read_bytes()
    other = replace(model, about={**model.about, "logit": 1, "dtype": "bfloat16"})
    changed = [answer("q0", (" r0\n", "", "other")), *answers(8)[1:]]
    asked = QUESTIONS | {"q1": "What?"}
    longer = replace(model, batch_size=5)  # not part of what the rewards are
    score_responses(answers(8), QUESTIONS, longer, path, task=TASK, resume=True)
    with pytest.raises(
        SpectraError, match=r'model\.dtype \("float32" there, "bfloat16" here\); model\.logit \(0 there, 1 here\)'
    ):
        score_responses(answers(8), QUESTIONS, other, path, task=TASK, resume=True)
    with pytest.raises(SpectraError, match=r"another task\.version \(1 there, 2 here\)"):
        score_responses(answers(8), QUESTIONS, model, path, task=TASK | {"version": 2}, resume=True)
    for given, texts in ((changed, QUESTIONS), (answers(8), asked), (answers(8)[::-1], QUESTIONS)):
        with pytest.raises(SpectraError, match="another responses"):
            score_responses(given, texts, model, path, task=TASK, resume=True)
    with pytest.raises(SpectraError, match="exists"):
        score_responses(answers(8), QUESTIONS, model, path, task=TASK)
    assert path.read_bytes() == whole


def test_responses_that_cannot_be_scored(model: RewardModel, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for given, said in (
        ([], "no responses to score"),
        ([answer("q0", ["a"])] * 2, "'q0' occurs more than once"),
        ([answer("x", ["a"])], "no such question"),
        ([answer("q0", [])], "has no responses"),
    ):
        with pytest.raises(SpectraError, match=said):
            score_responses(given, QUESTIONS, model, path, task=TASK)
        assert not path.exists()


def test_a_reward_that_is_not_finite_keeps_what_was_scored(model: RewardModel, tmp_path: Path) -> None:
    class Failing(Counting):
        def score(self, pairs: Sequence[tuple[str, str]], names: Sequence[str] = ()) -> list[Reward]:
            if "sample 0 of question 'q7'" in names:
                raise SpectraError(f"The reward of {names[3]} is nan")
            return super().score(pairs, names)

    path = tmp_path / "r.jsonl"
    with pytest.raises(SpectraError, match="sample 0 of question 'q7' is nan"):
        score_responses(answers(), QUESTIONS, Failing(**vars(model)), path, task=TASK)
    assert list(load_rewards(path)) == [f"q{i}" for i in range(6)] and not load_rewards(path).complete
    score_responses(answers(), QUESTIONS, model, path, task=TASK, resume=True)
    whole = path.read_bytes()
    score_responses(answers(), QUESTIONS, model, tmp_path / "again.jsonl", task=TASK)
    assert (tmp_path / "again.jsonl").read_bytes() == whole
    with pytest.raises(SpectraError, match=r"Give the rewards\.jsonl"):
        load_rewards(tmp_path / "none.jsonl")
