"""What is trained on what: the model, its data in the order of the run, and how it is scored. Text here; images in `images.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphadecay.config import Recipe
from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch

    from alphadecay.ema import Ema

Collate = Callable[[list[dict[str, Any]]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One recipe's model and data, ready for the loop.

    Attributes:
        model: on the CPU, in float32.
        train, validation: map-style data sets; `validation` is cut to `eval_windows`, None without evaluation.
        order: epoch -> permutation of the training items.
        batch_size: items an optimizer step.
        processor: tokenizer or image processor, saved with every checkpoint.
        collate: items -> batch.
        evaluate: (model, validation, batch size, device, autocast) -> metrics without prefix, `loss` among them.
        fingerprint: hash of all that decides the data.
        tokens_per_step: None for images.
        facts: steps -> what is recorded of the data.
        loss: (model, batch) -> mean loss of a micro batch; None: the model's own.
        ema: averaged weights that are evaluated and saved beside the model's; None: without.
        loaders: processes that read items beside the training.
    """

    model: Any
    train: Any
    validation: Any
    order: Callable[[int], NDArray[np.int64]]
    batch_size: int
    processor: Any
    collate: Collate | None
    evaluate: Callable[..., dict[str, float]]
    fingerprint: str
    tokens_per_step: int | None
    facts: Callable[[int], dict[str, Any]]
    loss: Callable[[Any, dict[str, Any]], torch.Tensor] | None = None
    ema: Ema | None = None
    loaders: int = 0

    def stream(self, steps: int) -> Stream:
        """Every item of the run, in order."""
        return Stream(self.train, self.order, steps, self.batch_size)


class Stream:
    """The items of a whole run as one data set, epoch after epoch, each epoch's incomplete last batch dropped.

    The Trainer sees a single epoch, so that resuming in a later one needs nothing of it.
    """

    def __init__(self, items: Any, order: Callable[[int], NDArray[np.int64]], steps: int, batch_size: int) -> None:
        self._items, self._order = items, order
        self._per_epoch = len(items) // batch_size * batch_size
        if self._per_epoch == 0:
            raise SpectraError(
                f"There are {len(items)} training windows, fewer than one batch of {batch_size}. Use more data, or a smaller "
                "train.batch_size."
            )
        self._length = steps * batch_size
        self._held: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return self._length

    def locate(self, i: int) -> tuple[int, int]:
        """Epoch and item that stand at place i of the run."""
        epoch, place = divmod(int(i), self._per_epoch)
        if self._held is None or self._held[0] != epoch:
            self._held = epoch, self._order(epoch)
        return epoch, int(self._held[1][place])

    def __getitem__(self, i: int) -> Any:
        return self._items[self.locate(i)[1]]


def objective(recipe: Recipe, say: Callable[[str], None]) -> Objective:
    """Read the data and build the model of a recipe.

    Raises:
        SpectraError: either cannot be done, or they do not fit together.
    """
    if recipe.images is not None:
        from alphadecay.images import image_objective

        return image_objective(recipe, say)
    return _text(recipe, say)


def _text(recipe: Recipe, say: Callable[[str], None]) -> Objective:
    from torch.utils.data import Subset

    from alphadecay.data import order, prepare
    from alphadecay.models import build, emitted_ids

    assert recipe.data is not None
    data, config = recipe.data, recipe.train
    corpus = prepare(data, message=say)
    model = build(recipe.model, vocab_size=emitted_ids(corpus.tokenizer), window=data.window, seed=config.seed)
    _token_ids(model, corpus.tokenizer)
    count = min(config.eval_windows, len(corpus.validation))

    def facts(steps: int) -> dict[str, Any]:
        return corpus.facts() | {
            "order": {"seed": data.seed, "batch_size": config.batch_size, "steps": steps},
            "fingerprint": corpus.fingerprint,
            "evaluated_windows": count,
        }

    return Objective(
        model=model,
        train=corpus.train,
        validation=Subset(corpus.validation, range(count)) if count else None,  # type: ignore[arg-type]
        order=lambda epoch: order(corpus.train, data.seed, epoch),
        batch_size=config.batch_size,
        processor=corpus.tokenizer,
        collate=_collate if data.packing == "document" else _collate_packed,
        evaluate=_evaluate,
        fingerprint=corpus.fingerprint,
        tokens_per_step=config.batch_size * data.window,
        facts=facts,
    )


def _token_ids(model: Any, tokenizer: Any) -> None:
    """The tokenizer's special ids in the model's configs, so that a checkpoint generates and is fine-tuned as it should."""
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = getattr(tokenizer, name)
        if name == "pad_token_id" and value in (tokenizer.bos_token_id, tokenizer.eos_token_id):
            continue  # a reloaded model would keep that row of the embedding from learning
        for config in (model.config, getattr(model, "generation_config", None)):
            if config is not None and getattr(config, name, None) is None:
                setattr(config, name, value)


def _collate(items: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    import torch

    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def _collate_packed(items: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Without the mask of ones, which would keep attention off its causal kernel."""
    return _collate([{key: value for key, value in item.items() if key != "attention_mask"} for item in items])


def _evaluate(model: Any, validation: Any, batch_size: int, device: torch.device, autocast: bool) -> dict[str, float]:
    from alphadecay.evaluate import mean_loss

    found = mean_loss(model, validation, batch_size, device, autocast=autocast)
    return {"loss": found.mean, "perplexity": found.perplexity, "tokens": float(found.tokens)}
