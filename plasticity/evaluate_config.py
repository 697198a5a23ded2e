"""What is evaluated, how responses are drawn, and by which engine."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity.base_model import DEFAULT_MODEL
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.tasks.base import Header

LM_EVAL = "lm-eval:"
SAMPLES_A_QUESTION, TEMPERATURE, MAX_TOKENS = 16, 1.0, 1024
WITH_SAMPLES = ("maj", "pass", "rm", "correct_ratio", "orm_score")  # scores that are over samples
_OF_SAMPLES = ("samples", "temperature")
_OF_REWARDS = ("reward_model", "reward_template", "reward_logit")
_OF_RESPONSES = (*_OF_SAMPLES, "max_tokens", "profile", *_OF_REWARDS)
_OF_A_SERVER = ("served_model", "send", "concurrency")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """One evaluation: a checkpoint on a task. What would have no effect is refused, here or once the task is known.

    Attributes:
        task: one of ours, a user's (`tasks_dir`), or `lm-eval:NAME`.
        model: checkpoint (folder, hub id, GGUF file); with a server the tokenizer is read from it.
        data: file or folder with the test rows; None: the hub data set, or the task's generator.
        tasks_dir: folder of the user's own tasks; for `lm-eval:NAME` of lm-eval's YAML files.
        limit: questions at most: a random sample, always the same one (of cloze tasks the first, as lm-eval's).
        samples: responses a question at `temperature`, beside the greedy one; 0: greedy alone; None: 16, or
            0 where no score of the task is over samples.
        temperature: of the samples; None: 1.
        max_tokens: most tokens of a response, EOS included; None: 1024.
        window: most tokens of prompt and response; None: what the model was made for, which is the most.
        seed: of the samples.
        profile: `default`, or `evolm`: the paper's authors' harness.
        engine: `hf`: in this process; `server`: an OpenAI-compatible server at `base_url`.
        served_model: its name there; None: the only one that the server lists.
        send: what a server is sent: `text`, or token `ids` (vLLM, llama.cpp).
        concurrency: questions at once at a server.
        batch_size: most samples at once in this process, and texts at once in a reward model (there 16 at most); of cloze tasks,
            requests at once.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        precision: `auto`: float32 on a CPU, bfloat16 on a GPU that has it.
        reward_model: sequence classifier that scores responses; None: none, and no score that needs one.
        reward_template: how it reads a question and a response; None: as its kind does. A model of the other kind (outcome for
            safety, harmfulness for the rest) is taken only with a template.
        reward_logit: which of its outputs is the reward, counted from 0; None: as its kind has it.
    """

    task: str
    model: str = DEFAULT_MODEL
    data: str | None = None
    tasks_dir: str | None = None
    limit: int | None = None
    samples: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    window: int | None = None
    seed: int = 0
    profile: str = "default"
    engine: str = "hf"
    base_url: str | None = None
    served_model: str | None = None
    send: str = "text"
    concurrency: int = 16
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    reward_model: str | None = None
    reward_template: str | None = None
    reward_logit: int | None = None

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("samples", self.samples is None or self.samples >= 0, "0 (greedy alone) or more"),
            ("limit", self.limit is None or self.limit >= 1, "at least 1"),
            (
                "temperature",
                self.temperature is None or 0 < self.temperature < math.inf,
                "a number above 0 (the greedy response is always there)",
            ),
            ("max_tokens", self.max_tokens is None or self.max_tokens >= 1, "at least 1"),
            ("window", self.window is None or self.window >= 2, "at least 2"),
            ("concurrency", self.concurrency >= 1, "at least 1"),
            ("reward_logit", self.reward_logit is None or self.reward_logit >= 0, "0 or more"),
            ("engine", self.engine in {"hf", "server"}, "hf or server"),
            ("send", self.send in {"text", "ids"}, "text or ids"),
            ("batch_size", self.batch_size is None or self.batch_size >= 1, "at least 1"),
            ("precision", self.precision in {"auto", "fp32", "bf16", "fp16"}, "auto, fp32, bf16 or fp16"),
        ):
            if not good:
                option = name.replace("_", "-")
                raise SpectraError(f"--{option} is {getattr(self, name)!r}; expected {expected}.")
        if (self.engine == "server") != (self.base_url is not None):
            raise SpectraError(
                "--engine server needs --base-url, such as http://localhost:8000."
                if self.base_url is None
                else "--base-url is of a server: give --engine server with it."
            )
        self._check_effects()

    def _check_effects(self) -> None:
        """Refuse options that would be ignored, as far as that can be told without the task."""
        if self.engine != "server":
            self.refuse(_OF_A_SERVER, "no server is asked (--engine server)")
        else:
            rewards = self.reward_model is not None
            here = ("precision",) if rewards else ("precision", "device", "batch_size")
            self.refuse(here, "the model runs at the server, not in this process")
        if self.reward_model is None:
            self.refuse(("reward_template", "reward_logit"), "no reward model is named (--reward-model)")
        if self.samples == 0:
            self.refuse(("temperature",), "--samples 0 draws no samples")

    def refuse(self, names: tuple[str, ...], why: str) -> None:
        """Refuse those of the options that are given (differ from the default).

        Raises:
            SpectraError: one is.
        """
        default = {field.name: field.default for field in fields(self)}
        given = [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) != default[name]]
        if given:
            raise SpectraError(f"{', '.join(given)}: {why}. Leave {'it' if len(given) == 1 else 'them'} out.")

    @classmethod
    def applying(cls, **settings: Any) -> EvaluateConfig:
        """As the constructor, but settings that have no meaning for the task are left out: for one setting of many tasks.

        Of a cloze task and lm-eval's those of responses and rewards are left out; of safety those of samples; of greedy responses
        alone (`samples=0`) those of samples and rewards.

        Raises:
            SpectraError: there is no such task; what the constructor raises.
        """
        from plasticity.tasks.registry import get

        name, folder = settings["task"], settings.get("tasks_dir")
        kind = "cloze" if name.startswith(LM_EVAL) else get(name, Path(folder) if folder else None).header.kind
        without: tuple[str, ...] = {"cloze": _OF_RESPONSES, "safety": _OF_SAMPLES}.get(kind, ())
        if kind == "generation" and settings.get("samples") == 0:
            without = ("temperature", *_OF_REWARDS)
        return cls(**{key: value for key, value in settings.items() if key not in without})

    @property
    def lm_eval(self) -> str | None:
        """The name of lm-eval's task, where it is one of its own."""
        return self.task.removeprefix(LM_EVAL) if self.task.startswith(LM_EVAL) else None


def needs_samples(header: Header) -> bool:
    """Whether any score that a task's header asks for is over samples: only then they are drawn without being asked for."""
    return any(name.partition("@")[0] in WITH_SAMPLES for name in header.scores)


def check_window(asked: int | None, made_for: int | None) -> None:
    """Refuse a window that the model was not made for; None: not asked for, or not known.

    Raises:
        SpectraError: it is longer.
    """
    if asked is not None and made_for is not None and asked > made_for:
        raise SpectraError(
            f"--window is {asked}; the model was made for {made_for} tokens. Leave it out, or name fewer."
        )
