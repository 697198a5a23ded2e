"""Tasks whose responses are generated: one greedy response a question, k samples, their answers, rewards and scores."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity import evaluate_rewards, grading, scores
from plasticity.evaluate_config import (
    MAX_TOKENS,
    SAMPLES_A_QUESTION,
    TEMPERATURE,
    WITH_SAMPLES,
    EvaluateConfig,
    check_window,
    needs_samples,
)
from plasticity.grading import Graded
from plasticity.pace import Pace
from plasticity.profiles import Profile, profile
from plasticity.task_result import Part, TaskResult, make_folder
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.generate import Engine, Generation, Progress
    from plasticity.generate_options import Prompt, SamplingOptions
    from plasticity.reward import RewardModel, RewardProgress, Rewards
    from plasticity.scores import ScoreValue
    from plasticity.tasks.base import Question, Task
    from plasticity.tasks.report import Loaded

Say = Callable[[str], None]
GREEDY, SAMPLES, REWARDS = "greedy.jsonl", "samples.jsonl", "rewards.jsonl"
NO_SAMPLES = "no samples were drawn (--samples 16)"
NO_REWARD_MODEL = "no reward model was named (--reward-model)"
UNKNOWN = "plasticity evaluate has no score of this name (the task's header asks for it)"
_WITH_REWARDS = ("rm", "orm_score")


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What the steps of one evaluation share."""

    config: EvaluateConfig
    task: Task
    profile: Profile
    loaded: Loaded[Question]
    out: Path
    resume: bool
    say: Say
    window: int | None = None  # of the engine's model

    @property
    def samples(self) -> int:
        """Responses a question beside the greedy one; safety is judged on the greedy ones alone."""
        if self.task.header.kind == "safety":
            return 0
        if self.config.samples is not None:
            return self.config.samples
        return SAMPLES_A_QUESTION if needs_samples(self.task.header) else 0

    @property
    def rewarded(self) -> str:
        """Which responses a reward model scores."""
        return "samples" if self.samples else "greedy"


def evaluate(config: EvaluateConfig, task: Task, out: Path, resume: bool, say: Say) -> TaskResult:
    """Responses, answers, rewards and scores of one checkpoint; see `plasticity.evaluate.evaluate`."""
    from plasticity.generate_engines import engine_of
    from plasticity.generate_options import Prompt
    from plasticity.identity import check_prompts, identity
    from plasticity.tasks.choices import baseline_of
    from plasticity.tasks.encoding import prompt_ids
    from plasticity.tasks.loading import load
    from plasticity.trained_questions import with_seen

    _check(config, task)
    loaded = load(task, "test", Path(config.data) if config.data else None, config.limit)
    run = _Run(
        config=config, task=task, profile=profile(config.profile, task), loaded=loaded, out=out, resume=resume, say=say
    )
    for samples in {0, run.samples}:
        _options(run, samples)  # refused here rather than after hours
    reward = evaluate_rewards.load(config, task)
    engine, base, facts = engine_of(config)
    known = identity(base)
    run = dataclasses.replace(run, window=engine.window)
    if config.engine == "hf":
        check_window(config.window, engine.window)
    known["trained"] = with_seen(known["trained"], config.model, loaded.items)
    known["remarks"] = list(check_prompts(task, base.tokenizer, known["trained"]))
    prompts = [
        Prompt(id=q.id, ids=prompt_ids(task, q.question, base.tokenizer), text=task.prompt(q.question))
        for q in loaded.items
    ]
    make_folder(out)
    if resume:
        _check_files(run, prompts, engine, known, reward)
    drawn = _responses(run, prompts, engine, known)
    del engine, base
    reward = reward.to() if reward is not None else None  # the evaluated model has left the device
    rewards = _rewards(run, drawn, reward)
    graded = {name: _grade(run, name, made, rewards.get(name)) for name, made in drawn.items()}
    grading.write_records(grading.records(graded["greedy"], graded.get("samples")), out / grading.NAME)
    measured = _scores(run, graded)
    files = [GREEDY, *([SAMPLES] if "samples" in drawn else []), *([REWARDS] if rewards else []), grading.NAME]
    return TaskResult(
        checkpoint=known, task=task.header.name, task_version=task.header.version, profile=config.profile, seed=config.seed,
        n_questions=len(loaded.items), scores=measured, parts=_parts(run, graded),
        baseline={name: value for name, value in baseline_of(task.header, run.samples).items() if name in measured},
        missing=_missing(run, measured), counts=_counts(drawn, graded, rewards), data=dataclasses.asdict(loaded.report),
        settings={
            "greedy": dataclasses.asdict(_options(run, 0)),
            "samples": dataclasses.asdict(_options(run, run.samples)) if run.samples else None,
            "reward_model": dict(reward.describe()) if reward is not None else None,
        },
        files=tuple(files), provenance=facts,
    )  # fmt: skip


def _check(config: EvaluateConfig, task: Task) -> None:
    """Refuse what is missing or would have no effect.

    Raises:
        SpectraError: it is, or would.
    """
    name = task.header.name
    if task.header.kind == "safety":
        if config.reward_model is None:
            raise SpectraError(
                f"{name} is scored by a harmfulness model: name one with --reward-model, such as "
                "safepaca/absolute-harmfulness-predictor-redteam."
            )
        config.refuse(("samples", "temperature"), f"{name} is judged on one greedy response a prompt")
    elif config.samples == 0:
        config.refuse(("reward_model",), "its scores are over samples, and --samples 0 draws none")
    elif config.samples is None and not needs_samples(task.header):
        asked = (
            f"no score of {name} is over samples ({', '.join(task.header.scores)}), so none are drawn without --samples"
        )
        config.refuse(("temperature", "reward_model"), asked)


def _options(run: _Run, samples: int) -> SamplingOptions:
    """How responses are drawn: one greedily, or k at the temperature."""
    from plasticity.generate_options import SamplingOptions

    config = run.config
    windows = [window for window in (config.window, run.window) if window is not None]
    options = SamplingOptions(
        samples=samples or 1, temperature=(config.temperature or TEMPERATURE) if samples else 0.0,
        max_tokens=config.max_tokens or MAX_TOKENS, seed=config.seed if samples else 0, window=min(windows, default=None),
    )  # fmt: skip
    return run.profile.sampling(options)


def _responses(run: _Run, prompts: Sequence[Prompt], engine: Engine, known: Mapping[str, Any]) -> dict[str, Generation]:
    """Greedy responses and samples, on disk as they come."""
    from plasticity.generate import generate

    return {
        name: generate(
            prompts, engine, options, run.out / file, task=_about(run, known), resume=run.resume, listener=_listener(name, run.say),
        )
        for name, file, options in _passes(run)
    }  # fmt: skip


def _passes(run: _Run) -> list[tuple[str, str, SamplingOptions]]:
    """Name, file and options of the greedy responses, and of the samples where there are any."""
    made = [("greedy", GREEDY, _options(run, 0))]
    return made + ([("samples", SAMPLES, _options(run, run.samples))] if run.samples else [])


def _about(run: _Run, known: Mapping[str, Any]) -> dict[str, Any]:
    """What the header of a file of responses says of task and checkpoint."""
    from plasticity.identity import header

    task = run.task.header
    return {
        "name": task.name, "version": task.version, "questions": run.loaded.report.fingerprint, **header(known),
    }  # fmt: skip


def _check_files(
    run: _Run, prompts: Sequence[Prompt], engine: Engine, known: Mapping[str, Any], reward: RewardModel | None
) -> None:
    """Refuse to go on with files of something else before anything is generated: the last one would show it after hours."""
    from plasticity.generate_options import fingerprint
    from plasticity.jsonl_file import check_header

    asked = {"engine": dict(engine.describe()), "task": _about(run, known), "prompts": fingerprint(prompts)}
    for _, file, options in _passes(run):
        check_header(run.out / file, {**asked, "options": dataclasses.asdict(options)})
    if reward is not None:
        about = evaluate_rewards.about(run.task, run.rewarded)
        check_header(run.out / REWARDS, {"model": dict(reward.describe()), "task": about})


def _listener(name: str, say: Say) -> Callable[[Progress | RewardProgress], None]:
    """A line now and then: how far, and how long it still takes."""
    pace, first = Pace(), 0

    def listen(progress: Progress | RewardProgress) -> None:
        nonlocal first
        first = first or progress.done - 1
        last = progress.done == progress.total
        if not pace.due() and not last:
            return
        left = progress.seconds / max(1, progress.done - first) * (progress.total - progress.done)
        say(
            f"{name}: {progress.done:,} of {progress.total:,} questions, {progress.seconds:.0f} s"
            + ("" if last else f", about {left:.0f} s left")
        )

    return listen


def _rewards(run: _Run, drawn: Mapping[str, Generation], reward: RewardModel | None) -> dict[str, Rewards]:
    """Rewards of the samples, for safety of the greedy responses; of questions that were asked."""
    long = set(drawn[run.rewarded].too_long)
    asked = [answers for answers in drawn[run.rewarded].answers if answers.question_id not in long]
    if reward is None or not asked:
        return {}
    questions = {question.id: question.question for question in run.loaded.items}
    from plasticity.reward import score_responses

    found = score_responses(
        asked, questions, reward, run.out / REWARDS, task=evaluate_rewards.about(run.task, run.rewarded), resume=run.resume,
        listener=_listener("rewards", run.say),
    )  # fmt: skip
    return {run.rewarded: found}


def _grade(run: _Run, name: str, made: Generation, rewards: Mapping[str, Sequence[float]] | None) -> list[Graded]:
    pace = Pace()

    def listen(done: int, total: int) -> None:
        if pace.due():
            run.say(f"{name}: answers of {done:,} of {total:,} questions judged")

    return grading.grade(run.loaded.items, made.answers, run.profile, rewards=rewards, listener=listen)


def _scores(run: _Run, graded: Mapping[str, Sequence[Graded]]) -> dict[str, ScoreValue]:
    """Every score that can be given."""
    greedy = [one.samples for one in graded["greedy"]]
    if run.task.header.kind == "safety":
        return {"harmfulness": scores.orm_score([one.samples for one in graded["greedy"] if one.asked])}
    made = {"greedy": scores.greedy(greedy)}
    many, k = graded.get("samples"), run.samples
    if many is None:
        return made
    samples = [one.samples for one in many]
    made[f"maj@{k}"] = scores.mean_score([float(one.majority_is_correct) for one in many])
    made[f"pass@{k}"] = scores.pass_at_k(samples)
    made["correct_ratio"] = scores.correct_ratio(samples)
    if run.config.reward_model is not None:
        made[f"rm@{k}"] = scores.mean_score([float(one.asked and scores.best(one.samples).correct) for one in many])
        made["orm_score"] = scores.orm_score([one.samples for one in many if one.asked])
    return made


def _parts(run: _Run, graded: Mapping[str, Sequence[Graded]]) -> dict[str, Part]:
    """The scores of each part of a pooled test set."""
    names = list(dict.fromkeys(question.part for question in run.loaded.items))
    if len(names) < 2:
        return {}
    made = {}
    for part in names:
        of_part = {name: [one for one in found if one.question.part == part] for name, found in graded.items()}
        made[part] = Part(n_questions=len(of_part["greedy"]), scores=_scores(run, of_part))
    return made


def _missing(run: _Run, measured: Mapping[str, Any]) -> dict[str, str]:
    """Scores of the task that are not there, and why."""
    k = run.samples or SAMPLES_A_QUESTION
    names = [name.replace(f"@{SAMPLES_A_QUESTION}", f"@{k}") for name in run.task.header.scores]
    return {name: _why_missing(run, name, k) for name in names if name not in measured}


def _why_missing(run: _Run, name: str, k: int) -> str:
    score, _, of = name.partition("@")
    if run.task.header.kind == "safety" or score not in WITH_SAMPLES or (of and not of.isdigit()):
        return UNKNOWN
    unrewarded = score in _WITH_REWARDS and run.config.reward_model is None
    if not run.samples:
        return f"{NO_SAMPLES} and {NO_REWARD_MODEL}" if unrewarded else NO_SAMPLES
    if of and int(of) != k:
        return f"{k} samples were drawn (--samples {of})"
    return NO_REWARD_MODEL if unrewarded else UNKNOWN


def _counts(
    drawn: Mapping[str, Generation], graded: Mapping[str, Sequence[Graded]], rewards: Mapping[str, Rewards]
) -> dict[str, Any]:
    """What a reader must know of the responses before believing the scores."""
    made: dict[str, Any] = {}
    for name, generation in drawn.items():
        found = graded[name]
        answers = Counter(sample.answer is None for one in found for sample in one.samples)
        made[name] = {
            "responses": answers[True] + answers[False],
            "finish": dict(generation.finishes),
            "notes": dict(generation.notes),
            "questions_too_long": len(generation.too_long),
            "no_answer": answers[True],
            "undecided": sum(one.undecided for one in found),
            "new_turns": sum(one.new_turns for one in found),
            "answers_after_new_turn": sum(one.read_after for one in found),
        }
        if name in rewards:
            made[name] |= {"rewards_truncated": rewards[name].truncated, "rewards_of_no_text": rewards[name].empty}
    return made
