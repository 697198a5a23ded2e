"""Gumbel noise by counter: what is drawn for (seed, question, sample, position, token) is a hash of these, and of nothing else.

argmax(logits / T + noise) is then a sample of softmax(logits / T) that no batch, order or device can change (other than by
rounding). No generator holds a state, so a resumed or regrouped run draws the same. R = rows, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_MASK = 0xFFFFFFFF
_MULTIPLIER = 0x45D9F3B  # T. Mueller's 32-bit mixer; below 2^31, so that a product of 32-bit words stays inside int64


def _mix(x: torch.Tensor) -> torch.Tensor:
    """A 32-bit integer hash, in int64."""
    x = ((x >> 16) ^ x) * _MULTIPLIER & _MASK
    x = ((x >> 16) ^ x) * _MULTIPLIER & _MASK
    return (x >> 16) ^ x


def gumbel(words: Sequence[tuple[int, int]], vocabulary: int, device: torch.device) -> torch.Tensor:
    """Standard Gumbel noise, float32, (R, V).

    Args:
        words: two 32-bit words a row (`generate_options.key`).

    The uniforms have 32 bits: a token less likely than about 2^-32 is never drawn.
    """
    import torch

    keys = torch.tensor(words, dtype=torch.int64, device=device)  # (R, 2)
    x = _mix(torch.arange(vocabulary, device=device) ^ keys[:, :1])
    x = _mix((x + keys[:, 1:]) & _MASK)
    # The winning tokens have a small exponential, so that one is computed precisely: -log(1 - v), v small.
    v = (x.to(torch.float32) + 0.5) * 2.0**-32
    return -torch.log(-torch.log1p(-v.clamp(max=1 - 2.0**-24)))
