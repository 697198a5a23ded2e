"""What a source of labelled images gives, and one image read: RGB, upright, or an error that names the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spectra.errors import SpectraError, first_line

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageSplit(Protocol):
    """One split: `labels` (n,), class of every image; `image(i)`: RGB."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every image."""

    def __len__(self) -> int:
        """Number of images."""

    def image(self, i: int) -> Image:
        """Image i, RGB and upright."""


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Attributes:
    train, validation: splits; `validation` None where there is no evaluation.
    classes: names, in the order of the labels.
    identity: plain data, equal where the images are; no paths of this machine.
    """

    train: ImageSplit
    validation: ImageSplit | None
    classes: tuple[str, ...]
    identity: dict[str, Any]


def rgb(file: Path | IO[bytes], name: str) -> Image:
    """The image in a file, turned as its EXIF orientation says (as `datasets` and `transformers` do), in RGB.

    Raises:
        SpectraError: it cannot be decoded; `name` says which it is.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened)
            # A palette with transparency goes by RGBA, or Pillow warns.
            through = upright.convert("RGBA") if upright.mode == "P" and "transparency" in upright.info else upright
            return through.convert("RGB")
    except UnidentifiedImageError as error:
        raise SpectraError(f"{name} is not an image that Pillow can read. Replace or remove it.") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # damage, by format
        reason = first_line(error)
        raise SpectraError(f"{name} cannot be decoded ({reason}). Replace or remove it.") from error
