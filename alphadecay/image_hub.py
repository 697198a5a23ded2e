"""Labelled images through `datasets`: a hub data set at one commit, or a local folder of Parquet files. Map-style."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphadecay import data_hub
from alphadecay.config import ImageConfig
from alphadecay.data_cache import default_directory
from alphadecay.data_config import DataConfig
from alphadecay.image_read import LabelledImages, rgb
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from PIL.Image import Image


class HubSplit:
    """The rows of one split, images still encoded."""

    def __init__(self, rows: Any, config: ImageConfig, split: str, labels: NDArray[np.int64]) -> None:
        self._rows, self._field, self._name = rows, config.image_field, f"{config.source}, {split}"
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, i: int) -> Image:
        """Image i in RGB; errors as `rgb`."""
        found = self._rows[int(i)][self._field]
        name = f"Image {i} of {self._name}"
        if found is None or (found["bytes"] is None and found["path"] is None):
            raise SpectraError(f"{name} is empty: expected an encoded image. Remove that row.")
        return rgb(io.BytesIO(found["bytes"]) if found["bytes"] is not None else Path(found["path"]), name)


def read_hub(config: ImageConfig, *, evaluate: bool, say: Callable[[str], None]) -> LabelledImages:
    """The splits of a hub data set, or of a local folder of Parquet files.

    Classes are named by a ClassLabel column, else by their numbers (0 up to the greatest label).

    Args:
        evaluate: whether the validation split is needed.

    Raises:
        SpectraError: the data set, a split or a column does not exist, or a column holds something else.
    """
    local = Path(config.source).expanduser().is_dir()
    commit = None if local else _commit(config, say)
    rows = _load(config, config.split, commit)
    train, names = _split(rows, config, config.split)
    validation = None
    if evaluate and config.validation_split is not None:
        held_out, other = _split(_load(config, config.validation_split, commit), config, config.validation_split)
        validation = held_out
        if names is not None and other is not None and names != other:
            raise SpectraError(
                f"The splits {config.split} and {config.validation_split} of {config.source} name different classes in "
                f"{config.label_field}. Take splits of one data set."
            )
    if names is None:
        names = tuple(str(label) for label in range(int(train.labels.max(initial=-1)) + 1))
    name = Path(config.source).expanduser().resolve().name if local else config.source
    identity: dict[str, Any] = {"dataset": name, "subset": config.subset, "commit": commit}
    if local:
        root = Path(config.source).expanduser()
        identity["names_and_sizes"] = sorted(
            f"{path.relative_to(root).as_posix()} {path.stat().st_size}" for path in root.rglob("*.parquet")
        )
    return LabelledImages(train=train, validation=validation, classes=names, identity=identity)


def _commit(config: ImageConfig, say: Callable[[str], None]) -> str:
    asked = DataConfig(source=config.source, subset=config.subset, revision=config.revision, split=config.split)
    try:
        found, remark = data_hub.commit(asked, default_directory() / "notes")
    except SpectraError as error:  # the same words, about the section of a recipe that images have
        raise SpectraError(str(error).replace("data.", "images.")) from error
    if remark:
        say(remark)
    return found


def _load(config: ImageConfig, split: str, commit: str | None) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    source = str(Path(config.source).expanduser()) if commit is None else config.source
    try:
        return load_dataset(source, config.subset, split=split, revision=commit)
    except (DatasetsError, *data_hub.network_errors()) as error:
        reason = " ".join(str(error).split())[:300]
        raise SpectraError(
            f"Cannot read the split {split!r} of {config.source} ({reason}). Check images.source, images.subset and the names of "
            "its splits (images.split, images.validation_split)."
        ) from error


def _split(rows: Any, config: ImageConfig, split: str) -> tuple[HubSplit, tuple[str, ...] | None]:
    """A split, and the names of its classes where the data set has them."""
    import datasets

    features = dict(rows.features)
    for option, name in (("image_field", config.image_field), ("label_field", config.label_field)):
        if name not in features:
            raise SpectraError(
                f"{config.source}, {split} has no field {name!r}; found {', '.join(features)}. Set images.{option}."
            )
    feature = features[config.image_field]
    if not isinstance(feature, datasets.Image):
        raise SpectraError(
            f"Field {config.image_field!r} of {config.source}, {split} is {feature}, expected images. Set images.image_field."
        )
    label = features[config.label_field]
    column = np.asarray(rows.select_columns([config.label_field]).with_format("numpy")[:][config.label_field])
    if column.ndim != 1 or not np.issubdtype(column.dtype, np.integer):
        raise SpectraError(
            f"Field {config.label_field!r} of {config.source}, {split} is {label}, expected whole numbers from 0, all of them "
            "there. Set images.label_field."
        )
    encoded = rows.cast_column(config.image_field, datasets.Image(decode=False)).select_columns([config.image_field])
    names = tuple(label.names) if isinstance(label, datasets.ClassLabel) else None
    return HubSplit(encoded, config, split, column.astype(np.int64)), names
