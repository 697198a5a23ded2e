"""What all weight decay policies share: groups by name, the interface, the state, the log; and the two that decide nothing.

Legend: eta the base decay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphadecay.groups import NAME, set_decays
from alphadecay.log import DecayLog
from alphadecay.measure import ranks
from alphadecay.modules import Module, parameters_by_group, unwrap
from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class GroupOptions:
    """What every policy shares.

    Attributes:
        exempt: globs on parameter names that get no decay at all (OLMo's embeddings, say).
        biases: `base`: biases keep the base decay; `module`: a module's bias has its decay.
        log: file for one JSON line a module and measurement; written by rank 0.
    """

    exempt: tuple[str, ...] = ()
    biases: str = "base"
    log: Path | None = None

    @classmethod
    def from_plain(cls, given: Mapping[str, Any]) -> GroupOptions:
        """From what JSON has: lists for tuples, text for paths."""
        log = given.get("log")
        return cls(**(dict(given) | {"exempt": tuple(given.get("exempt", ())), "log": Path(log) if log else None}))

    def __post_init__(self) -> None:
        if self.biases not in ("base", "module"):
            raise SpectraError(f"biases takes base or module, got {self.biases!r}.")
        if not isinstance(self.exempt, tuple):
            raise SpectraError(f"exempt takes a tuple of globs such as ('*embed*',), got {self.exempt!r}.")


class Policy:
    """The base decay on every parameter that is not exempt. Subclasses change `decays` and `base` step by step."""

    of_gradient: bool = False  # whether gradients are read, which must not be scaled then
    of_elements: bool = False  # whether weights are changed here, and not by the optimizer

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        base: float,
        modules: Sequence[Module] = (),
        options: GroupOptions | None = None,
    ) -> None:
        if not (math.isfinite(base) and base >= 0.0):
            raise SpectraError(f"The base decay must be a number of at least 0, got {base}.")
        self._options = options or GroupOptions()
        self._eta = base
        self.model = unwrap(model)
        self.modules = tuple(modules)
        self.decays: dict[str, float] = {module.name: base for module in modules}
        self.base = base
        self.steps = 0
        self.news = False  # whether the last step decided anything anew
        self._groups = parameters_by_group(self.model, self.modules, self._options.exempt, self._options.biases)
        writes = self._options.log is not None and ranks()[0] == 0
        self._log = DecayLog(self._options.log, self.settings()) if writes and self._options.log else None

    def settings(self) -> dict[str, Any]:
        """What decides the decays, as plain data: a resumed run must have the same."""
        return {
            "policy": type(self).__name__,
            "base": self._eta,
            "exempt": list(self._options.exempt),
            "biases": self._options.biases,
            "groups": {name: len(held) for name, held in self._groups.items() if name in ("base", "exempt")},
        }

    def param_groups(self) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer: one a module, one of the rest, one of exempt parameters; each with its name."""
        return [
            {"params": [parameter for _, parameter in held], "weight_decay": self.decay_of(name), NAME: name}
            for name, held in self._groups.items()
        ]

    def decay_of(self, group: str) -> float:
        """The present weight decay of a group, by name."""
        return 0.0 if group == "exempt" else self.decays.get(group, self.base)

    def owners(self) -> dict[int, str]:
        """id of a parameter -> name of its group."""
        return {id(parameter): name for name, held in self._groups.items() for _, parameter in held}

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Decide the decays of the coming `optimizer.step()` and put them into the optimizer's groups.

        Raises:
            SpectraError: the optimizer was not built from `param_groups()`.
        """
        self.update()
        set_decays(optimizer, self.decay_of, list(self._groups))
        self.apply(optimizer)

    def update(self) -> None:
        """Count the coming step and decide its decays."""
        self.steps += 1
        self.news = self.steps == 1
        if self.news:
            self._write([])  # the header
        self._decide()

    def _decide(self) -> None:
        """Change `decays` and `base` for step number `steps` (the first is 1)."""

    def apply(self, optimizer: torch.optim.Optimizer) -> None:
        """Do by hand what groups cannot hold (decays of single elements); the groups are set already."""

    def finish(self) -> None:
        """Wait for what runs beside the training. Under several ranks call it on all of them before `state_dict()`."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data from which `load_state_dict` goes on as if nothing had happened."""
        return {
            "settings": self.settings(),
            "steps": self.steps,
            "base": self.base,
            "decays": dict(self.decays),
            **self._state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            SpectraError: it was made with other settings or for other modules.
        """
        if set(state["decays"]) != set(self.decays):
            strange = sorted(set(state["decays"]) ^ set(self.decays))
            raise SpectraError(f"The state is of another model: {strange[0]} is not in both.")
        if state["settings"] != self.settings():
            was, now = state["settings"], self.settings()
            changed = [f"{k} was {was.get(k)} and is {now.get(k)}" for k in {**was, **now} if was.get(k) != now.get(k)]
            raise SpectraError(
                f"The state is of another policy: {'; '.join(changed)}. Resume with the settings of the run."
            )
        self.steps, self.base = int(state["steps"]), float(state["base"])
        self.decays = {name: float(state["decays"][name]) for name in self.decays}
        self._load(state)
        if self._log is not None:
            self._log.rewind(self.steps)

    def _state(self) -> dict[str, Any]:
        return {}

    def _load(self, state: Mapping[str, Any]) -> None:
        pass

    def _write(self, records: Sequence[Mapping[str, Any]]) -> None:
        if self._log is not None:
            self._log.append(records)


class NoDecay(Policy):
    """No weight decay."""

    def __init__(self, model: torch.nn.Module, *, options: GroupOptions | None = None) -> None:
        super().__init__(model, base=0.0, options=options)


class Uniform(Policy):
    """The same weight decay for every parameter that is not exempt."""

    def __init__(self, model: torch.nn.Module, *, base: float, options: GroupOptions | None = None) -> None:
        super().__init__(model, base=base, options=options)
