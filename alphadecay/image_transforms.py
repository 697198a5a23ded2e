"""Pixels of one image: random resized crop and flip for training, resize and centre crop for evaluation. Pure functions.

S = images.size. Arrays are (3, S, S), float32, channels red, green, blue. Resampling is bicubic with antialiasing (Pillow), as
in ConvNeXt's configuration, which AlphaDecay names for ViT-tiny.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphadecay.config import ImageConfig

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]
EVALUATION_SHARE = 0.875  # 224 of 256: the shorter side is resized to size / 0.875, then the centre is cut out
_ASPECTS = (3 / 4, 4 / 3)
_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int


def crop_box(width: int, height: int, least: float, rng: np.random.Generator) -> Box:
    """A random rectangle: area uniform in [least, 1] of the image's, log aspect uniform between 3/4 and 4/3.

    Rectangles that do not fit are drawn anew, ten times; after that the largest centred one of an allowed aspect is taken.
    `least` 1: the whole image, whatever its aspect. As torchvision's RandomResizedCrop.get_params.
    """
    if least >= 1.0:
        return Box(left=0, top=0, width=width, height=height)
    low, high = math.log(_ASPECTS[0]), math.log(_ASPECTS[1])
    for _ in range(_TRIES):
        area = width * height * (least + (1.0 - least) * rng.random())
        aspect = math.exp(low + (high - low) * rng.random())
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.random() * (height - h + 1)), int(rng.random() * (width - w + 1))
            return Box(left=left, top=top, width=w, height=h)
    w, h = width, height
    if width / height < _ASPECTS[0]:
        h = min(height, round(width / _ASPECTS[0]))
    elif width / height > _ASPECTS[1]:
        w = min(width, round(height * _ASPECTS[1]))
    return Box(left=(width - w) // 2, top=(height - h) // 2, width=w, height=h)


def generator(*key: int) -> np.random.Generator:
    """Random numbers that depend on the key alone."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key))))


def training_pixels(image: Image, config: ImageConfig, rng: np.random.Generator) -> Floats:
    """Random resized crop, flip of half of the images, normalised. `image`: RGB."""
    from PIL.Image import Resampling, Transpose

    box = crop_box(*image.size, config.crop, rng)
    corners = (box.left, box.top, box.left + box.width, box.top + box.height)
    made = image.crop(corners).resize((config.size, config.size), Resampling.BICUBIC)
    if config.flip and rng.random() < 0.5:
        made = made.transpose(Transpose.FLIP_LEFT_RIGHT)
    return _normalised(made, config)


def evaluation_side(size: int) -> int:
    """Shorter side in pixels before the centre is cut out: 256 for 224."""
    return round(size / EVALUATION_SHARE)


def evaluation_pixels(image: Image, config: ImageConfig) -> Floats:
    """Shorter side resized to size / 0.875, centre cut out, normalised: the same as `processor` does. `image`: RGB."""
    from PIL.Image import Resampling

    side, (width, height) = evaluation_side(config.size), image.size
    shape = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    made = image.resize(shape, Resampling.BICUBIC)
    left, top = (shape[0] - config.size) // 2, (shape[1] - config.size) // 2
    return _normalised(made.crop((left, top, left + config.size, top + config.size)), config)


def _normalised(image: Image, config: ImageConfig) -> Floats:
    pixels = np.asarray(image, dtype=np.float32) / np.float32(255)  # (S, S, 3)
    scaled = (pixels - np.array(config.mean, np.float32)) / np.array(config.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), dtype=np.float32)


def processor(config: ImageConfig) -> Any:
    """The image processor that does what `evaluation_pixels` does; saved beside the weights for `AutoImageProcessor`.

    Pillow's variant, which needs no torchvision.
    """
    from PIL.Image import Resampling
    from transformers import ViTImageProcessorPil

    return ViTImageProcessorPil(
        do_resize=True,
        size={"shortest_edge": evaluation_side(config.size)},
        resample=Resampling.BICUBIC,
        do_center_crop=True,
        crop_size={"height": config.size, "width": config.size},
        do_rescale=True,
        do_normalize=True,
        do_convert_rgb=True,
        image_mean=list(config.mean),
        image_std=list(config.std),
    )
