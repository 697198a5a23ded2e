"""Norms over many tensors, sharded ones included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def global_norm(tensors: Sequence[torch.Tensor]) -> float:
    """Square root of the sum of squares of all entries, in float32 at least; a collective where tensors are sharded."""
    import torch

    norms = [
        torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors
    ]
    whole = [norm.full_tensor() if hasattr(norm, "full_tensor") else norm for norm in norms]
    device = whole[0].device
    return float(torch.linalg.vector_norm(torch.stack([norm.to(device).double() for norm in whole])))
