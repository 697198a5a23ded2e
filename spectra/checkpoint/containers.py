"""Where in a saved object the weights are: training scripts nest the state dict under a name of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spectra.checkpoint.reading import encodable, some
from spectra.errors import CheckpointError

# Names under which known training codes save the weights, in the order of preference (averages come last).
NESTED = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "model_ema",
    "ema_state_dict", "params_ema", "ema",
)  # fmt: skip
_MAX_DEPTH = 4


def pick_state_dict(saved: Any, is_tensor: Callable[[Any], bool], label: str) -> tuple[str, dict[str, Any], list[str]]:
    """The one mapping of names to tensors in `saved`.

    Returns the path to it ('' for `saved` itself), its tensors by name, and what else it holds.

    Raises:
        CheckpointError: an optimizer's state, no tensors, or several mappings to choose from.
    """
    if not isinstance(saved, Mapping):
        raise CheckpointError(
            f"{label}: holds {_kind(saved)}, expected a mapping of names to tensors (a state dict); save "
            "`model.state_dict()` instead."
        )
    found = _find(saved, is_tensor, label, "", _MAX_DEPTH)
    if found is None:
        if _is_optimizer(saved):
            raise CheckpointError(
                f"{label}: this is an optimizer's state, not a model; name the file with the model's weights "
                "(model.safetensors or pytorch_model.bin beside it)."
            )
        raise CheckpointError(
            f"{label}: holds no tensors by name (its keys: {some([str(key) for key in saved]) or 'none'}); "
            "expected a state dict."
        )
    path, mapping = found
    tensors = {key: value for key, value in mapping.items() if isinstance(key, str) and is_tensor(value)}
    for name in tensors:
        if not encodable(name):
            raise CheckpointError(f"{label}: the tensor name {name!r} is not valid text.")
    return path, tensors, [str(key) for key in mapping if key not in tensors]


def _find(
    saved: Mapping[Any, Any], is_tensor: Callable[[Any], bool], label: str, path: str, depth: int
) -> tuple[str, Mapping[Any, Any]] | None:
    """The mapping to take in `saved`: a nested one if it has more tensors than `saved` itself has."""
    own = _weights(saved, is_tensor)
    if depth == 0 or _is_optimizer(saved):
        return None
    nested: dict[str, tuple[str, Mapping[Any, Any]]] = {}
    for key, value in saved.items():
        if isinstance(key, str) and isinstance(value, Mapping):
            below = f"{path}.{key}" if path else key
            found = _find(value, is_tensor, label, below, depth - 1)
            if found is not None and _weights(found[1], is_tensor) > own:
                nested[key] = found
    for name in NESTED:
        if name in nested:
            return nested[name]
    if own or (not nested and any(isinstance(key, str) and is_tensor(value) for key, value in saved.items())):
        return path, saved
    if len(nested) > 1:
        raise CheckpointError(
            f"{label}: several mappings hold tensors ({some([found[0] for found in nested.values()])}); "
            "expected one: save the one you mean to a file of its own."
        )
    return next(iter(nested.values()), None)


def _weights(mapping: Mapping[Any, Any], is_tensor: Callable[[Any], bool]) -> int:
    """Number of named tensors that are no scalars: a loss saved beside a model does not make its dict a state dict."""
    return sum(1 for key, value in mapping.items() if isinstance(key, str) and is_tensor(value) and value.ndim)


def _is_optimizer(saved: Mapping[Any, Any]) -> bool:
    return "param_groups" in saved and "state" in saved


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"an object of type {name}"
