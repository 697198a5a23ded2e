"""How the cells of an experiment score a checkpoint on a task: what they are told, and what of it decides the scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity import experiment_content, experiment_paths
from plasticity.experiment import Experiment, TaskData, copying
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


def elsewhere(experiment: Experiment, names: Iterable[str]) -> dict[str, str]:
    """Task -> why it cannot be run as it is asked for: its data are not on the hub, and none are named. Others are left out.

    Tasks of the same data have the same reason, which names them all.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        if experiment.tasks.get(name, TaskData()).data is None:
            header = task_of(experiment, name).header
            places = tuple(dict.fromkeys(one.url for one in (*header.train, *header.test) if one.url))
            if places:
                alike.setdefault(places, []).append(name)
    return {name: _lacking(experiment, places, tasks) for places, tasks in alike.items() for name in tasks}


def _lacking(experiment: Experiment, places: Sequence[str], tasks: Sequence[str]) -> str:
    """What is not there of tasks of the same data, and what to do."""
    named = ", ".join(f"{name}: {{data: FOLDER}}" for name in tasks)
    who = "it" if len(tasks) == 1 else "them"
    return (
        f"the data of {_joined(tasks)} are not on the hub, but at {_joined(places)}. Name their folder (tasks: {{{named}}}), or "
        f"leave {who} out.{copying(experiment.name)}"
    )


def _joined(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


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
