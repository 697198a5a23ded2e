"""How much work a recipe is: parameters, steps, tokens. Known before anything is trained, mostly before data is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spectra.errors import SpectraError

from . import models
from .config import Recipe


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Counts; what only the data can tell (the length of an epoch) is None until it is known."""

    parameters: int
    """Embeddings included, tied ones once."""
    non_embedding_parameters: int
    """Without token (patch) embedding and output matrix."""
    vocabulary: int | None
    """Rows of the embedding; None: images."""
    batch_size: int
    """Windows or images a step."""
    tokens_per_step: int | None
    """batch_size x window, padding included; None: images."""
    steps: int | None
    """Optimizer steps; None: `epochs`, before the data is known."""
    tokens: int | None
    """Tokens in all, padding included."""
    tokens_per_parameter: float | None
    """`tokens` / `parameters`."""


def budget(recipe: Recipe, windows: int | None = None) -> Budget:
    """The budget of a recipe; `windows` (training windows or images) turns `epochs` into steps.

    `tokens` and `tokens_per_parameter` are rounded up to whole steps, `epochs` down (the last incomplete batch of all is dropped).

    Raises:
        SpectraError: the model is wrong (see `models.check`), the data too short for one step, or the vocabulary unknown.
    """
    vocabulary = models.vocabulary(recipe)
    window = recipe.data.window if recipe.data is not None else None
    side = recipe.images.size if recipe.images is not None else None
    models.check(recipe.model, vocab_size=vocabulary, window=window, image_size=side)
    count = models.count_parameters(recipe.model, vocabulary)
    per_step = recipe.train.batch_size * window if window is not None else None
    steps = _steps(recipe, count.total, per_step, windows)
    _check_warmup(recipe, steps)
    tokens = steps * per_step if steps is not None and per_step is not None else None
    return Budget(
        parameters=count.total,
        non_embedding_parameters=count.non_embedding,
        vocabulary=count.vocabulary,
        batch_size=recipe.train.batch_size,
        tokens_per_step=per_step,
        steps=steps,
        tokens=tokens,
        tokens_per_parameter=tokens / count.total if tokens is not None else None,
    )


def _check_warmup(recipe: Recipe, steps: int | None) -> None:
    warmup = recipe.train.warmup
    if steps is not None and warmup >= 1 and warmup > steps:
        raise SpectraError(
            f"train.warmup = {warmup:g} steps, but the run has {steps}: expected at most that. Take a share under 1."
        )
    decaying = recipe.train.decay_share if recipe.train.schedule == "wsd" else 0.0
    if steps is not None and warmup >= 1 and warmup + decaying * steps > steps:
        raise SpectraError(
            f"train.warmup = {warmup:g} steps reaches into the decay, the last {decaying:.0%} of {steps} steps: expected at most "
            f"{steps - round(decaying * steps)}."
        )


def _steps(recipe: Recipe, parameters: int, per_step: int | None, windows: int | None) -> int | None:
    train = recipe.train
    if train.steps is not None:
        return train.steps
    if train.epochs is None:
        tokens = train.tokens if train.tokens is not None else (train.tokens_per_parameter or 0) * parameters
        assert per_step is not None, "Recipe refuses tokens for images"
        return math.ceil(tokens / per_step)
    if windows is None:
        return None
    steps = math.floor(train.epochs * windows / train.batch_size)
    if steps < 1:
        raise SpectraError(
            f"train.epochs = {train.epochs:g}: {windows} windows are less than one batch of {train.batch_size}. "
            "Take a smaller train.batch_size or more data."
        )
    return steps
