"""Calls of a causal language model of transformers: padded batches with a cache, and a sequence by itself.

R = rows, L = length, V = vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plasticity.generate_options import Prompt
from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch

_PADDING_TOLERANCE = 1e-3  # relative to the largest logit, float32; a model that padding changes is off by far more
_PADDING_TOLERANCE_HALF = 0.1
_PROBE_TOKENS = 64


class CausalModel:
    """The few calls that decoding needs; a model takes what its `forward` knows."""

    def __init__(self, model: Any) -> None:
        """Look at the model's signature.

        Raises:
            SpectraError: an encoder-decoder.
        """
        if getattr(model.config, "is_encoder_decoder", False):
            raise SpectraError(
                f"{type(model).__name__} is an encoder-decoder; give a causal language model (AutoModelForCausalLM)."
            )
        self.model = model
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._knows = set(inspect.signature(inner.forward).parameters)
        self.device: torch.device = model.get_input_embeddings().weight.device
        self.dtype: torch.dtype = next(model.parameters()).dtype

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Logits after each prompt (R, V), the cache, and the mask (R, L); shorter prompts are padded on the left."""
        import torch

        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        mask = mask.to(self.device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        logits, cache = self._call(ids.to(self.device), mask, positions, None)
        return logits, cache, mask

    def step(self, tokens: torch.Tensor, cache: Any, mask: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Logits after one more token a row (R, V), and the cache; `mask` covers the new token."""
        return self._call(tokens[:, None], mask, mask.sum(dim=1, keepdim=True) - 1, cache)

    def alone(self, ids: Sequence[int]) -> torch.Tensor:
        """Logits (1, V) after a sequence run by itself, without padding or cache: they depend on the sequence only."""
        import torch

        row = torch.tensor([list(ids)], device=self.device)
        keep = {"logits_to_keep": 1} if "logits_to_keep" in self._knows else {}
        logits: torch.Tensor = self.model(input_ids=row, use_cache=False, **keep).logits[:, -1]
        return logits

    def padding_is_harmless(self, prompts: Sequence[Prompt]) -> bool:
        """Whether the shortest prompt, padded to the length of a longer one, gets the logits that it gets alone."""
        short, long = (tuple(p.ids[:_PROBE_TOKENS]) for p in (min(prompts, key=_length), max(prompts, key=_length)))
        if len(short) == len(long):
            short = short[: max(1, len(short) // 2)]
        if len(short) == len(long):
            return True
        padded, alone = self.prefill([short, long])[0][0].float(), self.alone(short)[0].float()
        half = self.dtype.itemsize < 4
        tolerance = _PADDING_TOLERANCE_HALF if half else _PADDING_TOLERANCE
        return bool((padded - alone).abs().max() <= tolerance * alone.abs().max())

    def _call(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any
    ) -> tuple[torch.Tensor, Any]:
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache, "use_cache": True}
        optional = {"position_ids": positions, "logits_to_keep": 1}
        found = self.model(**given, **{k: v for k, v in optional.items() if k in self._knows})
        cache = getattr(found, "past_key_values", None)
        if not hasattr(cache, "reorder_cache"):
            raise SpectraError(
                f"{type(self.model).__name__} returns no key-value cache that can be shared between samples; use the server "
                "engine for it."
            )
        return found.logits[:, -1], cache


def _length(prompt: Prompt) -> int:
    return len(prompt.ids)
