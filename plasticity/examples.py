"""Encoded examples as a data set: batches padded on the right, or packed so that no example sees another.

Legend: B examples (or packs) of T tokens, the longest of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from plasticity.tasks.encoding import Encoded
from spectra.errors import SpectraError

IGNORED = -100  # the label that torch's cross entropy leaves out


class Examples:
    """One example an item: `input_ids`, `labels` (-100 on the prompt), as lists."""

    def __init__(self, encoded: Sequence[Encoded]) -> None:
        self._encoded = encoded

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, i: int) -> dict[str, list[int]]:
        found = self._encoded[i]
        ids = [*found.prompt_ids, *found.response_ids]
        return {"input_ids": ids, "labels": [IGNORED] * len(found.prompt_ids) + list(found.response_ids)}


class Packs:
    """Several examples an item, one after the other in at most `window` tokens; `position_ids` begin anew at each.

    First fit, longest first, ties in the given order: the same packs every time. The first token of an example predicts
    nothing of the one before it: its label is -100, as prompts' are.
    """

    def __init__(self, encoded: Sequence[Encoded], window: int) -> None:
        self.packs: list[list[Encoded]] = []
        room: list[int] = []
        for example in sorted(encoded, key=len, reverse=True):
            place = next((i for i, left in enumerate(room) if left >= len(example)), None)
            if place is None:
                place = len(room)
                room.append(window)
                self.packs.append([])
            self.packs[place].append(example)
            room[place] -= len(example)

    def __len__(self) -> int:
        return len(self.packs)

    def __getitem__(self, i: int) -> dict[str, list[int]]:
        singles = Examples(self.packs[i])
        items = [singles[k] for k in range(len(singles))]
        joined = {name: [token for item in items for token in item[name]] for name in ("input_ids", "labels")}
        return joined | {"position_ids": [p for item in items for p in range(len(item["input_ids"]))]}


class Collate:
    """Items -> batch, padded on the right to the longest. Packed items get no mask: their positions say where examples begin."""

    def __init__(self, pad_id: int) -> None:
        self._pad_id = pad_id

    def __call__(self, items: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
        import torch

        length = max(len(item["input_ids"]) for item in items)
        fill = {"input_ids": self._pad_id, "labels": IGNORED, "position_ids": 0}
        batch: dict[str, Any] = {
            name: torch.tensor([[*item[name], *[fill[name]] * (length - len(item[name]))] for item in items])
            for name in items[0]
        }  # each (B, T)
        if "position_ids" in batch:
            batch["use_cache"] = False  # with a cache, transformers does not look at the positions
        else:
            batch["attention_mask"] = torch.tensor(
                [[1] * len(item["input_ids"]) + [0] * (length - len(item["input_ids"])) for item in items]
            )
        return batch


def check_isolation(model: Any) -> None:
    """Refuse packing where a model lets packed examples see each other: what comes before must not change what follows.

    Raises:
        SpectraError: it does.
    """
    import torch

    vocabulary = model.get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    first, other, second = (torch.randint(0, vocabulary, (1, 6), generator=generator) for _ in range(3))
    positions = torch.arange(6).repeat(2)[None]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        device = next(model.parameters()).device
        logits = [
            model(
                input_ids=torch.cat([before, second], 1).to(device), position_ids=positions.to(device), use_cache=False
            ).logits[:, 6:]
            for before in (first, other)
        ]
    model.train(was_training)
    if not torch.equal(*logits):
        raise SpectraError(
            f"packing: {type(model).__name__} lets packed examples see each other (its attention does not follow position_ids). "
            "Train without packing."
        )


def check_mean(model: Any) -> None:
    """Refuse micro batches where a model would average each by itself: examples of short responses would weigh more.

    The loss is a sum over target tokens, divided by the number that the whole batch has (`num_items_in_batch`).

    Raises:
        SpectraError: it does.
    """
    import torch

    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    takes = getattr(bare, "accepts_loss_kwargs", True)  # transformers' Trainer tells such models nothing
    if takes:
        ids = torch.zeros((1, 4), dtype=torch.long, device=next(model.parameters()).device)
        was_training = model.training
        model.eval()
        with torch.no_grad():
            once, half = (float(model(input_ids=ids, labels=ids, num_items_in_batch=count).loss) for count in (1, 2))
        model.train(was_training)
        takes = math.isclose(once, 2 * half, rel_tol=1e-3)
    if not takes:
        raise SpectraError(
            f"{type(bare).__name__} averages micro batches by itself, so that the loss would depend on how a batch is cut. "
            "Leave train.micro_batch out, and start one process."
        )
