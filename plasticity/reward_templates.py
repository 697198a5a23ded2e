"""What a reward model reads: the two known families, and a question with its response as text and as token ids.

Sources:
- `outcome`: the card of Skywork-Reward-Llama-3.1-8B-v0.2, and the scoring code of the plasticity paper's authors (their
  `evaluate_responses.py`): chat template as text, then tokenised, bfloat16. Neither cuts anything; the limit is ours. What is too
  long loses its beginning, because the reward is read at the last token.
- `harmfulness`: `HarmfulnessRewardModel.py` of github.com/vinid/safety-tuned-llamas (Bianchi et al. 2024): 512 tokens, what is
  longer loses its end (the tokenizer's default), logit 0, float32.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from spectra.errors import SpectraError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Side = Literal["left", "right"]
HUMAN_ASSISTANT = "\n\nHuman: {question}\n\nAssistant: {response}"
_DAY = datetime(2024, 7, 26, tzinfo=UTC)  # the day that Llama 3's templates fall back on
_DATE_CODES = ("-d", "-m", *"aAbBdejmyYHIMSpFT")
_FIELDS = ("question", "response")


@dataclass(frozen=True, kw_only=True)
class Family:
    """How a kind of reward model is used.

    Attributes:
        template: `chat` (the tokenizer's own), or a format string with {question} and {response}.
        max_tokens: most tokens of the whole text, special ones included.
        cut: the side that loses what is too long; None: the tokenizer's own `truncation_side`.
        logit: which output is the reward; None: the only one.
        gpu_dtype: precision on a GPU; on a CPU it is float32.
    """

    name: str
    template: str
    max_tokens: int
    cut: Side | None
    logit: int | None
    gpu_dtype: str = "bfloat16"


OUTCOME = Family(name="outcome", template="chat", max_tokens=4096, cut="left", logit=None)
HARMFULNESS = Family(
    name="harmfulness", template=HUMAN_ASSISTANT, max_tokens=512, cut="right", logit=0, gpu_dtype="float32"
)
_CUSTOM = Family(name="custom", template="", max_tokens=4096, cut=None, logit=None)


def family_of(source: str, template: str | None, tokenizer: PreTrainedTokenizerBase) -> tuple[Family, str]:
    """The family of a checkpoint, and by what it was chosen.

    Args:
        template: `chat`, `human_assistant`, or a format string with {question} and {response}; None: chosen by the source.

    Raises:
        SpectraError: an unknown template, a chat template that is not there, or nothing to choose by.
    """
    if template is None and "harmfulness-predictor" in source.lower():
        return HARMFULNESS, "its name has harmfulness-predictor"
    if template is None or template == "chat":
        if not tokenizer.chat_template:
            why = "is to be asked through the chat template of its tokenizer" if template else "is of no known family"
            raise SpectraError(
                f"{source} {why}, and its tokenizer has no chat template. Name the template it was trained with: "
                "human_assistant, or a text with {question} and {response}."
            )
        return OUTCOME, "asked for" if template else "its tokenizer has a chat template"
    if template == "human_assistant":
        return HARMFULNESS, "asked for"
    _check_format(template)
    return replace(_CUSTOM, template=template), "asked for"


def _check_format(template: str) -> None:
    try:
        found = [(field, spec, how) for _, field, spec, how in string.Formatter().parse(template) if field is not None]
    except ValueError:
        found = []
    if sorted({field for field, _, _ in found}) != list(_FIELDS) or any(spec or how for _, spec, how in found):
        raise SpectraError(
            f"The template {template!r} is unknown. Expected chat, human_assistant, or a text with {{question}} and {{response}} "
            "and no other braces (write {{ and }} for those that stay)."
        )


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Ids of one text, and whether it was cut to fit."""

    ids: tuple[int, ...]
    cut: bool


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A tokenizer with a template and a limit: question and response -> ids."""

    tokenizer: Any
    template: str
    max_tokens: int
    cut: Side

    def text(self, question: str, response: str) -> str:
        """The text before tokenisation, without a BOS that the tokenizer adds by itself.

        Raises:
            SpectraError: the chat template refuses, or leaves one of the two out.
        """
        if self.template != "chat":
            return self.template.format(question=question, response=response)
        text = self._chat(question, response)
        bos = self.tokenizer.bos_token
        if bos and text.startswith(bos) and self._adds_bos():
            return text.removeprefix(bos)
        return text

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """Ids of each pair, at most `max_tokens`; special tokens at either end are kept when a text is cut."""
        texts = [self.text(question, response) for question, response in pairs]
        whole = self.tokenizer(texts, verbose=False)["input_ids"] if texts else []
        return [
            Tokens(ids=tuple(ids), cut=False) if len(ids) <= self.max_tokens else self._shortened(text, ids)
            for text, ids in zip(texts, whole, strict=True)
        ]

    def check(self) -> None:
        """Look whether the template shows both question and response, and leaves room for them.

        Raises:
            SpectraError: it does not.
        """
        marks = ("which-question", "which-response")
        text = self.text(*marks)
        missing = [name for name, mark in zip(_FIELDS, marks, strict=True) if mark not in text]
        if missing:
            raise SpectraError(
                f"The chat template leaves the {' and the '.join(missing)} out: it gives {text!r}. Name another template."
            )
        [empty] = self.read([("", "")])
        if empty.cut:
            raise SpectraError(
                f"max_tokens is {self.max_tokens}, less than the template has without question and response. Raise it."
            )

    def day(self) -> str | None:
        """The day that a chat template which writes today's date is given, so that rewards do not change overnight."""
        return f"{_DAY:%Y-%m-%d}" if self.template == "chat" and "strftime_now" in self._source() else None

    def _source(self) -> str:
        source: str = self.tokenizer.get_chat_template()
        return source

    def _chat(self, question: str, response: str) -> str:
        from jinja2.exceptions import TemplateError

        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": response}]
        source = _clock() + self._source() if self.day() else None  # None: the tokenizer's own
        try:
            text: str = self.tokenizer.apply_chat_template(turns, tokenize=False, chat_template=source)
        except TemplateError as error:
            raise SpectraError(
                f"The chat template refuses a question and its response ({first_line(error)}). Name another template."
            ) from error
        return text

    def _adds_bos(self) -> bool:
        return list(self.tokenizer("a")["input_ids"][:1]) == [self.tokenizer.bos_token_id]

    def _shortened(self, text: str, whole: Sequence[int]) -> Tokens:
        were = self.tokenizer.truncation_side
        self.tokenizer.truncation_side = self.cut
        try:
            ids = list(self.tokenizer(text, truncation=True, max_length=self.max_tokens)["input_ids"])
        finally:
            self.tokenizer.truncation_side = were
        bos = self.tokenizer.bos_token_id
        if bos is not None and whole[0] == bos != ids[0]:  # one that stood in the text was cut off
            ids[0] = bos
        return Tokens(ids=tuple(ids), cut=True)


def _clock() -> str:
    """A macro for the head of a template that takes the place of transformers' `strftime_now`, and always says `_DAY`."""
    codes = "".join(f"|replace('%{code}', '{_DAY.strftime(f'%{code}')}')" for code in _DATE_CODES)
    return f"{{% macro strftime_now(format) %}}{{{{ format{codes} }}}}{{% endmacro %}}{{{{ '' }}}}"
