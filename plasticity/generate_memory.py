"""How many samples fit into memory at once: measured on the model's cache, in powers of two so that the next run finds the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plasticity.generate_model import CausalModel
from plasticity.generate_plan import Limits
from spectra.errors import SpectraError

ROWS = 256  # at most, where nothing else is asked for
_MOST_TOKENS = 1 << 20
_CPU_BYTES = 1 << 31  # the same on every machine: on a CPU larger batches gain little
_GPU_SHARE = 0.5  # of what is free beside the model; the rest is for activations and copies of the cache
_ROW_SHARE = 0.25  # of that, for what a row takes however long it is
_LOGIT_COPIES = 8  # float32 rows of the vocabulary while a token is chosen
_PROBE = (8, 16)  # tokens


def limits(model: CausalModel, rows: int | None, tokens: int | None) -> Limits:
    """What a batch may hold.

    Args:
        rows: samples at once, as asked for; None: as many as fit, at most 256.
        tokens: rows x (prompt + response), as asked for; None: as many as fit, and with `rows` no limit.

    Raises:
        SpectraError: the device has no room for 16 tokens beside the model.
    """
    if rows is not None or tokens is not None:
        return Limits(rows=rows or ROWS, tokens=tokens)
    of_row, of_token = _costs(model)
    room = _room(model)
    return Limits(
        rows=min(ROWS, _power_of_two(_ROW_SHARE * room / of_row)),
        tokens=min(_MOST_TOKENS, _power_of_two((1 - _ROW_SHARE) * room / max(1, of_token))),
    )


def _costs(model: CausalModel) -> tuple[float, float]:
    """Bytes that a row takes however long it is, and bytes that each of its tokens takes."""
    import torch

    try:
        with torch.inference_mode():
            found = [model.prefill([[0] * length]) for length in _PROBE]
    except torch.OutOfMemoryError as error:
        raise SpectraError(
            f"The device has no room beside the model ({model.dtype}). Choose one with more (--device cpu), or end what "
            "else is on it."
        ) from error
    vocabulary = found[0][0].shape[-1]
    short, long = (sum(t.numel() * t.element_size() for t in _tensors(cache)) for _, cache, _ in found)
    of_token = (long - short) / (_PROBE[1] - _PROBE[0])
    return max(0.0, short - of_token * _PROBE[0]) + 4 * _LOGIT_COPIES * vocabulary, of_token


def _tensors(found: Any) -> Iterable[Any]:
    """All tensors in a cache: in the layers that it lists, in what those hold."""
    import torch

    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, dict):
        for value in found.values():
            yield from _tensors(value)
    elif isinstance(found, (list, tuple)):
        for value in found:
            yield from _tensors(value)
    elif hasattr(found, "layers") or hasattr(found, "is_initialized"):  # a cache, one of its layers
        yield from _tensors(vars(found))


def _room(model: CausalModel) -> float:
    """Bytes for caches and logits."""
    if model.device.type != "cuda":
        return _CPU_BYTES
    import torch

    free = torch.cuda.mem_get_info(model.device)[0]
    unused = torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
    return _GPU_SHARE * (free + unused)


def _power_of_two(number: float) -> int:
    """The largest that is no more, at least 1."""
    return 1 << max(0, int(number).bit_length() - 1)
