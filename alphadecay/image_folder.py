"""Labelled images in folders: one folder a class, under a folder a split (`train/`, `validation/`) or without splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alphadecay.config import ImageConfig
from alphadecay.image_read import LabelledImages, rgb
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)  # in either case


class FolderSplit:
    """The images of one split, class by class, sorted by path."""

    def __init__(self, root: Path, paths: Sequence[Path], labels: Sequence[int]) -> None:
        self._root, self._paths = root, tuple(paths)
        self.labels: NDArray[np.int64] = np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, i: int) -> Image:
        """Image i in RGB; errors as `rgb`."""
        return rgb(self._paths[i], str(self._paths[i]))

    def digest(self) -> str:
        """SHA-256 over names, sizes and classes. Not over the bytes: reading all of ImageNet takes an hour."""
        made = hashlib.sha256()
        for path, label in zip(self._paths, self.labels, strict=True):
            made.update(f"{path.relative_to(self._root).as_posix()}\0{path.stat().st_size}\0{label}\n".encode())
        return made.hexdigest()


def holds_images(folder: Path) -> bool:
    """Whether there is an image anywhere under a folder."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def read_folder(config: ImageConfig, *, evaluate: bool) -> LabelledImages:
    """The splits of a folder of images; classes are the names of the training split's folders, sorted.

    Args:
        evaluate: whether the validation split is needed.

    Raises:
        SpectraError: no images, a split or class without any, or splits with other classes.
    """
    root = Path(config.source).expanduser()
    if not holds_images(root):
        raise SpectraError(
            f"The folder {root} holds no image: expected one folder a class with {', '.join(sorted(SUFFIXES))} files, under "
            f"{config.split}/ where there are splits. Correct images.source."
        )
    wanted = config.validation_split if evaluate else None
    training = root / config.split
    if not training.is_dir():
        _refuse_flat(root, config, wanted)
        training = root
    classes = _classes(training)
    train = _split(training, classes)
    validation = None
    if wanted is not None:
        held_out = root / wanted
        if not held_out.is_dir():
            raise SpectraError(
                f"The folder {root} has no split {wanted!r}; found {_listed(_folders(root))}. Set images.validation_split to "
                "one of them, or to null."
            )
        _same_classes(training, classes, held_out)
        validation = _split(held_out, classes)
    splits = {"train": train.digest()} | ({} if validation is None else {"validation": validation.digest()})
    return LabelledImages(
        train=train,
        validation=validation,
        classes=classes,
        identity={"folder": root.resolve().name, "names_and_sizes": splits},
    )


def _refuse_flat(root: Path, config: ImageConfig, wanted: str | None) -> None:
    """A folder without the training split's folder may be one of classes only, without splits."""
    found = _listed(_folders(root))
    if config.split != "train" or (root / str(config.validation_split)).is_dir():
        raise SpectraError(
            f"The folder {root} has no split {config.split!r}; found {found}. Set images.split to one of them."
        )
    if wanted is not None:
        raise SpectraError(
            f"The folder {root} has no splits {config.split!r} and {wanted!r}; found {found}. Put the class folders under "
            f"{config.split}/ and {wanted}/, or set images.validation_split to null to train on all of them without evaluation."
        )


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _listed(folders: list[Path]) -> str:
    names = [folder.name for folder in folders]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "no folder"


def _classes(split: Path) -> tuple[str, ...]:
    names = tuple(folder.name for folder in _folders(split))
    if not names:
        raise SpectraError(
            f"The folder {split} has no class folders: expected one folder of images a class. Sort the images so."
        )
    return names


def _same_classes(training: Path, classes: tuple[str, ...], held_out: Path) -> None:
    other = _classes(held_out)
    if classes != other:
        missing, extra = sorted(set(classes) - set(other)), sorted(set(other) - set(classes))
        parts = [f"{held_out} lacks {', '.join(missing[:5])}"] if missing else []
        parts += [f"{training} lacks {', '.join(extra[:5])}"] if extra else []
        raise SpectraError(f"The splits have different class folders: {'; '.join(parts)}. Make them the same.")


def _split(root: Path, classes: tuple[str, ...]) -> FolderSplit:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not found:
            raise SpectraError(f"The class folder {root / name} holds no image. Put some there, or remove it.")
        paths += found
        labels += [label] * len(found)
    return FolderSplit(root, paths, labels)
