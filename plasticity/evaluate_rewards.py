"""The reward model of an evaluation: looked at before anything is generated, and still on the CPU then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plasticity.evaluate_config import EvaluateConfig
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.reward import RewardModel
    from plasticity.tasks.base import Task

_BATCH = 16  # texts at once, where --batch-size is not less


def load(config: EvaluateConfig, task: Task) -> RewardModel | None:
    """The reward model that is asked for, still on the CPU: what is wrong with it must not show after hours.

    Raises:
        SpectraError: it cannot be used, its device is not there, or it is of the other kind than the task needs.
    """
    if config.reward_model is None:
        return None
    from plasticity.reward import load_reward

    made = load_reward(
        config.reward_model, template=config.reward_template, logit=config.reward_logit, device=config.device,
        batch_size=min(_BATCH, config.batch_size or _BATCH), wait=True,
    )  # fmt: skip
    kind, wanted = made.describe()["family"], "harmfulness" if task.header.kind == "safety" else "outcome"
    if kind != wanted and config.reward_template is None:
        raise SpectraError(
            f"{config.reward_model} is taken for a reward model of the kind {kind}, and {task.header.name} is scored by one of "
            f"the kind {wanted}. Name another with --reward-model; if it is one, say with --reward-template how it reads question "
            "and response: chat, human_assistant, or a text."
        )
    return made


def about(task: Task, responses: str) -> dict[str, Any]:
    """What the header of the file of rewards says of the task; `responses`: `greedy` or `samples`."""
    return {"name": task.header.name, "version": task.header.version, "responses": responses}
