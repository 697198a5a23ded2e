"""Learning rate against the step, as a share of its peak. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable

from alphadecay.config import TrainConfig


def warmup_steps(config: TrainConfig, steps: int) -> int:
    """Steps of linear warmup: `warmup` itself, or its share of all steps where it is under 1."""
    return int(config.warmup) if config.warmup >= 1 else round(config.warmup * steps)


def schedule(config: TrainConfig, steps: int) -> Callable[[int], float]:
    """Factor on the peak learning rate of the step with index t = 0, 1, ..., steps - 1 (`torch`'s LambdaLR counts so).

    Warmup: (t + 1)/w for t < w, so that the first step already moves. Then, with progress p in [0, 1] over the rest:
    cosine: floor + (1 - floor)(1 + cos pi p)/2; linear: 1 - (1 - floor) p; wsd: 1 until the last `decay_share` of all
    steps, then linear to the floor; constant: 1. The plasticity paper does not give the shape of wsd's decay: linear here.
    """
    warm = warmup_steps(config, steps)
    decaying = max(1, round(config.decay_share * steps))
    floor = config.floor

    def factor(t: int) -> float:
        if t < warm:
            return (t + 1) / warm
        if config.schedule == "constant":
            return 1.0
        if config.schedule == "wsd":
            p = min(1.0, max(0.0, (t - (steps - decaying)) / decaying))
            return 1.0 - (1.0 - floor) * p
        p = min(1.0, (t - warm) / max(1, steps - warm))
        if config.schedule == "linear":
            return 1.0 - (1.0 - floor) * p
        return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * p))

    return factor
