"""The decoding loop: one pass over the prompts, the cache spread over their samples, finished rows dropped.

R = rows, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plasticity.generate_choose import choose, slack_of
from plasticity.generate_model import CausalModel
from plasticity.generate_noise import gumbel
from plasticity.generate_options import Prompt, SamplingOptions, key
from plasticity.generate_plan import Share
from plasticity.responses import Response
from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch

_STOP_MARGIN = 8  # tokens: at its edges a stop string may share tokens with other text


@dataclass(kw_only=True)
class _Row:
    """One sample on its way."""

    prompt: Prompt
    sample: int
    room: int
    made: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """A model, what ends a response, and how tokens become text.

    Attributes:
        eos: tokens that end a response.
        exact: tokens that rounding could change are chosen again from the logits of the row run alone.
    """

    model: CausalModel
    tokenizer: Any
    eos: frozenset[int]
    exact: bool

    def run(self, shares: Sequence[Share], options: SamplingOptions) -> list[Response]:
        """Responses of all samples of all shares.

        Raises:
            SpectraError: the model gives logits that no token can be chosen from.
        """
        import torch

        with torch.inference_mode():
            rows = [
                _Row(prompt=share.prompt, sample=share.first + i, room=options.room(share.prompt))
                for share in shares
                for i in range(share.count)
            ]
            logits, cache, mask = self.model.prefill([share.prompt.ids for share in shares])
            spread = [i for i, share in enumerate(shares) for _ in range(share.count)]
            index = torch.tensor(spread, device=logits.device)
            cache.reorder_cache(index)
            logits, mask = logits[index], mask[index]
            seen = _seen(rows, logits) if options.repetition_penalty != 1 else None
            going = rows
            while True:
                tokens = self._tokens(logits, seen, going, options)
                for row, token in zip(going, tokens.tolist(), strict=True):
                    row.made.append(token)
                keep = [i for i, row in enumerate(going) if not self._ended(row, options)]
                if not keep:
                    break
                if len(keep) < len(going):
                    index = torch.tensor(keep, device=logits.device)
                    cache.reorder_cache(index)
                    tokens, mask, going = tokens[index], mask[index], [going[i] for i in keep]
                    seen = None if seen is None else seen[index]
                if seen is not None:
                    seen.scatter_(1, tokens[:, None], value=True)
                mask = torch.cat([mask, mask.new_ones(len(going), 1)], dim=1)
                logits, cache = self.model.step(tokens, cache, mask)
            return [self._response(row, options) for row in rows]

    def _tokens(
        self, logits: torch.Tensor, seen: torch.Tensor | None, rows: Sequence[_Row], options: SamplingOptions
    ) -> torch.Tensor:
        """The next token of each row, (R,)."""
        self._check(logits, rows)
        noise = None
        if options.temperature > 0:
            words = [key(options.seed, row.prompt.id, row.sample, len(row.made)) for row in rows]
            noise = gumbel(words, logits.shape[-1], logits.device)
        choice = choose(logits, seen, noise, options, slack_of(self.model.dtype))
        tokens = choice.tokens
        if self.exact:
            for i in (~choice.certain).nonzero()[:, 0].tolist():
                alone = self.model.alone([*rows[i].prompt.ids, *rows[i].made])
                row = slice(i, i + 1)
                tokens[i] = choose(
                    alone, None if seen is None else seen[row], None if noise is None else noise[row], options
                ).tokens[0]
        return tokens

    def _check(self, logits: torch.Tensor, rows: Sequence[_Row]) -> None:
        """Refuse NaN, and rows without a finite largest logit; a token may have -inf, which some models use to rule it out."""
        good = logits.amax(dim=-1).isfinite()  # NaN where any is
        if bool(good.all()):
            return
        row = rows[int((~good).nonzero()[0, 0])]
        half = self.model.dtype.itemsize < 4
        raise SpectraError(
            f"The logits are not finite at token {len(row.made) + 1} of the response to question {row.prompt.id!r}. The weights "
            "are damaged or their training diverged: copy the checkpoint again, or take an earlier one."
            + (f" Or {self.model.dtype} is too narrow for them: give --precision fp32." if half else "")
        )

    def _ended(self, row: _Row, options: SamplingOptions) -> bool:
        if row.made[-1] in self.eos or len(row.made) >= row.room:
            return True
        if not options.stop:
            return False
        # A stop string that ends here lies in the last tokens: a token is at least one byte, but for special ones.
        last = max(len(stop.encode()) for stop in options.stop) + _STOP_MARGIN
        return options.cut(self._text(row.made[-last:]))[1] and options.cut(self._text(row.made))[1]

    def _response(self, row: _Row, options: SamplingOptions) -> Response:
        ended = row.made[-1] in self.eos
        text, stopped = options.cut(self._text(row.made[:-1] if ended else row.made))
        limit = "length" if row.room == options.max_tokens else "window"
        return Response(
            question_id=row.prompt.id, sample=row.sample, text=text, tokens=len(row.made),
            finish="stop" if ended or stopped else limit,
        )  # fmt: skip

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _seen(rows: Sequence[_Row], logits: torch.Tensor) -> torch.Tensor:
    """Which tokens each row's prompt holds, (R, V)."""
    import torch

    seen = torch.zeros(len(rows), logits.shape[-1], dtype=torch.bool)
    for i, row in enumerate(rows):
        seen[i, list(row.prompt.ids)] = True
    return seen.to(logits.device)
