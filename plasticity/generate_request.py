"""What a completion request says, in the words that the server at hand knows.

OpenAI's own fields are few. Servers add fields for what else must be stated (`top_k`, `min_p`, repetition penalty), because they
have defaults of their own for it, and some refuse fields that they do not know. `full`: the fields of vLLM, SGLang and llama.cpp,
which ignore each other's. `transformers`: `transformers serve` refuses these but takes a `generation_config`, which says the
same, and makes it sample (without it, it is greedy at any temperature unless the model's generation config says `do_sample`).
`plain`: OpenAI's fields alone, for other servers that refuse the rest; what then is not stated is noted.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from plasticity.generate_options import Prompt, SamplingOptions, key
from spectra.errors import SpectraError

Dialect = Literal["full", "transformers", "plain"]

_ADDED = ("top_k", "min_p", "repetition_penalty", "repeat_penalty", "repeat_last_n", "add_special_tokens")


def body(
    model: str,
    prompt: str | list[int],
    options: SamplingOptions,
    *,
    asked: Prompt,
    first: int,
    n: int,
    dialect: Dialect,
) -> dict[str, Any]:
    """A request for samples `first` to `first + n - 1` of a prompt, sent as text or as tokens.

    Raises:
        SpectraError: `plain` cannot say what the options ask for.
    """
    common: dict[str, Any] = {
        "model": model,
        "prompt": prompt,
        "max_tokens": options.room(asked),
        "temperature": options.temperature,
        "top_p": options.top_p,
        "n": n,
        "seed": key(options.seed, asked.id, first)[0] >> 1,
        "stream": False,
    }
    if options.stop:
        common["stop"] = list(options.stop)
    if dialect == "transformers":
        return common | {"generation_config": json.dumps(_generation_config(options))}
    if dialect == "plain":
        _check_plain(options)
        return common
    return common | {
        "top_k": options.top_k or -1,  # -1: the whole vocabulary (vLLM before 0.9 and SGLang refuse 0)
        "min_p": 0.0,
        "repetition_penalty": options.repetition_penalty,  # vLLM, SGLang
        "repeat_penalty": options.repetition_penalty,  # llama.cpp
        "repeat_last_n": -1,
        "add_special_tokens": False,  # vLLM: no BOS
    }


def other_dialect(dialect: Dialect, said: str) -> Dialect | None:
    """The dialect to try next where a server refused a request with these words; None: the fields are not the reason."""
    if dialect == "full" and "Unexpected fields in the request" in said:
        return "transformers"
    named = ("generation_config",) if dialect == "transformers" else _ADDED if dialect == "full" else ()
    return "plain" if any(name in said for name in named) else None


def unstated(dialect: Dialect, options: SamplingOptions) -> str:
    """The note on answers to requests that could not state everything, or nothing."""
    if dialect != "plain":
        return ""
    names = "repetition_penalty" if options.temperature == 0 else "top_k, min_p, repetition_penalty"
    return f"unstated {names}: the server refuses these fields, its own defaults hold"


def _generation_config(options: SamplingOptions) -> dict[str, Any]:
    config: dict[str, Any] = {"num_beams": 1, "repetition_penalty": options.repetition_penalty}
    if options.temperature == 0:
        return config | {"do_sample": False}
    return config | {"do_sample": True, "top_k": options.top_k, "min_p": 0.0}


def _check_plain(options: SamplingOptions) -> None:
    wanted = {"top_k": options.top_k or None, "repetition_penalty": options.repetition_penalty}
    refused = [f"{name}={value}" for name, value in wanted.items() if value not in (None, 1.0)]
    if refused:
        raise SpectraError(
            f"The server refuses fields that are not OpenAI's, so {' and '.join(refused)} cannot be asked of it. Leave that at "
            "its default, or use a server that takes it (vLLM, SGLang, llama.cpp, transformers serve)."
        )
