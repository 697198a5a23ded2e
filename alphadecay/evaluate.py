"""Mean loss of a language model over windows: every token counts the same, whatever the batches and processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Mean cross entropy in nats a token, over `tokens` predicted tokens."""

    mean: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """exp(mean); infinite where that overflows."""
        return math.exp(self.mean) if self.mean < 700 else math.inf


def mean_loss(model: Any, windows: Any, batch_size: int, device: torch.device, *, autocast: bool = False) -> Loss:
    """Token-weighted mean loss over `windows` (a dataset of {"input_ids", "labels", ...}); each process takes its share.

    Logits are taken to float32 before the loss. Collective under several processes.
    """
    import torch
    import torch.distributed as dist
    from torch.nn import functional

    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    rank, world = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
    mine = range(rank * batch_size, len(windows), world * batch_size)
    total, tokens = torch.zeros(2, dtype=torch.float64, device=device)
    was_training = model.training
    model.eval()
    rounds = -(-len(windows) // (world * batch_size))  # every process runs as many forwards: FSDP's are collective
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        for number in range(rounds):
            start = mine[number] if number < len(mine) else None
            indices = range(start, min(start + batch_size, len(windows))) if start is not None else range(1)
            items = [windows[i] for i in indices]
            batch = {key: torch.stack([item[key] for item in items]).to(device) for key in items[0]}
            labels = batch.pop("labels")[:, 1:]
            logits = model(**batch).logits[:, :-1].float()
            if start is None:
                continue
            total += functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum"
            )
            tokens += (labels != -100).sum()
    if was_training:
        model.train()
    summed = torch.stack([total, tokens])
    if several:
        dist.all_reduce(summed)
    count = int(summed[1].item())
    return Loss(mean=float(summed[0].item()) / count if count else math.nan, tokens=count)
