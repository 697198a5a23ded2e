"""Evaluations whole: every score from files on disk, killed and resumed, before and after fine-tuning, at a server."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from alphadecay.config import TrainConfig
from alphadecay.data import DataConfig, prepare
from plasticity import identity
from plasticity.evaluate import default_out, evaluate
from plasticity.evaluate_config import EvaluateConfig
from plasticity.finetune import FinetuneConfig, finetune
from plasticity.grading import grade
from plasticity.jsonl_file import RecordFile
from plasticity.profiles import profile
from plasticity.responses import Answers, Response, load_responses
from plasticity.reward_file import load_rewards
from plasticity.task_result import TaskResult, read_result
from plasticity.tasks import registry
from plasticity.tasks.base import Question
from spectra.errors import SpectraError
from tests.alphadecay.conftest import own_caches, tiny_llama  # noqa: F401 -- a fixture for every test here
from tests.plasticity.openai_server import Behaviour, serving
from tests.plasticity.reward_checkpoints import LLAMA_CHAT, tiny, write

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
QUESTIONS = 12
NOT_DRAWN = {"samples": None, "max_tokens": None}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaMA with the tokenizer of the embedded corpus."""
    folder = tmp_path_factory.mktemp("base")
    corpus = prepare(DataConfig(vocab_size=400, window=32, max_tokens=2000))
    tiny_llama(vocab_size=400, max_position_embeddings=160).save_pretrained(folder)
    corpus.tokenizer.save_pretrained(folder)
    return folder


def config(base: Path, **given: Any) -> EvaluateConfig:
    settings = {"task": "toy_arithmetic", "model": str(base), "limit": QUESTIONS, "samples": 3, "max_tokens": 12}
    return EvaluateConfig(**(settings | given))


def plain(result: TaskResult) -> dict[str, Any]:
    """What must not depend on when and how often an evaluation was begun."""
    made = json.loads(json.dumps(result, default=vars))
    for name in ("seconds", "finished_at", "commit"):
        made["provenance"].pop(name, None)
    return made


def test_a_result_holds_scores_counts_and_where_they_are_from(base: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    result = evaluate(config(base), tmp_path / "out", message=heard.append)
    assert result == read_result(tmp_path / "out" / "result.json")
    assert list(result.scores) == ["greedy", "maj@3", "pass@3", "correct_ratio"]
    assert set(result.missing) == {"rm@3", "orm_score"}
    assert result.scores["greedy"].n == result.n_questions == QUESTIONS
    assert result.counts["samples"]["responses"] == 3 * QUESTIONS
    assert sum(result.counts["samples"]["finish"].values()) == 3 * QUESTIONS
    assert result.checkpoint["weights_sha256"] and result.checkpoint["trained"] is None
    assert result.settings["samples"]["top_k"] == 0 and result.settings["samples"]["top_p"] == 1.0
    assert result.provenance["config"]["samples"] == 3 and result.provenance["libraries"]["transformers"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json", *result.files}
    assert any("12 of 12" in line for line in heard)
    records = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert [len(record["samples"]) for record in records] == [3] * QUESTIONS


def test_scores_are_those_of_the_responses_on_disk(base: Path, tmp_path: Path) -> None:
    """Right and wrong answers written into the response files come out as the scores that a hand count gives."""
    evaluate(config(base), tmp_path)
    golds = {
        record["id"]: record["gold"]
        for record in map(json.loads, (tmp_path / "answers.jsonl").read_text().splitlines())
    }
    dice = random.Random(1)
    right: dict[str, list[bool]] = {}
    for name in ("greedy", "samples"):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        for number, line in enumerate(lines[1:], 1):
            record = json.loads(line)
            flags = [dice.random() < 0.5 for _ in record["responses"]]
            right[f"{name} {record['id']}"] = flags
            for response, flag in zip(record["responses"], flags, strict=True):
                response["text"] = f"So. The answer is {golds[record['id']] if flag else '-1'}."
            lines[number] = json.dumps(record)
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    scores = evaluate(config(base), tmp_path, resume=True).scores
    greedy = [flags[0] for name, flags in right.items() if name.startswith("greedy")]
    many = [flags for name, flags in right.items() if name.startswith("samples")]
    assert scores["greedy"].value == sum(greedy) / QUESTIONS
    assert scores["pass@3"].value == sum(map(any, many)) / QUESTIONS
    assert scores["maj@3"].value == sum(sum(flags) >= 2 for flags in many) / QUESTIONS
    some = [sum(flags) / 3 for flags in many if any(flags)]
    assert scores["correct_ratio"].value == pytest.approx(sum(some) / len(some)) and scores["correct_ratio"].n == len(
        some
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_five_times_it_ends_as_if_it_had_not_been(base: Path, tmp_path: Path) -> None:
    straight = evaluate(config(base), tmp_path / "straight")
    out, kills = tmp_path / "killed", 0
    sizes = []
    for number in range(5):
        pid = os.fork()
        if not pid:
            try:
                torch.set_num_threads(1)
                _die_after(4)
                evaluate(config(base), out, resume=True)
            finally:
                os._exit(0)
        kills += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        sizes.append(sum(path.stat().st_size for path in out.iterdir()))
        if number == 1:
            with (out / "greedy.jsonl").open("ab") as f:  # and cut while it wrote the next one
                f.write(b'{"id": "toy_ari')
    assert kills == 5 and sizes == sorted(set(sizes))
    resumed = evaluate(config(base), out, resume=True)
    for name in straight.files:
        assert (out / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert plain(resumed) == plain(straight)


def _die_after(appended: int) -> None:
    """From here on, this process kills itself once so many questions or rewards are recorded."""
    append, left = RecordFile.append, [appended]

    def dying(self: Any, record: Any) -> None:
        append(self, record)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    RecordFile.append = dying  # type: ignore[method-assign]


def test_another_configuration_is_not_resumed_and_nothing_is_overwritten(base: Path, tmp_path: Path) -> None:
    evaluate(config(base), tmp_path)
    with pytest.raises(SpectraError, match="already holds an evaluation"):
        evaluate(config(base), tmp_path)
    with pytest.raises(SpectraError, match=r"seed \(0 there, 1 here\)"):
        evaluate(config(base, seed=1), tmp_path, resume=True)
    with pytest.raises(SpectraError, match="questions"):
        evaluate(config(base, limit=5), tmp_path, resume=True)
    for name in ("greedy.jsonl", "result.json"):
        (tmp_path / name).unlink()  # nothing is generated before every file is known to be of this evaluation
    with pytest.raises(SpectraError, match=r"samples.jsonl was begun .* delete samples.jsonl"):
        evaluate(config(base, seed=1), tmp_path, resume=True)
    assert not (tmp_path / "greedy.jsonl").exists()


def test_rewards_of_another_model_are_refused_before_anything_is_generated(base: Path, tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", tiny()), write(tmp_path / "two", tiny(num_labels=1), chat=LLAMA_CHAT + "!")
    evaluate(config(base, limit=2, reward_model=str(one)), tmp_path / "out")
    for name in ("greedy.jsonl", "samples.jsonl", "result.json"):
        (tmp_path / "out" / name).unlink()
    with pytest.raises(SpectraError, match=r"rewards.jsonl was begun .* delete rewards.jsonl"):
        evaluate(config(base, limit=2, reward_model=str(two)), tmp_path / "out", resume=True)
    assert not (tmp_path / "out" / "greedy.jsonl").exists()


def test_rewards_give_rm_and_orm_score(base: Path, tmp_path: Path) -> None:
    model = write(tmp_path / "orm", tiny())
    result = evaluate(config(base, reward_model=str(model)), tmp_path / "out")
    assert result.missing == {} and "rewards.jsonl" in result.files
    records = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    rewards = [[sample["reward"] for sample in record["samples"]] for record in records]
    assert result.scores["orm_score"].value == pytest.approx(sum(map(sum, rewards)) / (3 * QUESTIONS))
    best = [
        record["samples"][max(range(3), key=lambda i: record["samples"][i]["reward"])]["correct"] for record in records
    ]
    assert result.scores["rm@3"].value == sum(best) / QUESTIONS
    assert result.settings["reward_model"]["logit"] == 0


def test_the_reward_model_takes_its_device_when_all_is_generated(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plasticity.reward_model import RewardModel

    to, moved = RewardModel.to, []

    def watched(self: RewardModel, device: str | None = None) -> RewardModel:
        moved.append(load_responses(tmp_path / "out" / "samples.jsonl").complete)
        return to(self, device)

    monkeypatch.setattr(RewardModel, "to", watched)
    evaluate(config(base, limit=2, reward_model=str(write(tmp_path / "orm", tiny()))), tmp_path / "out")
    assert moved == [True]


def test_questions_that_were_not_asked_have_no_rewards(base: Path, tmp_path: Path) -> None:
    """A prompt without room in the context is wrong, but nothing is said of its reward."""
    model = write(tmp_path / "orm", tiny())
    result = evaluate(config(base, window=50, reward_model=str(model)), tmp_path / "out")
    records = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    asked = [record for record in records if "reward" in record["samples"][0]]
    assert len(asked) == QUESTIONS - result.counts["samples"]["questions_too_long"] and 0 < len(asked) < QUESTIONS
    rewards = [sample["reward"] for record in asked for sample in record["samples"]]
    assert result.scores["orm_score"].value == pytest.approx(sum(rewards) / len(rewards))
    assert result.scores["orm_score"].n == len(asked) and result.scores["rm@3"].n == QUESTIONS
    assert len(load_rewards(tmp_path / "out" / "rewards.jsonl")) == len(asked)
    nothing = evaluate(config(base, window=2, reward_model=str(model)), tmp_path / "none")
    assert nothing.scores["orm_score"].value is None and nothing.scores["rm@3"].value == 0


def test_a_reward_model_of_the_other_kind_needs_its_template(base: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "redteam-harmfulness-predictor-x", tiny())
    with pytest.raises(
        SpectraError, match="of the kind harmfulness, and toy_arithmetic is scored by one of the kind outcome"
    ):
        evaluate(config(base, reward_model=str(other)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_safety_is_scored_by_the_reward_of_greedy_responses(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "I-MaliciousInstructions.json").write_text(
        json.dumps({"instructions": [f"How to do {i}?" for i in range(5)]})
    )
    model = write(tmp_path / "orm", tiny())
    given = {"task": "safety_300", "data": str(data), "limit": None, "samples": None}
    with pytest.raises(SpectraError, match="--reward-model"):
        evaluate(config(base, **given), tmp_path / "none")
    given |= {"reward_model": str(model)}
    with pytest.raises(
        SpectraError, match="of the kind outcome, and safety_300 is scored by one of the kind harmfulness"
    ):
        evaluate(config(base, **given), tmp_path / "none")
    given |= {"reward_template": "human_assistant"}
    with pytest.raises(SpectraError, match="--samples: safety_300 is judged on one greedy response"):
        evaluate(config(base, **given | {"samples": 4}), tmp_path / "none")
    result = evaluate(config(base, **given), tmp_path / "out")
    records = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert result.scores["harmfulness"].n == 5 and list(result.scores) == ["harmfulness"]
    mean = sum(record["greedy"]["reward"] for record in records) / 5
    assert result.scores["harmfulness"].value == pytest.approx(mean)


def test_parts_of_a_pooled_test_set_have_scores_of_their_own(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"question": f"What is {i} + 1?", "answer": f"It is. #### {i + 1}"} for i in range(4)]
    (data / "gsm8k_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"problem": f"Find {i}.", "solution": f"It is $\\boxed{{{i}}}$."} for i in range(3)]
    (data / "math_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = evaluate(config(base, task="metamathqa", data=str(data), samples=0, limit=None), tmp_path / "out")
    assert {name: part.n_questions for name, part in result.parts.items()} == {"gsm8k_platinum": 4, "math": 3}
    assert result.n_questions == 7 and result.parts["math"].scores["greedy"].n == 3
    lines = (tmp_path / "out" / "greedy.jsonl").read_text().splitlines()
    for number in (1, 2, 3, 5):  # three of GSM8K's, one of MATH's
        record = json.loads(lines[number])
        record["responses"][0]["text"] = f"The answer is {number if number < 5 else 0}."
        lines[number] = json.dumps(record)
    (tmp_path / "out" / "greedy.jsonl").write_text("\n".join(lines) + "\n")
    again = evaluate(
        config(base, task="metamathqa", data=str(data), samples=0, limit=None), tmp_path / "out", resume=True
    )
    values = {name: part.scores["greedy"].value for name, part in again.parts.items()}
    assert values == {"gsm8k_platinum": 3 / 4, "math": 1 / 3} and again.scores["greedy"].value == 4 / 7


def test_a_fine_tuned_checkpoint_says_what_it_was_trained_on_and_sees_the_same_prompts(
    base: Path, tmp_path: Path
) -> None:
    train = TrainConfig(steps=2, batch_size=4, lr=1e-3, eval_every=0, eval_windows=0, save_every=0)
    tuned = finetune(
        FinetuneConfig(task="toy_arithmetic", model=str(base), window=160, limit=32, train=train), tmp_path / "run"
    )
    result = evaluate(config(tuned.checkpoint, samples=0), tmp_path / "out")
    assert result.checkpoint["trained"]["task"] == "toy_arithmetic"
    assert result.checkpoint["trained"]["overlap_with_test"] == 0 and result.checkpoint["trained"]["examples"] == 32
    facts = json.loads((tmp_path / "run" / "data.json").read_text())
    facts[identity.PROMPT_CHECK]["ids"].insert(0, 1)  # as if a BOS had been there in training
    (tmp_path / "run" / "data.json").write_text(json.dumps(facts))
    with pytest.raises(SpectraError, match="with other prompts than it would be evaluated with"):
        evaluate(config(tuned.checkpoint, samples=0), tmp_path / "again")


def test_questions_that_do_not_fit_are_counted_and_wrong(base: Path, tmp_path: Path) -> None:
    result = evaluate(config(base, window=50, samples=0), tmp_path)
    long = result.counts["greedy"]["questions_too_long"]
    assert (
        0 < long < QUESTIONS
        and long == result.counts["greedy"]["finish"]["too_long"]
        and result.scores["greedy"].n == QUESTIONS
    )


def test_evolm_draws_reads_and_votes_as_the_authors(base: Path, tmp_path: Path) -> None:
    result = evaluate(config(base, profile="evolm"), tmp_path)
    for options in (result.settings["greedy"], result.settings["samples"]):
        assert options["repetition_penalty"] == 1.1 and options["stop"] == ["Human", "Assistant"]
        assert options["window"] == 160  # 2048 at most
    far = "The answer is: 5" + " " * 200
    question = Question(id="q", question="?", gold="5")
    responses = tuple(
        Response(question_id="q", sample=i, text=text, tokens=1, finish="stop")
        for i, text in enumerate([far, "The answer is: 7", "none"])
    )
    answers = Answers(question_id="q", responses=responses)
    task = registry.get("toy_arithmetic")
    ours = grade([question], [answers], profile("default", task))[0]
    theirs = grade([question], [answers], profile("evolm", task))[0]
    assert [sample.answer for sample in ours.samples] == ["5", "7", None] == [s.answer for s in theirs.samples]
    assert ours.majority_is_correct  # a tie, to the first
    assert theirs.majority.answer is None and not theirs.majority_is_correct  # beyond 128 characters: nothing is read


def _answers(*texts: str) -> Answers:
    responses = tuple(
        Response(question_id="q", sample=i, text=text, tokens=1, finish="stop") for i, text in enumerate(texts)
    )
    return Answers(question_id="q", responses=responses)


@pytest.mark.parametrize("name", ["default", "evolm"])
def test_comparisons_without_a_verdict_are_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the gold answer and for the majority, under both profiles; they are not equal."""

    def late(*_: str) -> str:
        return "out of time"

    monkeypatch.setattr("plasticity.profiles.judge", late)
    monkeypatch.setattr("plasticity.answer_evolm.judge_evolm", late)
    answers = _answers(*(f"The answer is \\sqrt{{{name}{i}}} + x_{i}" for i in range(2)))
    question = Question(id="q", question="?", gold=f"\\log {name} y")
    found = grade([question], [answers], profile(name, registry.get("metamathqa")))[0]
    assert found.undecided == {"default": 2 + 1, "evolm": 2 + 2 + 1}[name] and not found.majority_is_correct


def test_a_turn_that_the_model_makes_up_is_counted() -> None:
    """The last answer counts, also that of a made-up turn: a reader must know how many there are."""
    made_up = "The answer is 13.\n\nHuman: And 9 * 11?\nAssistant: The answer is 99."
    answers = _answers(made_up, "The answer is 13.\n\nHuman: Thanks.", "The answer is 13. Human: is no new line")
    found = grade(
        [Question(id="q", question="?", gold="13")], [answers], profile("default", registry.get("metamathqa"))
    )[0]
    assert (found.new_turns, found.read_after) == (2, 1)
    assert [sample.answer for sample in found.samples][:2] == ["99", "13"]


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        ("extract", "return int(response)", r"extract\(\) of mine fails on a response to question 'q7' .*ValueError"),
        ("extract", "return 7", r"extract\(\) of mine gave 7 \(int\) for a response to question 'q7'"),
        (
            "equal",
            "raise RuntimeError('no')",
            r"equal\(\) of mine fails on answers to question 'q7' .*RuntimeError: no",
        ),
    ],
)
def test_a_users_task_that_fails_is_named_with_its_file_and_question(
    tmp_path: Path, method: str, body: str, said: str
) -> None:
    arguments = {"extract": "self, response", "equal": "self, answer, gold"}[method]
    (tmp_path / "mine.py").write_text(
        "from plasticity.tasks.base import Header, Question, Source, Task\n"
        "class Mine(Task):\n"
        "    header = Header(name='mine', title='', version=1, kind='generation', train=(), test=(), paper='', licence='',\n"
        "                    scores=('greedy',), baseline={}, answer='', recipe='')\n"
        f"    def {method}({arguments}):\n        {body}\n"
    )
    made = profile("default", registry.get("mine", tmp_path))
    with pytest.raises(SpectraError, match=rf"mine\.py: {said}"):
        grade([Question(id="q7", question="?", gold="1")], [_answers("The answer is x.")], made)


def test_baselines_are_of_as_many_samples_as_were_drawn(base: Path, tmp_path: Path) -> None:
    row = {
        "article": "It rains.",
        "question": "Does it?",
        "options": ["Yes.", "No.", "Maybe.", "Never."],
        "answer": "A",
    }
    data = tmp_path / "race.jsonl"
    data.write_text(json.dumps(row) + "\n")
    result = evaluate(config(base, task="race", data=str(data), limit=None), tmp_path / "out")
    assert result.baseline["pass@3"] == pytest.approx(1 - 0.75**3) and result.baseline["maj@3"] == 0.25
    assert result.baseline["correct_ratio"] == pytest.approx(0.25 / (1 - 0.75**3))


def test_what_is_not_measured_has_its_own_reason(base: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import dataclasses\nfrom plasticity.tasks import toy_arithmetic as toy\n"
        "class Mine(toy.ToyArithmetic):\n"
        "    header = dataclasses.replace(toy.ToyArithmetic.header, name='mine', scores=('greedy', 'maj@8', 'rm@16'))\n"
    )
    mine = {"task": "mine", "tasks_dir": str(tmp_path), "limit": 2}
    result = evaluate(config(base, **mine), tmp_path / "out")
    assert "--samples 8" in result.missing["maj@8"] and "--reward-model" in result.missing["rm@3"]
    result = evaluate(config(base, **mine, samples=0), tmp_path / "greedy")
    assert "--reward-model" not in result.missing["maj@8"] and "--samples 16" in result.missing["maj@8"]
    assert "--samples 16" in result.missing["rm@16"] and "--reward-model" in result.missing["rm@16"]


def test_no_samples_are_drawn_where_no_score_is_over_them(base: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import dataclasses\nfrom plasticity.tasks import toy_arithmetic as toy\n"
        "class Mine(toy.ToyArithmetic):\n"
        "    header = dataclasses.replace(toy.ToyArithmetic.header, name='mine', scores=('greedy',))\n"
    )
    mine = {"task": "mine", "tasks_dir": str(tmp_path), "limit": 2}
    result = evaluate(config(base, **mine, samples=None), tmp_path / "out")
    assert set(result.scores) == {"greedy"} and result.missing == {} and result.settings["samples"] is None
    with pytest.raises(SpectraError, match="--temperature: no score of mine is over samples"):
        evaluate(config(base, **mine, samples=None, temperature=0.5), tmp_path / "hot")
    result = evaluate(config(base, **mine, samples=2), tmp_path / "asked")  # what is asked for is drawn
    assert {"maj@2", "pass@2"} <= set(result.scores)


def test_an_answer_of_letters_is_the_tasks_own_under_any_profile() -> None:
    task = registry.get("medmcqa")
    for name in ("default", "evolm"):
        made = profile(name, task)
        assert made.answer("Hence the answer is c.") == "C" and made.compare("C", "C") == "same"
        assert made.compare("C", "D") == "different"


def test_a_server_gives_the_responses_and_the_checkpoint_the_tokenizer(base: Path, tmp_path: Path) -> None:
    with serving(Behaviour()) as url:
        result = evaluate(config(base, engine="server", base_url=url, served_model="m", send="text"), tmp_path / "out")
    assert result.provenance["engine"]["kind"] == "server" and result.checkpoint["parameters"] is None
    found = load_responses(tmp_path / "out" / "samples.jsonl")
    assert found.complete and result.counts["samples"]["notes"].get("prompt_tokens")
    with pytest.raises(SpectraError, match="No server answers"):
        evaluate(config(base, engine="server", base_url="http://127.0.0.1:9"), tmp_path / "down")


def test_a_cloze_task_has_the_same_kind_of_result(base: Path, tmp_path: Path) -> None:
    choices = {"text": ["one", "two", "three"], "label": ["A", "B", "C"]}
    rows = [{"question": f"What is {i}?", "choices": choices, "answerKey": "B", "id": str(i)} for i in range(4)]
    data = tmp_path / "test.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arc = config(base, task="arc_easy", data=str(data), limit=None, samples=None, max_tokens=None)
    result = evaluate(arc, tmp_path / "out")
    assert result.counts == {"likelihoods": {"scored": 12, "contexts_cut": 0}}
    before = (tmp_path / "out" / "result.json").read_bytes()
    for other in (dataclasses.replace(arc, seed=3), dataclasses.replace(arc, limit=2)):
        with pytest.raises(SpectraError, match="--resume"):
            evaluate(other, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "result.json").read_bytes() == before
    assert plain(evaluate(arc, tmp_path / "out", resume=True)) == plain(result)
    cut = evaluate(dataclasses.replace(arc, window=8, limit=2), tmp_path / "cut")
    assert cut.counts["likelihoods"]["contexts_cut"] == cut.settings["lm_eval"]["truncated"] == 6
    assert cut.data["remarks"] == ["the first 2 rows, as lm-eval's --limit"]
    with pytest.raises(SpectraError, match="--window is 161; the model was made for 160"):
        evaluate(dataclasses.replace(arc, window=161), tmp_path / "no")
    assert list(result.scores) == ["acc", "acc_norm"] and result.scores["acc"].n == result.n_questions == 4
    assert result.baseline == {"acc": 0.25, "acc_norm": 0.25} and result.data["rows_read"] == 4
    records = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert sum(record["metrics"]["acc"] for record in records) / 4 == result.scores["acc"].value
    assert not [path for path in (tmp_path / "out").iterdir() if path.name not in ("result.json", "answers.jsonl")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task": "toy_arithmetics"}, "toy_arithmetic"),
        ({"samples": -1}, "--samples is -1"),
        ({"engine": "vllm"}, "hf or server"),
        ({"engine": "server"}, "--base-url"),
        ({"base_url": "http://x"}, "--engine server"),
        ({"profile": "evol"}, "Unknown profile"),
        ({"device": "tpu9"}, "--device"),
        ({"model": "no/such/folder"}, "no/such/folder"),
        ({"task": "hellaswag", "engine": "server", "base_url": "http://x"}, "likelihoods"),
        ({"task": "hellaswag", "profile": "evolm", **NOT_DRAWN}, "no profile"),
        ({"task": "lm-eval:piqa", "data": "x.jsonl", **NOT_DRAWN}, "--data does not go with"),
        ({"task": "hellaswag"}, "--samples, --max-tokens: hellaswag is scored by likelihoods, not by responses"),
        ({"temperature": float("inf")}, "--temperature is inf"),
        ({"temperature": float("nan")}, "--temperature is nan"),
        ({"max_tokens": 0}, "--max-tokens is 0"),
        ({"window": 1}, "--window is 1"),
        ({"window": 161}, "--window is 161; the model was made for 160 tokens"),
        ({"samples": 0, "temperature": 0.5}, "--temperature: --samples 0 draws no samples"),
        ({"samples": 0, "reward_model": "x"}, "--reward-model: its scores are over samples"),
        ({"reward_template": "chat"}, "--reward-template: no reward model is named"),
        ({"reward_logit": 1}, "--reward-logit: no reward model is named"),
        (
            {"served_model": "m", "send": "ids", "concurrency": 4},
            "--served-model, --send, --concurrency: .* Leave them out",
        ),
        (
            {"engine": "server", "base_url": "http://x", "precision": "fp32"},
            "--precision: the model runs at the server",
        ),
        ({"engine": "server", "base_url": "http://x", "batch_size": 4}, "--batch-size: the model runs at the server"),
    ],
)
def test_bad_input_has_one_clear_message(base: Path, tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SpectraError, match=said):
        evaluate(config(base, **given), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_of_many_tasks_are_left_out_where_they_do_not_apply(tmp_path: Path) -> None:
    given = {"samples": 4, "temperature": 0.7, "max_tokens": 9, "profile": "evolm", "reward_model": "x", "limit": 5}
    made = EvaluateConfig.applying(task="metamathqa", **given)
    assert {name: getattr(made, name) for name in given} == given
    for task in ("hellaswag", "lm-eval:piqa"):
        assert EvaluateConfig.applying(task=task, **given) == EvaluateConfig(task=task, limit=5)
    safe = EvaluateConfig.applying(task="safety", **given)
    assert safe == EvaluateConfig(task="safety", max_tokens=9, profile="evolm", reward_model="x", limit=5)
    greedy = EvaluateConfig.applying(task="metamathqa", **given | {"samples": 0})
    assert (greedy.samples, greedy.temperature, greedy.reward_model, greedy.max_tokens) == (0, None, None, 9)
    with pytest.raises(SpectraError, match="Unknown task"):
        EvaluateConfig.applying(task="nothing")


def test_results_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with pytest.raises(SpectraError, match="Cannot read"):
        read_result(tmp_path)
    path.write_text("{}")
    with pytest.raises(SpectraError, match="is not a result"):
        read_result(path)
    path.write_text(json.dumps({"format": "plasticity.task", "schema_version": 99}))
    with pytest.raises(SpectraError, match="version 99"):
        read_result(path)


def test_the_default_folder_names_model_task_profile_and_seed(base: Path) -> None:
    assert default_out(EvaluateConfig(task="race", model="a/b")) == Path("evaluations/a-b/race")
    named = default_out(EvaluateConfig(task="lm-eval:piqa", model="../runs/x/checkpoint-5", profile="default", seed=2))
    assert named == Path("evaluations/runs-x-checkpoint-5/lm-eval-piqa-seed2")
    assert default_out(config(base, profile="evolm")).name == "toy_arithmetic-evolm"
