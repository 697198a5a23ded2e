"""The embedding of a text's last token at every layer of a causal language model. Neither batch size nor padding changes it.

Layers are `hidden_states` of transformers: layer 0 is the output of the embedding layer (with position embeddings, where they
are added there), layer l that of block l. In most architectures the last one, L, is taken after the final norm: whether it is
here is looked at, not assumed (`last_layer_is_final`).

Batches are padded on the right: in a causal model no token sees what follows it, and positions count from the first
token. Whether that holds is tried before the work; a model that padding changes gets batches of one length.
R = texts in a batch, T = tokens, L = blocks, D = width.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
CONVENTION = "last token; hidden_states of transformers, 0: embedding layer; right padding; 1"
_TOLERANCE, _TOLERANCE_HALF = 1e-4, 0.1  # of a layer's largest number; a model that padding changes is off by far more
_BATCH_TOKENS = 16_384  # all layers of all tokens of a batch are in memory at once
_TRIED_TOKENS = 64


class Extractor:
    """A model on its device, ready to be read."""

    def __init__(self, model: Any, batch_size: int) -> None:
        """Take the body of the model, without the head over the vocabulary.

        Raises:
            SpectraError: an encoder-decoder.
        """
        if getattr(model.config, "is_encoder_decoder", False):
            raise SpectraError(f"{type(model).__name__} is an encoder-decoder; give a causal language model.")
        self._body = getattr(model, "base_model", model).eval()
        self._name = type(model).__name__
        self._device: torch.device = model.get_input_embeddings().weight.device
        self._dtype: torch.dtype = next(model.parameters()).dtype
        self._batch_size = batch_size
        known = inspect.signature(self._body.forward).parameters
        self._options = {"use_cache": False} if "use_cache" in known else {}
        self._masked = (
            "attention_mask" in known
        )  # without one, what follows a token must not matter: `try_padding` looks
        self.equal_lengths = False
        self.last_layer_is_final: bool | None = None

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Which texts go together, by number: the longest first, so that a lack of memory shows at once."""
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
            if batch:
                longest = lengths[batch[0]]
                full = len(batch) >= min(self._batch_size, max(1, _BATCH_TOKENS // longest))
                if full or (self.equal_lengths and lengths[index] != longest):
                    yield batch
                    batch = []
            batch.append(index)
        if batch:
            yield batch

    def rows(self, texts: Sequence[Sequence[int]]) -> Floats:
        """Embeddings of the last token of each text, float32, (L + 1, R, D).

        Raises:
            SpectraError: too little memory, or the model shows no hidden states.
        """
        import torch

        longest = max(map(len, texts))
        ids = torch.zeros(len(texts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        last = mask.sum(dim=1) - 1
        masked = {"attention_mask": mask.to(self._device)} if self._masked else {}
        try:
            with torch.inference_mode():
                found = self._body(input_ids=ids.to(self._device), output_hidden_states=True, **masked, **self._options)
                states = getattr(found, "hidden_states", None)
                if not states:
                    raise SpectraError(f"{self._name} shows no hidden states; it cannot be probed.")
                if len({state.shape for state in states}) > 1:
                    shapes = ", ".join(str(tuple(state.shape)) for state in states)
                    raise SpectraError(
                        f"Hidden states of {self._name} have different shapes ({shapes}); it cannot be probed."
                    )
                at = (torch.arange(len(texts), device=self._device), last.to(self._device))
                stacked = torch.stack([state[at] for state in states])
                final = getattr(found, "last_hidden_state", None)
                if self.last_layer_is_final is None and final is not None:
                    self.last_layer_is_final = bool(torch.equal(states[-1][at], final[at]))
        except torch.OutOfMemoryError as error:
            raise SpectraError(
                f"Out of device memory with {len(texts)} texts of up to {longest} tokens; go on with --batch-size below "
                f"{self._batch_size}, or with a smaller --window."
            ) from error
        made: Floats = stacked.float().cpu().numpy()
        return made

    def try_padding(self, texts: Sequence[Sequence[int]]) -> bool:
        """Whether a short text beside a longer one gets the embeddings that it gets alone; if not, go on with equal lengths."""
        short, long = (tuple(choose(texts, key=len)[:_TRIED_TOKENS]) for choose in (min, max))
        if len(short) == len(long):
            short = short[: max(1, len(short) // 2)]
        if len(short) < len(long):
            padded, alone = self.rows([short, long])[:, 0], self.rows([short])[:, 0]  # (L + 1, D)
            tolerance = _TOLERANCE_HALF if self._dtype.itemsize < 4 else _TOLERANCE
            off = np.abs(padded - alone).max(axis=1) > tolerance * np.abs(alone).max(axis=1)
            self.equal_lengths = bool(off.any())
        return not self.equal_lengths
