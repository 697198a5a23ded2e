"""Where labelled images come from: a folder of class folders, a local folder of Parquet files, or the hub; checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alphadecay import data_hub
from alphadecay.config import ImageConfig
from alphadecay.image_folder import holds_images, read_folder
from alphadecay.image_hub import read_hub
from alphadecay.image_read import ImageSplit, LabelledImages
from spectra.errors import SpectraError


def open_images(config: ImageConfig, *, evaluate: bool, say: Callable[[str], None]) -> LabelledImages:
    """The images of a recipe, still encoded, with their labels.

    Args:
        evaluate: whether the validation split is needed.
        say: is told where the hub does not answer.

    Raises:
        SpectraError: nothing of that name, no images, a label that is no class, or as `read_folder` and `read_hub`.
    """
    path = Path(config.source).expanduser()
    if path.is_dir():
        tables = any(path.rglob("*.parquet")) and not holds_images(path)
        if tables:
            _refuse_fields(config, {"revision": None})
            found = read_hub(config, evaluate=evaluate, say=say)
        else:
            _refuse_fields(config, {"subset": None, "revision": None, "image_field": "image", "label_field": "label"})
            found = read_folder(config, evaluate=evaluate)
    elif data_hub.is_hub_id(config.source):
        found = read_hub(config, evaluate=evaluate, say=say)
    else:
        raise SpectraError(
            f"No images {config.source!r}: not a folder here, nor a hub id such as ILSVRC/imagenet-1k. Correct images.source."
        )
    _check_labels(found.train, config.split, found.classes)
    if found.validation is not None:
        _check_labels(found.validation, str(config.validation_split), found.classes)
    return found


def _refuse_fields(config: ImageConfig, unused: dict[str, str | None]) -> None:
    for name, default in unused.items():
        if getattr(config, name) != default:
            raise SpectraError(
                f"images.{name} = {getattr(config, name)!r} has no meaning for the folder {config.source!r}. Leave it out."
            )


def _check_labels(split: ImageSplit, name: str, classes: tuple[str, ...]) -> None:
    wrong = (split.labels < 0) | (split.labels >= len(classes))
    if wrong.any():
        first = int(wrong.argmax())
        raise SpectraError(
            f"Image {first} of the split {name!r} has the label {split.labels[first]}, expected 0 to {len(classes) - 1}. Correct "
            "the labels, or take another split (test splits are often unlabelled: -1)."
        )
    if len(split) == 0:
        raise SpectraError(f"The split {name!r} holds no image. Take another.")
