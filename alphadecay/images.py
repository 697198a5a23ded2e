"""Image classifiers in the loop (AlphaDecay section 4.6): labelled images, augmentation, mixup, drop path, averaged weights.

Of ConvNeXt's training configuration, which the paper names, random resized crops, flips, mixup, drop path and the moving
average are here; cutmix, RandAugment, random erasing and label smoothing are not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from alphadecay import launch, models
from alphadecay.config import ImageConfig, Recipe, TrainConfig
from alphadecay.data_windows import order, permutation
from alphadecay.ema import Ema
from alphadecay.image_drop_path import DropPath
from alphadecay.image_evaluate import evaluate
from alphadecay.image_items import EvaluationImages, ImageStream, MixupCollate
from alphadecay.image_read import ImageSplit, LabelledImages
from alphadecay.image_source import open_images
from alphadecay.image_transforms import EVALUATION_SHARE, processor
from alphadecay.objective import Objective, Stream
from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch

_VERSION = 1  # raise when the same images and config give other pixels
_CHOICE = 5  # first word of the key that chooses validation images
_LOADERS = 8


@dataclass(frozen=True, kw_only=True)
class ImageObjective(Objective):
    """An objective whose stream augments.

    Attributes:
        config: of the images.
        branches: random numbers an image that drop path needs.
    """

    config: ImageConfig
    branches: int

    def stream(self, steps: int) -> Stream:
        """Every image of the run, in order, augmented."""
        return ImageStream(self.train, self.config, self.batch_size, steps, self.branches)


def image_objective(recipe: Recipe, say: Callable[[str], None]) -> Objective:
    """Read the images and build the classifier of a recipe.

    Raises:
        SpectraError: images, labels, model and training do not fit together; says which.
    """
    config, train = recipe.images, recipe.train
    assert config is not None
    models.check(recipe.model, image_size=config.size)
    _check(config, train)
    found = open_images(config, evaluate=train.eval_windows > 0, say=say)
    if len(found.train) < train.batch_size:
        raise SpectraError(
            f"There are {len(found.train)} training images, fewer than one batch of {train.batch_size}. Use more images, "
            "or a smaller train.batch_size."
        )
    model = models.build(recipe.model, seed=train.seed)
    _name_classes(model, found.classes)
    drop_path = DropPath(model, train.drop_path) if train.drop_path else None
    validation = _validation(found.validation, config, train.eval_windows)
    fingerprint = _fingerprint(found, config)
    return ImageObjective(
        model=model,
        train=found.train,
        validation=validation,
        order=partial(order, len(found.train), config.seed),
        batch_size=train.batch_size,
        processor=processor(config),
        collate=MixupCollate(classes=len(found.classes), mixup=config.mixup, seed=config.seed),
        evaluate=evaluate,
        fingerprint=fingerprint,
        tokens_per_step=None,
        facts=partial(_facts, found, config, train, fingerprint),
        loss=partial(_loss, drop_path),
        ema=Ema(model, train.ema) if train.ema is not None else None,
        loaders=_loaders(),
        config=config,
        branches=drop_path.branches if drop_path is not None else 0,
    )


def _check(config: ImageConfig, train: TrainConfig) -> None:
    """Settings that could have no effect, or not the one that they say."""
    processes = launch.processes()
    if config.mixup > 0 and (train.micro_batch or train.batch_size // processes) < 2:
        raise SpectraError(
            "images.mixup mixes images of one micro batch, which has a single image here: set train.micro_batch to 2 or more, or "
            "images.mixup to 0."
        )
    if train.ema is not None and train.parallel == "fsdp":
        raise SpectraError(
            "train.ema averages whole weights, train.parallel=fsdp shards them. Use train.parallel=ddp, or leave train.ema out."
        )


def _name_classes(model: Any, classes: tuple[str, ...]) -> None:
    """Put the names into the model's config, whose number of classes must be theirs."""
    if model.config.num_labels != len(classes):
        shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
        raise SpectraError(
            f"The images have {len(classes)} classes ({shown}), the model has {model.config.num_labels}. Set "
            f"model.settings.num_labels={len(classes)}."
        )
    model.config.id2label = dict(enumerate(classes))
    model.config.label2id = {name: label for label, name in enumerate(classes)}


def _validation(split: ImageSplit | None, config: ImageConfig, at_most: int) -> EvaluationImages | None:
    """All images of the split, or `at_most` of them drawn by seed: a folder's first ones would be of its first classes."""
    if split is None:
        return None
    count = len(split)
    chosen = permutation(count, _CHOICE, config.seed)[:at_most] if at_most < count else range(count)
    return EvaluationImages(split, config, sorted(int(i) for i in chosen))


def _loss(drop_path: DropPath | None, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean cross entropy with the (mixed) targets, nats an image."""
    from torch.nn import functional

    if drop_path is not None:
        drop_path.set(batch["draws"])
    dtype = next(model.parameters()).dtype
    logits = model(pixel_values=batch["pixel_values"].to(dtype)).logits  # (B, C)
    return functional.cross_entropy(logits.float(), batch["targets"])


def _loaders() -> int:
    """Processes that decode images beside the training: up to 8 where a GPU would wait for them, else none."""
    import torch

    if not torch.cuda.is_available():
        return 0
    return min(_LOADERS, (os.cpu_count() or 1) // launch.local_processes())


def _fingerprint(found: LabelledImages, config: ImageConfig) -> str:
    """SHA-256 over all that decides the pixels and labels of a run."""
    inputs = {
        "version": _VERSION,
        "images": found.identity,
        "classes": found.classes,
        "config": {name: value for name, value in asdict(config).items() if name not in ("source", "revision")},
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _facts(
    found: LabelledImages, config: ImageConfig, train: TrainConfig, fingerprint: str, steps: int
) -> dict[str, Any]:
    """What was read, and the conventions that no setting says."""
    held_out = 0 if found.validation is None else len(found.validation)
    return {
        "source": found.identity,
        "classes": len(found.classes),
        "train": {"images": len(found.train)},
        "validation": {"images": held_out},
        "evaluated_images": min(held_out, train.eval_windows),
        "order": {"seed": config.seed, "batch_size": train.batch_size, "steps": steps},
        "fingerprint": fingerprint,
        "conventions": {
            "training": f"crop of {config.crop:g} to 1 of the area, aspect 3/4 to 4/3, by (seed, epoch, image); bicubic",
            "evaluation": f"shorter side to size / {EVALUATION_SHARE:g}, centre cut out; bicubic",
            "mixup": "one lambda a step, by (seed, step); pairs within a process's micro batch",
            "drop_path": "by (seed, epoch, image), single images, both branches of a layer; linear over layers",
        },
    }
