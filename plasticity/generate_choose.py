"""From logits to a token, and whether rounding could have made it another one. R = rows, V = vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plasticity.generate_options import SamplingOptions

if TYPE_CHECKING:
    import torch

SLACK = 1e-5  # of the largest logit; in float32 a row in a batch and the row alone differ by about 1e-6 of it
_HALF_SLACK = 2.5  # in units of the precision's own step: 0.02 in bf16, 0.0025 in fp16


def slack_of(dtype: torch.dtype) -> float:
    """How far rounding may put the logits of a model off, relative to the largest."""
    import torch

    return max(SLACK, _HALF_SLACK * torch.finfo(dtype).eps)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Tokens (R,), and whether each would be the same if every score were off by the slack (R,)."""

    tokens: torch.Tensor
    certain: torch.Tensor


def choose(
    logits: torch.Tensor,
    seen: torch.Tensor | None,
    noise: torch.Tensor | None,
    options: SamplingOptions,
    slack: float = SLACK,
) -> Choice:
    """The likeliest token of each row, or with Gumbel noise a sample.

    Order as in transformers: repetition penalty, temperature, top_k, top_p. Tokens tied at a cut are all kept.

    Args:
        logits: (R, V).
        seen: tokens of prompt and response so far, (R, V) boolean; None: no repetition penalty.
        noise: (R, V); None: greedy.
        slack: what rounding may do, relative to the largest score of a row.
    """
    import torch

    scores = logits.float()
    if seen is not None:
        penalty = options.repetition_penalty
        scores = torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)
    if options.temperature > 0:
        scores = scores / options.temperature
    off = slack * torch.where(scores.isfinite(), scores, 0.0).abs().amax(dim=-1, keepdim=True)  # (R, 1)
    drawn = scores if noise is None else scores + noise
    if noise is None or (options.top_k == 0 and options.top_p == 1):
        best = drawn.topk(2, dim=-1)
        gap = best.values[:, 0] - best.values[:, 1]
        return Choice(tokens=drawn.argmax(dim=-1), certain=gap > 2 * off[:, 0])
    loose = drawn.masked_fill(scores < _cut(scores, off, options) - off, -torch.inf)
    tight = drawn.masked_fill(scores <= _cut(scores, -off, options) + off, -torch.inf)
    best = loose.topk(2, dim=-1)
    certain = (best.values[:, 0] - best.values[:, 1] > 2 * off[:, 0]) & (loose.argmax(-1) == tight.argmax(-1))
    exact = drawn.masked_fill(scores < _cut(scores, torch.zeros_like(off), options), -torch.inf)
    return Choice(tokens=exact.argmax(dim=-1), certain=certain)


def _cut(scores: torch.Tensor, slack: torch.Tensor, options: SamplingOptions) -> torch.Tensor:
    """The lowest score that top_k and then top_p keep, (R, 1); `slack` moves top_p by what rounding could."""
    import torch

    ordered = scores.sort(dim=-1, descending=True).values
    if 0 < options.top_k < ordered.shape[-1]:
        ordered = ordered.masked_fill(ordered < ordered[:, options.top_k - 1, None], -torch.inf)
    p = ordered.softmax(dim=-1)
    kept = (p.cumsum(dim=-1) - p < options.top_p + 2 * slack) & (ordered > -torch.inf)
    kept[:, 0] = True
    return ordered.masked_fill(~kept, torch.inf).amin(dim=-1, keepdim=True)
