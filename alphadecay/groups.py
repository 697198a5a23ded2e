"""Parameter groups by name, and the decays of one step put into an optimizer's groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch

_ORIGINAL = "_alphadecay_original_groups"  # on an optimizer while its groups are split
NAME = "name"  # the key under which a group carries its name


def inner(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimizer inside accelerate's wrapper."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    found: torch.optim.Optimizer = optimizer
    return found


def is_decoupled(optimizer: Any) -> bool:
    """Whether an optimizer decays weights directly (AdamW) or through the gradient (Adam with L2).

    Raises:
        SpectraError: neither is known of this class.
    """
    found = inner(optimizer)
    flag = found.defaults.get("decoupled_weight_decay")
    if isinstance(flag, bool):
        return flag
    name = type(found).__name__
    if name.lower().endswith("adamw") or name in ("Lion", "Muon"):
        return True
    if name in ("Adam", "SGD", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax"):
        return False
    raise SpectraError(
        f"Whether {name} decays weights directly or through the gradient is not known here. Use torch's Adam or AdamW for a "
        "decay of single elements."
    )


def set_decays(optimizer: Any, decay_of: Callable[[str], float], known: Sequence[str]) -> None:
    """Put the decay of every group into an optimizer built from `Policy.param_groups()`.

    Raises:
        SpectraError: its groups have no names, or others.
    """
    groups = inner(optimizer).param_groups
    names = [group.get(NAME) for group in groups]
    if set(names) != set(known):
        strange = sorted({str(name) for name in set(names) ^ set(known)})
        raise SpectraError(
            f"The optimizer has {len(groups)} parameter groups that are not those of this policy (they differ in {strange[0]}"
            f"{', ...' if len(strange) > 1 else ''}). Build it from policy.param_groups()."
        )
    for group, name in zip(groups, names, strict=True):
        group["weight_decay"] = decay_of(str(name))


class Regrouped:
    """An optimizer whose groups are split by decay for the length of one step, and then as they were.

    What the optimizer was built with stays what schedulers, checkpoints and loggers see: only `step()` sees the split. A
    group without decay (norms and biases in a `transformers.Trainer`) keeps none.
    """

    def __init__(self, optimizer: Any, owner: Mapping[int, str]) -> None:
        """`owner`: id of a parameter -> name of its group.

        Raises:
            SpectraError: the optimizer decays parameters that have no owner (they were replaced after the policy was made).
        """
        self._optimizer = inner(optimizer)
        self._owner = owner
        decayed = [g for g in self._optimizer.param_groups if g.get("weight_decay")]
        strange = sum(id(parameter) not in owner for group in decayed for parameter in group["params"])
        if strange:
            raise SpectraError(
                f"The optimizer decays {strange} parameters that are not the model's trainable ones. Give the Trainer the model "
                "that the optimizer was made for."
            )

    def split(self, decay_of: Callable[[str], float]) -> list[dict[str, Any]]:
        """Replace the groups by one for every decay; returns them."""
        self.join()
        original = self._optimizer.param_groups
        made: list[dict[str, Any]] = []
        for group in original:
            if group.get("weight_decay", 0.0) == 0.0:
                made.append(group)
                continue
            parts: dict[str, list[Any]] = {}
            for parameter in group["params"]:
                parts.setdefault(self._owner.get(id(parameter), "base"), []).append(parameter)
            made += [
                {**group, "params": part, "weight_decay": decay_of(name), NAME: name} for name, part in parts.items()
            ]
        setattr(self._optimizer, _ORIGINAL, original)
        self._optimizer.param_groups = made
        return made

    def join(self) -> None:
        """Put the groups back, with what the optimizer has written into them.

        Raises:
            SpectraError: it has written different things into parts of one group (an optimizer that adapts by group).
        """
        original = getattr(self._optimizer, _ORIGINAL, None)
        if original is None:
            return
        parts = [g for g in self._optimizer.param_groups if not any(g is group for group in original)]
        restore(self._optimizer)
        for group in original:
            held = {id(parameter) for parameter in group["params"]}
            _write_back(
                group, [part for part in parts if part["params"] and id(part["params"][0]) in held], self._optimizer
            )


def _write_back(group: dict[str, Any], parts: list[dict[str, Any]], optimizer: Any) -> None:
    for key in dict.fromkeys(key for part in parts for key in part):
        if key in ("params", "weight_decay", NAME):
            continue
        first = parts[0].get(key)
        if any(part.get(key) is not first and part.get(key) != first for part in parts[1:]):
            raise SpectraError(
                f"{type(optimizer).__name__} keeps a {key!r} of its own for every parameter group, which splitting by decay would "
                "change. Use an optimizer without state by group, such as AdamW."
            )
        group[key] = first


def restore(optimizer: Any) -> None:
    """Put back groups that an exception in the middle of a step left split."""
    original = getattr(optimizer, _ORIGINAL, None)
    if original is not None:
        optimizer.param_groups = original
        delattr(optimizer, _ORIGINAL)
