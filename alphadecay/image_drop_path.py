"""Stochastic depth (Huang et al. 2016) for transformers' ViT, which has none: residual branches left out for single images.

B = images, L = layers; branches are numbered 2 l (attention of layer l) and 2 l + 1 (its MLP).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphadecay.image_transforms import generator
from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch
    from torch import nn

# Of a layer that adds attention(norm(x)), then mlp(norm(x)), to x.
_PARTS = ("layernorm_before", "attention", "layernorm_after", "mlp")
_KEY = 4  # first word of the key of these random numbers


class DropPath:
    """Leaves branches out in training: for each image and branch by itself, with the layer's rate; the rest is scaled by
    1/(1 - rate). Rates rise linearly from 0 in the first layer to `rate` in the last (a single layer has `rate`).

    It hooks into the layers' modules: names and number of parameters stay as they are, evaluation is untouched. The random
    numbers come from outside (`draws`), so that they belong to an image and not to a process.
    """

    def __init__(self, model: nn.Module, rate: float) -> None:
        """Hook into every layer of `model`.

        Raises:
            SpectraError: it is not a model with ViT's layers.
        """
        layers = [module for module in model.modules() if all(hasattr(module, part) for part in _PARTS)]
        config: Any = getattr(model, "config", None)
        if not layers or getattr(config, "drop_path_rate", None) is not None:
            own = ", which has its own: set model.settings.drop_path_rate" if hasattr(config, "drop_path_rate") else ""
            raise SpectraError(
                f"train.drop_path is for ViT and models with its layers, got {type(model).__name__}{own}. Set train.drop_path=0."
            )
        count = len(layers)
        self.rates = tuple(rate * (number / (count - 1) if count > 1 else 1.0) for number in range(count))
        self._draws: torch.Tensor | None = None
        for number, layer in enumerate(layers):
            for offset, part in enumerate((layer.attention, layer.mlp)):
                part.register_forward_hook(_Hook(self, 2 * number + offset, self.rates[number]))  # type: ignore[union-attr]

    @property
    def branches(self) -> int:
        """Random numbers an image needs: 2 L."""
        return 2 * len(self.rates)

    def set(self, draws: torch.Tensor) -> None:
        """The random numbers of the coming forward pass (and of its recomputation): (B, 2 L), uniform in [0, 1)."""
        self._draws = draws

    def keep(self, branch: int, rate: float, hidden: torch.Tensor) -> torch.Tensor:
        """`hidden` (B, ...) with the branch's left-out images zeroed and the others scaled; unchanged without `draws`."""
        if self._draws is None or rate == 0.0:
            return hidden
        kept = (self._draws[:, branch] >= rate).to(hidden.dtype) / (1.0 - rate)  # (B,)
        return hidden * kept.view(-1, *[1] * (hidden.dim() - 1))


class _Hook:
    """Forward hook of one branch."""

    def __init__(self, drop_path: DropPath, branch: int, rate: float) -> None:
        self._drop_path, self._branch, self._rate = drop_path, branch, rate

    def __call__(self, module: nn.Module, given: Any, output: Any) -> Any:
        if not module.training:
            return output
        if isinstance(output, tuple):  # attention: (hidden, weights)
            return (self._drop_path.keep(self._branch, self._rate, output[0]), *output[1:])
        return self._drop_path.keep(self._branch, self._rate, output)


def draws(seed: int, epoch: int, item: int, branches: int) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1) for one training image in one epoch, (branches,)."""
    return generator(_KEY, seed, epoch, item).random(branches, dtype=np.float32)
