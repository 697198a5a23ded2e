"""Groups split for one step and joined again: what the optimizer writes into them is kept, an exception leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from alphadecay import AlphaDecay
from alphadecay.groups import Regrouped, restore
from spectra.errors import SpectraError

from .conftest import backward, tiny_llama


class Counting(torch.optim.AdamW):
    """Counts its steps in its groups, as schedule-free optimizers do."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["k"] = group.get("k", 0) + 1
        return super().step(closure)


class Adapting(torch.optim.AdamW):
    """Keeps a number of its own for every group, as D-adaptation does."""

    def step(self, closure: Any = None) -> Any:
        for i, group in enumerate(self.param_groups):
            group["d"] = float(i)
        return super().step(closure)


def regrouped(cls: type[torch.optim.Optimizer]) -> tuple[Any, Regrouped, AlphaDecay]:
    model = tiny_llama()
    policy = AlphaDecay(model, base=0.1)
    policy.update()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    exempt = [p for p in model.parameters() if p.ndim == 1]
    optimizer: Any = cls([{"params": decayed, "weight_decay": 0.1}, {"params": exempt, "weight_decay": 0.0}])  # type: ignore[call-arg]
    backward(model)
    return optimizer, Regrouped(optimizer, policy.owners()), policy


def test_what_the_optimizer_writes_into_its_groups_is_kept() -> None:
    optimizer, groups, policy = regrouped(Counting)
    for _ in range(4):
        groups.split(policy.decay_of)
        optimizer.step()
        groups.join()
    assert [group["k"] for group in optimizer.param_groups] == [4, 4]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert all("name" not in group for group in optimizer.param_groups)


def test_state_by_group_is_refused() -> None:
    optimizer, groups, policy = regrouped(Adapting)
    groups.split(policy.decay_of)
    optimizer.step()
    with pytest.raises(SpectraError, match="Adapting keeps a 'd' of its own"):
        groups.join()
    assert len(optimizer.param_groups) == 2


def test_an_exception_between_split_and_join_leaves_nothing_behind() -> None:
    optimizer, groups, policy = regrouped(torch.optim.AdamW)
    groups.split(policy.decay_of)
    assert len(optimizer.param_groups) > 10
    groups.split(policy.decay_of)  # the step before never came to its end
    restore(optimizer)
    assert len(optimizer.param_groups) == 2
    restore(optimizer)
    assert len(optimizer.param_groups) == 2


def test_parameters_of_another_model_are_refused() -> None:
    optimizer = torch.optim.AdamW(tiny_llama().parameters(), weight_decay=0.1)
    with pytest.raises(SpectraError, match="not the model's trainable ones"):
        Regrouped(optimizer, AlphaDecay(tiny_llama(), base=0.1).owners())
