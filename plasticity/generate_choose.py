"""From logits to a token, and whether rounding could have made it another one. R = rows, V = vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plasticity.generate_options import SamplingOptions

if TYPE_CHECKING:
    import torch

# Logits of a row in a batch differ from those of the row alone by rounding: about 1e-6 of the largest in float32.
SLACK = 1e-5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Tokens (R,), and whether each would be the same if every score were off by the slack (R,)."""

    tokens: torch.Tensor
    certain: torch.Tensor


def choose(
    logits: torch.Tensor, seen: torch.Tensor | None, noise: torch.Tensor | None, options: SamplingOptions
) -> Choice:
    """The likeliest token of each row, or with Gumbel noise a sample.

    Order as in transformers: repetition penalty, temperature, top_k, top_p. Tokens tied at a cut are all kept.

    Args:
        logits: (R, V).
        seen: tokens of prompt and response so far, (R, V) boolean; None: no repetition penalty.
        noise: (R, V); None: greedy.
    """
    import torch

    scores = logits.float()
    if seen is not None:
        penalty = options.repetition_penalty
        scores = torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)
    if options.temperature > 0:
        scores = scores / options.temperature
    slack = SLACK * torch.where(scores.isfinite(), scores, 0.0).abs().amax(dim=-1, keepdim=True)  # (R, 1)
    drawn = scores if noise is None else scores + noise
    if noise is None or (options.top_k == 0 and options.top_p == 1):
        best = drawn.topk(2, dim=-1)
        gap = best.values[:, 0] - best.values[:, 1]
        return Choice(tokens=drawn.argmax(dim=-1), certain=gap > 2 * slack[:, 0])
    loose = drawn.masked_fill(scores < _cut(scores, slack, options) - slack, -torch.inf)
    tight = drawn.masked_fill(scores <= _cut(scores, -slack, options) + slack, -torch.inf)
    best = loose.topk(2, dim=-1)
    certain = (best.values[:, 0] - best.values[:, 1] > 2 * slack[:, 0]) & (loose.argmax(-1) == tight.argmax(-1))
    exact = drawn.masked_fill(scores < _cut(scores, torch.zeros_like(slack), options), -torch.inf)
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
