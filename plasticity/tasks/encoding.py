"""Text to token ids, the same for training and evaluation: prompt and response tokenised apart, EOS after the response.

No BOS: the authors of the plasticity paper add none in training, but their evaluation does; here both see the same prompt ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spectra.errors import SpectraError

from .base import Example, Task
from .user_code import expect, named

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Token ids of one example; the loss is on `response_ids` alone, whose last is EOS."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


def prompt_ids(task: Task, question: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What a model sees before its response."""
    what = f"the question {question[:60]!r}"
    with named(task, "prompt", what):
        text = task.prompt(question)
    expect(task, "prompt", what, text, str, "a text (str)")
    return _ids(text, tokenizer)


def encode(task: Task, example: Example, tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Ids of an example.

    Raises:
        SpectraError: the tokenizer has no EOS, or the response has no tokens.
    """
    if tokenizer.eos_token_id is None:
        raise SpectraError(
            f"The tokenizer {tokenizer.name_or_path or type(tokenizer).__name__} has no EOS token, which ends every response. "
            "Set eos_token in its tokenizer_config.json."
        )
    with named(task, "completion", f"example {example.id}"):
        text = task.completion(example.response)
    expect(task, "completion", f"example {example.id}", text, str, "a text (str)")
    response = _ids(text, tokenizer)
    if not example.response.strip() or not response:
        raise SpectraError(
            f"Example {example.id} of {task.header.name} has no target tokens: its response is {example.response!r}. "
            "Drop the row in the task's example()."
        )
    return Encoded(
        prompt_ids=prompt_ids(task, example.question, tokenizer), response_ids=(*response, int(tokenizer.eos_token_id))
    )


def encode_all(
    task: Task, examples: Iterable[Example], tokenizer: PreTrainedTokenizerBase, window: int
) -> tuple[list[Example], list[Encoded], int]:
    """The examples that fit into `window` tokens, their ids, and how many do not: these are left out, never cut (paper, C.2).

    Raises:
        SpectraError: as `encode`, or none fits.
    """
    kept, encoded, too_long = [], [], 0
    for example in examples:
        made = encode(task, example, tokenizer)
        if len(made) <= window:
            kept.append(example)
            encoded.append(made)
        else:
            too_long += 1
    if not kept:
        raise SpectraError(
            f"None of {too_long} examples of {task.header.name} fits into {window} tokens. Choose a larger window."
        )
    return kept, encoded, too_long


def _ids(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """No special token is added, and one that occurs in the data (`</s>`) is read as text, so that no row ends early."""
    # verbose: the library warns of long texts, which are left out here
    return tuple(tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"])
