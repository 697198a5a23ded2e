"""Images as the loop takes them: augmented by (seed, epoch, item) in training, whole in evaluation; mixup of a micro batch.

Nothing depends on what was drawn before, so a resumed run, more processes or loader workers give the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from alphadecay.config import ImageConfig
from alphadecay.data_windows import order
from alphadecay.image_drop_path import draws
from alphadecay.image_read import ImageSplit
from alphadecay.image_transforms import evaluation_pixels, generator, training_pixels
from alphadecay.objective import Stream

if TYPE_CHECKING:
    import torch

_AUGMENT, _MIXUP = 2, 3  # first words of the keys of their random numbers; 1 orders the epochs, 4 is drop path's


class ImageStream(Stream):
    """Every training image of a run in order, as {"pixel_values", "label", "step", "draws"}: one epoch is never like another."""

    def __init__(self, split: ImageSplit, config: ImageConfig, batch_size: int, steps: int, branches: int) -> None:
        """`branches`: random numbers that drop path needs for an image."""
        super().__init__(split, partial(order, len(split), config.seed), steps, batch_size)
        self._split, self._config, self._batch_size, self._branches = split, config, batch_size, branches

    def __getitem__(self, i: int) -> dict[str, Any]:
        epoch, item = self.locate(i)
        rng = generator(_AUGMENT, self._config.seed, epoch, item)
        return {
            "pixel_values": training_pixels(self._split.image(item), self._config, rng),
            "label": int(self._split.labels[item]),
            "step": int(i) // self._batch_size,
            "draws": draws(self._config.seed, epoch, item, self._branches),
        }


class EvaluationImages:
    """Chosen images of a split, resized and cut as the saved image processor does."""

    def __init__(self, split: ImageSplit, config: ImageConfig, chosen: Sequence[int]) -> None:
        self._split, self._config, self._chosen = split, config, tuple(chosen)

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        import torch

        item = self._chosen[i]
        pixels = torch.from_numpy(evaluation_pixels(self._split.image(item), self._config))
        return {"pixel_values": pixels, "labels": torch.tensor(int(self._split.labels[item]))}


@dataclass(frozen=True, kw_only=True)
class MixupCollate:
    """Items -> {"pixel_values": (B, 3, S, S), "targets": (B, C), "draws": (B, branches)}; mixup of Zhang et al. 2018.

    One lambda from Beta(m, m) an optimizer step, by (seed, step). Image i is mixed with image i - 1 of the same micro batch of
    the same process: with other micro batches the pairs are others, with other numbers of processes they are not.

    Attributes:
        classes: C.
        mixup: m; 0: targets are one class each.
        seed: of the lambdas.
    """

    classes: int
    mixup: float
    seed: int

    def weight(self, step: int) -> float:
        """Lambda of an optimizer step, counted from 0: the share that an image keeps."""
        return float(generator(_MIXUP, self.seed, step).beta(self.mixup, self.mixup)) if self.mixup > 0 else 1.0

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Stack and mix."""
        import torch
        from torch.nn import functional

        pixels = torch.from_numpy(np.stack([item["pixel_values"] for item in items]))
        targets = functional.one_hot(torch.tensor([item["label"] for item in items]), self.classes).float()
        kept = self.weight(items[0]["step"])
        if kept < 1.0:
            pixels = kept * pixels + (1.0 - kept) * pixels.roll(1, 0)
            targets = kept * targets + (1.0 - kept) * targets.roll(1, 0)
        found = torch.from_numpy(np.stack([item["draws"] for item in items]))
        return {"pixel_values": pixels, "targets": targets, "draws": found}
