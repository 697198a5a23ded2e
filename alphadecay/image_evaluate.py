"""Loss and top-1 accuracy of an image classifier: every image counts once, whatever the batches and processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def evaluate(model: Any, images: Any, batch_size: int, device: torch.device, autocast: bool) -> dict[str, float]:
    """Mean cross entropy (nats an image), share of images whose most likely class is right, and their number.

    `images`: items {"pixel_values" (3, S, S), "labels" ()}. Each process takes its share; collective under several. Logits
    are taken to float32 first.
    """
    import torch
    import torch.distributed as dist
    from torch.nn import functional

    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    rank, world = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # loss, right, images
    dtype = next(model.parameters()).dtype
    was_training = model.training
    model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        for first in range(0, len(images), world * batch_size):
            start = first + rank * batch_size
            mine = range(start, min(start + batch_size, len(images)))
            # Every process runs as many forwards (FSDP's are collective): one without images left repeats the first.
            items = [images[i] for i in mine or range(1)]
            batch = {key: torch.stack([item[key] for item in items]).to(device) for key in items[0]}
            logits = model(pixel_values=batch["pixel_values"].to(dtype)).logits.float()
            if not mine:
                continue
            labels = batch["labels"]
            sums[0] += functional.cross_entropy(logits, labels, reduction="sum")
            sums[1] += (logits.argmax(1) == labels).sum()
            sums[2] += len(labels)
    if was_training:
        model.train()
    if several:
        dist.all_reduce(sums)
    loss, right, count = (float(value) for value in sums)
    return {"loss": loss / count, "accuracy": right / count, "images": count}
