"""The engine at the other end of a connection: any OpenAI-compatible server (vLLM, SGLang, llama.cpp, transformers serve).

`POST {base_url}/v1/completions`, raw prompts, no chat template. Sampling is stated in full, because servers have defaults of
their own (vLLM the model's generation config, llama.cpp top_k 40 and min_p 0.05); `generate_request` says it in the server's
words. Servers that tokenise may put a BOS token before the prompt, which training did not; the answers are then not those of the
model in this process, and every question is noted (`prompt_tokens 21 there, 20 here`). vLLM and llama.cpp are sent tokens with
`send=ids`; for `transformers serve`, save the tokenizer without the BOS of its post-processor (`add_bos_token`) and serve that.
What a server makes of a seed, and whether its greedy responses depend on what else it serves, is the server's affair and not
guaranteed here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal

from plasticity.generate_http import Patience, RejectedError, post
from plasticity.generate_options import Prompt, SamplingOptions
from plasticity.generate_request import Dialect, body, other_dialect, unstated
from plasticity.generate_threads import in_threads
from plasticity.responses import Answers, Response
from spectra.errors import SpectraError

_HELD = (
    5  # so many questions with identical long samples, and none with different ones, are a server that does not sample
)
_LONG = 64  # characters; shorter responses can well be the same sixteen times


@dataclass(frozen=True, kw_only=True)
class ServerEngine:
    """A server and how to talk to it.

    Attributes:
        base_url: with or without `/v1`.
        model: name that the server knows the model by.
        window: context of the server's model, where known; a prompt that the server finds too long is an error otherwise.
        send: `text`: servers tokenise the prompt (a count that differs from ours is noted as `prompt_tokens`); `ids`: our tokens
            (vLLM, llama.cpp).
        concurrency: questions at once.
        key_variable: environment variable of the API key; not set: none is sent.
    """

    base_url: str
    model: str
    window: int | None = None
    send: Literal["text", "ids"] = "text"
    concurrency: int = 16
    patience: Patience = field(default_factory=Patience)
    key_variable: str = "OPENAI_API_KEY"

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise SpectraError(f"The server's address is {self.base_url!r}; expected one like http://localhost:8000.")
        if self.send not in {"text", "ids"} or self.concurrency < 1:
            raise SpectraError(
                f"send={self.send!r}, concurrency={self.concurrency}; expected text or ids, and at least 1 question at once."
            )

    def describe(self) -> Mapping[str, Any]:
        """The model and what it is sent; not the address, which may change between runs."""
        return {"kind": "server", "model": self.model, "send": self.send}

    def run(self, prompts: Sequence[Prompt], options: SamplingOptions, done: Set[str]) -> Iterator[Answers]:
        """Answers as they come. Identical long samples are held back until another question shows that the server samples."""
        stopped = threading.Event()
        run = _Run(engine=self, options=options, stopped=stopped)
        held: list[Answers] = []
        samples = False
        for answers in in_threads(run.ask, [p for p in prompts if p.id not in done], self.concurrency, stopped):
            same = "identical" in answers.notes
            samples = samples or (options.samples > 1 and not same)
            if same and not samples and min(len(r.text) for r in answers.responses) >= _LONG:
                held.append(answers)
                if len(held) >= _HELD:
                    raise SpectraError(
                        f"{_HELD} questions got {options.samples} identical samples each at temperature {options.temperature:g}, "
                        f"and none got different ones: {self.base_url} does not sample, and these are not recorded. Configure "
                        "it to sample (transformers serve: do_sample in the generation config), then resume."
                    )
                continue
            if samples:
                yield from held
                held = []
            yield answers
        yield from held


@dataclass(kw_only=True)
class _Run:
    """What the threads of one run share."""

    engine: ServerEngine
    options: SamplingOptions
    stopped: threading.Event
    many: bool = True  # whether the server gives several samples a request
    dialect: Dialect = "full"  # until the server refuses it

    def ask(self, prompt: Prompt) -> Answers:
        """All samples of one question."""
        wanted = self.options.samples
        found = self._request(prompt, 0, wanted if self.many else 1)
        if len(found) < wanted:
            self.many = False
        for sample in range(len(found), wanted):
            found += self._request(prompt, sample, 1)
        notes = sorted({unstated(self.dialect, self.options), *(note for _, note in found)} - {""})
        responses = tuple(response for response, _ in found)
        if wanted > 1 and len({r.text for r in responses}) == 1:
            notes.insert(0, "identical")
        return Answers(question_id=prompt.id, responses=responses, notes=tuple(notes))

    def _request(self, prompt: Prompt, first: int, n: int) -> list[tuple[Response, str]]:
        """Up to n samples from number `first` on, each with a note or none."""
        base = self.engine.base_url.rstrip("/").removesuffix("/v1")
        secret = os.environ.get(self.engine.key_variable)
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        url = f"{base}/v1/completions"
        dialect = self.dialect
        sent = body(
            self.engine.model, prompt.text if self.engine.send == "text" else list(prompt.ids), self.options,
            asked=prompt, first=first, n=n, dialect=dialect,
        )  # fmt: skip
        try:
            found = post(url, sent, headers, self.engine.patience, self.stopped)
        except RejectedError as error:
            other = other_dialect(dialect, str(error))
            if other is not None:
                self.dialect = other
                return self._request(prompt, first, n)
            if n > 1:  # some servers refuse n; if that was not it, the next answer says so
                return self._request(prompt, first, 1)
            raise SpectraError(
                f"Question {prompt.id!r}: {error} The prompt has {len(prompt.ids)} tokens and up to "
                f"{self.options.room(prompt)} were asked for; state the server's window if that is too many."
            ) from error
        return self._read(url, prompt, first, n, found)

    def _read(
        self, url: str, prompt: Prompt, first: int, n: int, found: Mapping[str, Any]
    ) -> list[tuple[Response, str]]:
        choices = found.get("choices")
        good = isinstance(choices, list) and choices and all(isinstance(c, dict) for c in choices)
        if not good or not all(isinstance(c.get("text"), str) for c in choices or ()):
            raise SpectraError(
                f"POST {url} answered {str(dict(found))[:300]}; expected `choices` with a `text` each. Look whether the server "
                "offers /v1/completions."
            )
        usage = found.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        theirs, ours = usage.get("prompt_tokens"), len(prompt.ids)
        note = "" if theirs in (None, ours, ours * n) else f"prompt_tokens {theirs} there, {ours} here"
        used = usage.get("completion_tokens")
        tokens = used if len(choices or ()) == 1 and isinstance(used, int) else None
        read = []
        for i, choice in enumerate((choices or [])[:n]):
            text, stopped = self.options.cut(choice["text"])
            finish = "stop" if stopped else str(choice.get("finish_reason") or "unknown")
            limited = self.options.room(prompt) < self.options.max_tokens
            response = Response(
                question_id=prompt.id, sample=first + i, text=text, tokens=tokens,
                finish="window" if finish == "length" and limited else finish,
            )  # fmt: skip
            read.append((response, note))
        return read
