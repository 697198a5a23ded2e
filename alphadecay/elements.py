"""AdaDecay's decay of single elements. Source: Nakamura and Hong 2019 (IEEE Access 7), eq. 9 to 11."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def element_factors(gradient: torch.Tensor, steepness: float) -> torch.Tensor:
    """2/(1 + exp(-beta z)), z the |gradient| standardised (population sd) over the entries of one weight; 1 where sd is 0."""
    import torch

    size = gradient.detach().abs().to(torch.promote_types(gradient.dtype, torch.float32))
    centred = size - size.mean()
    deviation = (centred * centred).mean().sqrt()
    z = centred / torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    return 2.0 * torch.sigmoid(steepness * z)


def decay_elements(group: dict[str, Any], base: float, steepness: float, *, decoupled: bool) -> None:
    """Decay the weights of one group: w (1 - lr base theta) before a decoupled step, g + base theta w before a coupled one."""
    import torch

    with torch.no_grad():
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            factors = element_factors(parameter.grad, steepness).to(parameter.dtype)
            if decoupled:
                parameter.mul_(1.0 - group["lr"] * base * factors)
            else:
                parameter.grad.add_(base * factors * parameter)
