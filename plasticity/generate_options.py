"""What is asked of a model: the prompt as ids, how to sample, how long, and what happens to a prompt that does not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spectra.errors import SpectraError


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt, tokenised by the caller exactly as in training: no engine adds a BOS token or a template.

    Attributes:
        id: of the question; unique in a run.
        text: the prompt as text, sent to servers.
        ids: its tokens, fed to a model of our own, and counted against the window.
    """

    id: str
    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How responses are drawn.

    Attributes:
        samples: responses a question.
        temperature: 0: greedy.
        top_p, top_k: nucleus and cut; 1 and 0: the whole distribution, whatever a generation config says.
        max_tokens: most tokens of a response, the EOS token included.
        seed: of the samples; greedy responses do not depend on it.
        repetition_penalty: logits of tokens of the prompt and the response so far are divided by it (multiplied where negative).
        stop: the response ends before the first of these strings.
        window: most tokens of prompt and response together; None: what the model was made for.
        too_long: what happens to a prompt that leaves no room for one token. `skip`: its responses are empty and say
            `too_long`; `refuse`: nothing is generated at all. No prompt is ever cut.
    """

    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 512
    seed: int = 0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    window: int | None = None
    too_long: Literal["skip", "refuse"] = "skip"

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("samples", self.samples >= 1, "at least 1"),
            ("temperature", 0 <= self.temperature < float("inf"), "0 (greedy) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k >= 0, "0 (no cut) or more"),
            ("max_tokens", self.max_tokens >= 1, "at least 1"),
            ("repetition_penalty", 0 < self.repetition_penalty < float("inf"), "above 0 (1: none)"),
            ("stop", all(self.stop), "strings that are not empty"),
            ("window", self.window is None or self.window >= 2, "at least 2"),
            ("too_long", self.too_long in {"skip", "refuse"}, "skip or refuse"),
        ):
            if not good:
                raise SpectraError(f"{name} is {getattr(self, name)!r}; expected {expected}.")
        if self.temperature == 0 and self.samples > 1:
            raise SpectraError(
                f"{self.samples} samples at temperature 0 are the same response {self.samples} times; "
                "ask for 1 sample, or give a temperature above 0."
            )

    def room(self, prompt: Prompt) -> int:
        """Tokens that a response to this prompt may have; 0: too long."""
        if self.window is None:
            return self.max_tokens
        return max(0, min(self.max_tokens, self.window - len(prompt.ids)))

    def cut(self, text: str) -> tuple[str, bool]:
        """The text before the first stop string, and whether there was one."""
        found = [at for at in (text.find(stop) for stop in self.stop) if at >= 0]
        return (text[: min(found)], True) if found else (text, False)


def key(seed: int, question: str, *numbers: int) -> tuple[int, int]:
    """Two 32-bit words that depend on nothing but these: what is drawn for a token depends on no other question or sample."""
    name = "\0".join([str(seed), question, *map(str, numbers)])
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def fingerprint(prompts: Sequence[Prompt]) -> str:
    """SHA-256 of ids, texts and tokens, in order."""
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(repr((prompt.id, prompt.text, tuple(prompt.ids))).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
