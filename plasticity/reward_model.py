"""A reward model: question and response -> one number. Neither batch size nor padding changes it.

The reward is what transformers gives for the text run alone and without padding; in float32 batches differ from it by
rounding, by less than 1e-5 of it. R = rows, L = length.

Decoders are read at the last token that is not the `pad_token_id` of their configuration (`GenericForSequenceClassification`),
whatever the mask says. So batches are padded with that token and no other, on the right. Where the configuration names none,
a token is named for each batch that none of its rows ends with: padding with EOS, as is often done, would move the reward of every
text that ends with EOS one token to the left.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from plasticity.reward_templates import Reader, Tokens
from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch

_TOLERANCE, _TOLERANCE_HALF = 1e-3, 0.1  # a model that padding changes is off by more
_PROBE = (("Which?", "This."), ("Which of these two is it, and for which reason?", "It is that one. " * 6))


@dataclass(frozen=True, kw_only=True)
class Reward:
    """One reward.

    Attributes:
        value: the logit; no unit, finite.
        tokens: tokens that the model saw, special ones included.
        truncated: whether the text was cut to fit.
    """

    value: float
    tokens: int
    truncated: bool


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a model runs, and in which precision."""

    device: str
    dtype: str


@dataclass(frozen=True, kw_only=True)
class RewardModel:
    """A sequence-classification checkpoint, ready to score; made by `reward.load_reward`.

    Attributes:
        model: in its precision, in evaluation mode; on its device, or still on the CPU.
        reader: template, tokenizer and limit.
        logit: which output is the reward.
        batch_size: most texts at once.
        about: what the rewards depend on.
        place: where it is to run.
        gpu_dtype: its precision on a GPU, where none was asked for.
        equal_lengths: only texts of one length go together, for a model that padding changes.
    """

    model: Any
    reader: Reader
    logit: int
    batch_size: int
    about: Mapping[str, Any]
    place: Place
    gpu_dtype: str | None = None
    equal_lengths: bool = False

    def describe(self) -> Mapping[str, Any]:
        """Checkpoint, family and by what it was chosen, template, logit, limit and side cut, precision, device, padding.

        For the header of a file of rewards: resuming with anything else is refused. The batch size is not among it.
        """
        return dict(self.about)

    def to(self, device: str | None = None) -> RewardModel:
        """The same on a device; None: the one that it was loaded for. The model itself is moved, not copied.

        On a GPU it takes the precision of its kind, unless one was asked for.

        Raises:
            SpectraError: the device is not there, or has no room.
        """
        import torch

        from plasticity.devices import placed, put

        where = self.place.device if device is None else placed(device)
        dtype = self.gpu_dtype if self.gpu_dtype and where != "cpu" else self.place.dtype
        put(self.model, where, getattr(torch, dtype), name=str(self.about.get("model")))
        moved = replace(self, place=Place(device=where, dtype=dtype))
        return replace(moved, about={**self.about, "device": where.partition(":")[0], "dtype": dtype})

    def score(self, pairs: Sequence[tuple[str, str]], names: Sequence[str] = ()) -> list[Reward]:
        """A reward for each (question, response), in their order.

        Args:
            names: how messages call the pairs; empty: by their number.

        Raises:
            SpectraError: a reward is not finite, or the device has too little memory.
        """
        read = self.reader.read(pairs)
        values: list[float] = [math.nan] * len(read)
        for batch in self._batches(read):
            for index, value in zip(batch, self._rewards([read[i].ids for i in batch]), strict=True):
                values[index] = value
        for index, value in enumerate(values):
            if not math.isfinite(value):
                name = names[index] if names else f"pair {index}"
                raise SpectraError(
                    f"The reward of {name} is {value}. The weights of {self.about.get('model')} are damaged, or "
                    f"{self.place.dtype} is too narrow for them. Copy it again; rewards of a CPU (--device cpu) are in float32."
                )
        return [Reward(value=v, tokens=len(t.ids), truncated=t.cut) for v, t in zip(values, read, strict=True)]

    def padding_is_harmless(self) -> bool:
        """Whether a short text in a batch with a long one gets the outputs that it gets alone."""
        short, long = (t.ids for t in self.reader.read(_PROBE))
        short = short if len(short) < len(long) else short[: max(1, len(short) // 2)]
        padded, alone = self._logits([short, long])[0], self._logits([short])[0]
        tolerance = _TOLERANCE_HALF if next(self.model.parameters()).element_size() < 4 else _TOLERANCE
        return bool(((padded - alone).abs() <= tolerance * (1 + alone.abs())).all())

    def _batches(self, read: Sequence[Tokens]) -> Iterator[list[int]]:
        """Which texts go together: the longest first, so that a lack of memory shows at once."""
        batch: list[int] = []
        for index in sorted(range(len(read)), key=lambda i: (-len(read[i].ids), i)):
            other = self.equal_lengths and bool(batch) and len(read[batch[0]].ids) != len(read[index].ids)
            if len(batch) == self.batch_size or other:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _rewards(self, rows: Sequence[Sequence[int]]) -> list[float]:
        import torch

        try:
            rewards: list[float] = self._logits(rows)[:, self.logit].tolist()
        except torch.OutOfMemoryError as error:
            raise SpectraError(
                f"Out of device memory with {len(rows)} texts of up to {max(map(len, rows))} tokens for the reward model; resume "
                + (
                    f"with --batch-size below {len(rows)}."
                    if len(rows) > 1
                    else "on a larger device, or with --device cpu."
                )
            ) from error
        return rewards

    def _logits(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """All outputs, float32 on the CPU, (R, labels)."""
        import torch

        config = self.model.config.get_text_config()
        named = config.pad_token_id
        pad = self._pad(rows)
        longest = max(map(len, rows))
        device = self.model.get_input_embeddings().weight.device
        ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=device)  # (R, L)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
        cache = {"use_cache": False} if "use_cache" in inspect.signature(self.model.forward).parameters else {}
        try:
            config.pad_token_id = pad
            with torch.inference_mode():
                found: torch.Tensor = self.model(input_ids=ids, attention_mask=mask, **cache).logits
        finally:
            config.pad_token_id = named
        return found.float().cpu()

    def _pad(self, rows: Sequence[Sequence[int]]) -> int:
        named = named_pad(self.model)
        if named is not None:
            return named
        ends = {row[-1] for row in rows}
        return next(i for i in range(len(ends) + 1) if i not in ends)


def named_pad(model: Any) -> int | None:
    """The configuration's padding token, where it is one of the vocabulary (some name -1)."""
    found = model.config.get_text_config().pad_token_id
    return found if isinstance(found, int) and 0 <= found < model.get_input_embeddings().weight.shape[0] else None
