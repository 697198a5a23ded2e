"""How the cells of an experiment score a checkpoint on a task: what they are told, and what of it decides the scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity import experiment_content, experiment_paths
from plasticity.experiment import Experiment, TaskData
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.tasks.base import Task

_DECISIVE = ("limit", "samples", "max_tokens", "profile", "seed")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`told`: settings of `EvaluateConfig`, with `version` and `files` (contents) beside them; `said`: what decides the scores."""

    told: dict[str, Any]
    said: dict[str, Any]


def task_of(experiment: Experiment, name: str) -> Task:
    """A task by its name.

    Raises:
        SpectraError: there is none.
    """
    from plasticity.tasks.registry import get

    folder = experiment.tasks_dir
    return get(name, Path(folder) if folder else None, where="the key tasks_dir: of the experiment")


def evaluation(experiment: Experiment, name: str, data: TaskData) -> Evaluation:
    """How a task is scored.

    Raises:
        SpectraError: there is no such task; its data or a reward model that it needs are missing; a setting is wrong.
    """
    from plasticity.evaluate_config import SAMPLES_A_QUESTION, EvaluateConfig, needs_samples

    score, task = experiment.evaluate, task_of(experiment, name)
    header = task.header
    needed = needs_samples(header) or header.kind != "generation"  # the other kinds draw none, whatever it says
    usual = SAMPLES_A_QUESTION if needed else 0
    reward, content = _reward_model(experiment, name, data)
    if header.kind == "safety" and reward is None:
        raise SpectraError(
            f"tasks.{name} is scored by a reward model, and none is named. Name one: tasks: {{{name}: {{reward_model: ...}}}}."
        )
    files = {"data": experiment_content.rows(data.data, f"tasks.{name}.data"), "task": experiment_content.task(task)}
    told = {
        "task": name, "data": data.data, "tasks_dir": experiment.tasks_dir,
        "samples": usual if score.samples is None else score.samples,
        "limit": score.limit, "max_tokens": score.max_tokens, "profile": score.profile, "reward_model": reward,
        "seed": score.seed,
    }  # fmt: skip
    applied = EvaluateConfig.applying(**told)
    said = {key: getattr(applied, key) for key in _DECISIVE}
    said |= {"task": name, "version": header.version, "files": files}
    said |= {"reward_model": None if applied.reward_model is None else content}
    return Evaluation(told=told | {"version": header.version, "files": files}, said=said)


def elsewhere(experiment: Experiment, name: str) -> str | None:
    """Why a task cannot be run as it is asked for: its data are not on the hub, and none are named; None: it can."""
    if experiment.tasks.get(name, TaskData()).data is not None:
        return None
    header = task_of(experiment, name).header
    places = dict.fromkeys(one.url for one in (*header.train, *header.test) if one.url)
    if not places:
        return None
    return (
        f"its data are not on the hub, but at {' and '.join(places)}. Name their folder (tasks: {{{name}: {{data: FOLDER}}}}), or "
        f"leave {name} out."
    )


def _reward_model(experiment: Experiment, name: str, data: TaskData) -> tuple[str | None, Any]:
    """Where it is, and what it is.

    Raises:
        SpectraError: it looks like a path, and there is nothing.
    """
    for where, source in (
        (f"tasks.{name}.reward_model", data.reward_model),
        ("evaluate.reward_model", experiment.evaluate.reward_model),
    ):
        if source is not None:
            path = experiment_paths.check(source, where, "reward model")
            return source if path is None else str(path), experiment_content.named(source)
    return None, None
