"""Tasks whose responses are generated: one greedy response a question, k samples, their answers, rewards and scores."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity import grading, scores
from plasticity.evaluate_config import EvaluateConfig
from plasticity.grading import Graded
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
_EVERY_SECONDS = 10.0


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
        return 0 if self.task.header.kind == "safety" else self.config.samples


def evaluate(config: EvaluateConfig, task: Task, out: Path, resume: bool, say: Say) -> TaskResult:
    """Responses, answers, rewards and scores of one checkpoint; see `plasticity.evaluate.evaluate`."""
    from plasticity.generate_engines import engine_of
    from plasticity.identity import check_prompts, identity
    from plasticity.tasks.encoding import prompt_ids
    from plasticity.tasks.loading import load

    if task.header.kind == "safety" and config.reward_model is None:
        raise SpectraError(
            f"{task.header.name} is scored by a harmfulness model: name one with --reward-model, such as "
            "safepaca/absolute-harmfulness-predictor-redteam."
        )
    loaded = load(task, "test", Path(config.data) if config.data else None, config.limit)
    run = _Run(
        config=config, task=task, profile=profile(config.profile, task), loaded=loaded, out=out, resume=resume, say=say
    )
    reward = _reward(config)
    engine, base, facts = engine_of(config)
    known = identity(base)
    run = dataclasses.replace(run, window=engine.window)
    check_prompts(task, base.tokenizer, known["trained"])
    from plasticity.generate_options import Prompt

    prompts = [
        Prompt(id=q.id, text=task.prompt(q.question), ids=prompt_ids(task, q.question, base.tokenizer))
        for q in loaded.items
    ]
    make_folder(out)
    drawn = _responses(run, prompts, engine, known)
    del engine, base
    rewards = _rewards(run, drawn, reward)
    graded = {name: _grade(run, name, made, rewards.get(name)) for name, made in drawn.items()}
    grading.write_records(grading.records(graded["greedy"], graded.get("samples")), out / grading.NAME)
    measured = _scores(run, graded)
    files = [GREEDY, *([SAMPLES] if "samples" in drawn else []), *([REWARDS] if rewards else []), grading.NAME]
    return TaskResult(
        checkpoint=known, task=task.header.name, task_version=task.header.version, profile=config.profile, seed=config.seed,
        n_questions=len(loaded.items), scores=measured, parts=_parts(run, graded),
        baseline={name: value for name, value in task.header.baseline.items() if name in measured},
        missing=_missing(run, measured), counts=_counts(drawn, graded, rewards), data=dataclasses.asdict(loaded.report),
        settings={
            "greedy": dataclasses.asdict(_options(run, 0)),
            "samples": dataclasses.asdict(_options(run, run.samples)) if run.samples else None,
            "reward_model": dict(reward.describe()) if reward is not None else None,
        },
        files=tuple(files), provenance=facts,
    )  # fmt: skip


def _options(run: _Run, samples: int) -> SamplingOptions:
    """How responses are drawn: one greedily, or k at the temperature."""
    from plasticity.generate_options import SamplingOptions

    config = run.config
    windows = [window for window in (config.window, run.window) if window is not None]
    options = SamplingOptions(
        samples=samples or 1, temperature=config.temperature if samples else 0.0, max_tokens=config.max_tokens,
        seed=config.seed if samples else 0, window=min(windows, default=None),
    )  # fmt: skip
    return run.profile.sampling(options)


def _responses(run: _Run, prompts: Sequence[Prompt], engine: Engine, known: Mapping[str, Any]) -> dict[str, Generation]:
    """Greedy responses and samples, on disk as they come."""
    from plasticity.generate import generate

    header = run.task.header
    about = {
        "name": header.name, "version": header.version, "questions": run.loaded.report.fingerprint,
        "weights": known["weights_sha256"] or known["revision"],
    }  # fmt: skip
    made = {}
    for name, file, samples in (("greedy", GREEDY, 0), ("samples", SAMPLES, run.samples)):
        if name == "samples" and not samples:
            continue
        made[name] = generate(
            prompts, engine, _options(run, samples), run.out / file, task=about, resume=run.resume,
            listener=_listener(name, run.say),
        )  # fmt: skip
    return made


def _listener(name: str, say: Say) -> Callable[[Progress | RewardProgress], None]:
    """A line now and then: how far, and how long it still takes."""
    told, first = time.monotonic(), 0

    def listen(progress: Progress | RewardProgress) -> None:
        nonlocal told, first
        first = first or progress.done - 1
        last = progress.done == progress.total
        if not last and time.monotonic() - told < _EVERY_SECONDS:
            return
        told = time.monotonic()
        left = progress.seconds / max(1, progress.done - first) * (progress.total - progress.done)
        say(
            f"{name}: {progress.done:,} of {progress.total:,} questions, {progress.seconds:.0f} s"
            + ("" if last else f", about {left:.0f} s left")
        )

    return listen


def _reward(config: EvaluateConfig) -> RewardModel | None:
    """The reward model, before anything is generated: what is wrong with it must not show after hours."""
    if config.reward_model is None:
        return None
    from plasticity.reward import load_reward

    return load_reward(config.reward_model, template=config.reward_template, device=config.device)


def _rewards(run: _Run, drawn: Mapping[str, Generation], reward: RewardModel | None) -> dict[str, Rewards]:
    """Rewards of what is scored by them: the samples, or for safety the greedy responses."""
    if reward is None:
        return {}
    from plasticity.reward import score_responses

    name = "samples" if "samples" in drawn else "greedy"
    questions = {question.id: question.question for question in run.loaded.items}
    about = {"name": run.task.header.name, "version": run.task.header.version, "responses": name}
    made = score_responses(
        drawn[name].answers, questions, reward, run.out / REWARDS, task=about, resume=run.resume,
        listener=_listener("rewards", run.say),
    )  # fmt: skip
    return {name: made}


def _grade(run: _Run, name: str, made: Generation, rewards: Mapping[str, Sequence[float]] | None) -> list[Graded]:
    told = time.monotonic()

    def listen(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _EVERY_SECONDS:
            told = time.monotonic()
            run.say(f"{name}: answers of {done:,} of {total:,} questions judged")

    return grading.grade(run.loaded.items, made.answers, run.profile, rewards=rewards, listener=listen)


def _scores(run: _Run, graded: Mapping[str, Sequence[Graded]]) -> dict[str, ScoreValue]:
    """Every score that can be given."""
    greedy = [one.samples for one in graded["greedy"]]
    if run.task.header.kind == "safety":
        return {"harmfulness": scores.orm_score(greedy)}
    made = {"greedy": scores.greedy(greedy)}
    many, k = graded.get("samples"), run.samples
    if many is None:
        return made
    samples = [one.samples for one in many]
    made[f"maj@{k}"] = scores.mean_score([float(one.majority_is_correct) for one in many])
    made[f"pass@{k}"] = scores.pass_at_k(samples)
    made["correct_ratio"] = scores.correct_ratio(samples)
    if run.config.reward_model is not None:
        made[f"rm@{k}"] = scores.rm_at_k(samples)
        made["orm_score"] = scores.orm_score(samples)
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
    k = run.samples or 16
    names = [name.replace("@16", f"@{k}") for name in run.task.header.scores]
    return {
        name: NO_REWARD_MODEL if run.samples and name in {f"rm@{k}", "orm_score"} else NO_SAMPLES
        for name in names
        if name not in measured
    }


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
        }
        if name in rewards:
            made[name] |= {"rewards_truncated": rewards[name].truncated, "rewards_of_no_text": rewards[name].empty}
    return made
