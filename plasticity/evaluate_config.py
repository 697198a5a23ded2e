"""What is evaluated, how responses are drawn, and by which engine."""

from __future__ import annotations

from dataclasses import dataclass

from plasticity.base_model import DEFAULT_MODEL
from spectra.errors import SpectraError

LM_EVAL = "lm-eval:"


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """One evaluation: a checkpoint on a task.

    Attributes:
        task: one of ours, a user's (`tasks_dir`), or `lm-eval:NAME`.
        model: checkpoint (folder, hub id, GGUF file); with a server the tokenizer is read from it.
        data: file or folder with the test rows; None: the hub data set, or the task's generator.
        tasks_dir: folder of the user's own tasks; for `lm-eval:NAME` of lm-eval's YAML files.
        limit: questions at most, in turn over the parts of a pooled test set.
        samples: responses a question at `temperature`, beside the greedy one; 0: greedy alone.
        temperature: of the samples.
        max_tokens: most tokens of a response, EOS included.
        window: most tokens of prompt and response; None: what the model was made for.
        seed: of the samples.
        profile: `default`, or `evolm`: the paper's authors' harness.
        engine: `hf`: in this process; `server`: an OpenAI-compatible server at `base_url`.
        served_model: its name there; None: the only one that the server lists.
        send: what a server is sent: `text`, or token `ids` (vLLM, llama.cpp).
        concurrency: questions at once at a server.
        batch_size: most samples at once in this process; of cloze tasks, requests at once.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        precision: `auto`: float32 on a CPU, bfloat16 on a GPU that has it.
        reward_model: sequence classifier that scores responses; None: none, and no score that needs one.
        reward_template: how it reads a question and a response; None: as its kind does.
    """

    task: str
    model: str = DEFAULT_MODEL
    data: str | None = None
    tasks_dir: str | None = None
    limit: int | None = None
    samples: int = 16
    temperature: float = 1.0
    max_tokens: int = 1024
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

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("samples", self.samples >= 0, "0 (greedy alone) or more"),
            ("limit", self.limit is None or self.limit >= 1, "at least 1"),
            ("temperature", self.temperature > 0, "above 0 (the greedy response is always there)"),
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

    @property
    def lm_eval(self) -> str | None:
        """The name of lm-eval's task, where it is one of its own."""
        return self.task.removeprefix(LM_EVAL) if self.task.startswith(LM_EVAL) else None
