"""Weight decay policies, one interface: `param_groups()` for an optimizer, then `step(optimizer)` before every `optimizer.step()`.

decay = AlphaDecay(model, base=0.1, ratio=(2 / 3, 5), gap=500)
optimizer = AdamW(decay.param_groups(), lr=1e-3)
...
loss.backward(); decay.step(optimizer); optimizer.step()

Gradients must be there, and clipped already where they are. With a coupled optimizer (`torch.optim.Adam`) the decay is its L2
penalty; with AdamW it is decoupled. float16 with a gradient scaler: unscale first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from alphadecay.assign import Assignment, AssignOptions, assign
from alphadecay.groups import NAME, is_decoupled
from alphadecay.measure import Measurer, Scores, poll_every, ranks
from alphadecay.modules import Module, find_modules, layers_of, unwrap, without_ends
from alphadecay.policy import GroupOptions, NoDecay, Policy, Uniform
from alphadecay.scores import Meter, ModuleScore, Score, ScoreOptions
from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch

    from spectra.tails import FitName

__all__ = ["AdaDecay", "AdaptiveWeightDecay", "AlphaDecay", "GroupOptions", "NoDecay", "Policy", "Uniform"]

MODES = ("sync", "async")


class AlphaDecay(Policy):
    """Module-wise decay from scores: assigned at the first step from the initial weights, then before step gap, 2 gap, ...

    Source: AlphaDecay (He et al. 2025), algorithm 1, eq. 2 and 3. Modules without a score (degenerate, too small, not finite)
    keep the base decay and have no part in the others' scale.

    Args:
        model: on its device already; wrapped or not. Build the policy after sharding (FSDP2).
        base: eta.
        ratio: (s1, s2) of the linear assignment: (2/3, 5) or (2/3, 3) in the paper.
        gap: optimizer steps between measurements.
        score, fit, profile, null_corrected: what is measured (`ScoreOptions`).
        assignment, steepness: how scores become decays (`AssignOptions`).
        mode: `sync`: the step waits for the measurement. `async`: weights are copied and measured beside the training; the
            decays apply when ready, at most `gap` steps late, so that two runs need not be equal.
        workers: threads that measure; 0: the cores of this rank.
    """

    def __init__(  # noqa: PLR0913 -- flat: one argument a choice of the paper
        self,
        model: torch.nn.Module,
        *,
        base: float,
        ratio: tuple[float, float] = (2 / 3, 5.0),
        gap: int = 500,
        score: Score = "alpha",
        fit: FitName = "hill",
        assignment: Assignment = "linear",
        mode: str = "sync",
        profile: str = "default",
        null_corrected: bool = False,
        steepness: float = 4.0,
        workers: int = 0,
        options: GroupOptions | None = None,
    ) -> None:
        if gap < 1:
            raise SpectraError(f"gap must be at least 1 step, got {gap}.")
        if mode not in MODES:
            raise SpectraError(f"Unknown mode {mode!r}. Use one of: {', '.join(MODES)}.")
        self._measured = ScoreOptions(score=score, fit=fit, profile=profile, null_corrected=null_corrected)
        self._assigned = AssignOptions(assignment=assignment, ratio=(ratio[0], ratio[1]), steepness=steepness)
        self._gap, self._mode = gap, mode
        self.of_gradient = self._measured.of_gradient
        self._again = False  # a measurement is to be made at the next step, due or not
        model = unwrap(model)
        modules = find_modules(model)
        if profile == "alphadecay":
            modules = without_ends(modules, model)
        super().__init__(model, base=base, modules=modules, options=options)
        parameters = dict(self.model.named_parameters())
        self._measurer = Measurer(modules, parameters, Meter(self._measured, modules), workers)
        self._started = 0  # the step that the running measurement is of
        self._ready: Scores | None = None  # measured before an interruption, not yet applied
        self.scores: Scores = {}
        self.measured_at = 0

    @property
    def score(self) -> str:
        """What is measured."""
        return self._measured.score

    def settings(self) -> dict[str, Any]:
        """See `Policy.settings`."""
        return super().settings() | {
            **asdict(self._measured),
            **asdict(self._assigned),
            "ratio": list(self._assigned.ratio),
            "gap": self._gap,
            "mode": self._mode,
        }

    def _decide(self) -> None:
        due, self._again = self.steps == 1 or self.steps % self._gap == 0 or self._again, False
        if self._mode == "sync":
            if due:
                self._assign(self._measurer.now(), self.steps)
            return
        if self._ready is not None:
            self._assign(self._ready, self._started)
            self._ready = None
        if self._measurer.running and (due or self.steps % poll_every(self._gap) == 0):
            found = self._measurer.collect(wait=due)
            if found is not None:
                self._assign(found, self._started)
        if due:
            self._measurer.start()
            self._started = self.steps

    def _assign(self, scores: Scores, measured_at: int) -> None:
        values = {name: score.value for name, score in scores.items() if score.value is not None}
        decays = assign(values, layers_of(self.modules), self._eta, self._assigned)
        self.decays = {module.name: decays.get(module.name, self._eta) for module in self.modules}
        self.scores, self.measured_at, self.news = scores, measured_at, True
        self._again = self.of_gradient and not values  # gradients that overflowed: not for a whole gap
        self._write([self._record(module, scores[module.name], module.name in decays) for module in self.modules])

    def _record(self, module: Module, score: ModuleScore, assigned: bool) -> dict[str, Any]:
        record = {
            "step": self.steps,
            "measured_at": self.measured_at,
            "module": module.name,
            "layer": module.layer,
            "role": module.role,
            self._measured.score: score.value,
            "decay": self.decays[module.name],
            "status": score.status if assigned or score.status != "ok" else "no_decay",
            "seconds": score.seconds,
        }
        if score.matrices:
            record["matrices"] = {
                name: {self._measured.score: v, "status": s} for name, (v, s) in score.matrices.items()
            }
        return record

    def finish(self) -> None:
        """See `Policy.finish`: what was measured is kept, and applied at the next step."""
        if self._measurer.running:
            self._ready = self._measurer.collect(wait=True)

    def _state(self) -> dict[str, Any]:
        if ranks()[1] == 1:
            self.finish()
        ready = None if self._ready is None else {name: asdict(score) for name, score in self._ready.items()}
        return {
            "measured_at": self.measured_at,
            "started": self._started,
            "ready": ready,
            "running": self._measurer.running or self._again,
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        self.measured_at, self._started = int(state["measured_at"]), int(state["started"])
        ready = state["ready"]
        self._ready = None if ready is None else {name: ModuleScore(**score) for name, score in ready.items()}
        self._again = bool(state["running"])


class AdaptiveWeightDecay(Policy):
    """AWD: one decay for all parameters, anew at every step: lambda = 0.1 lambda + 0.9 c ||gradient|| / ||weights||.

    Norms are over all trainable parameters that have a gradient; lambda begins at 0. Source: Ghiasi et al. 2023, algorithm 1.

    Args:
        base: the decay this stands in for; c = factor x base.
        factor: 100 in AlphaDecay's comparison for language models (50 for ViT).
        log_every: steps between lines of the log.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        base: float,
        factor: float = 100.0,
        log_every: int = 50,
        options: GroupOptions | None = None,
    ) -> None:
        if not (math.isfinite(factor) and factor > 0.0):
            raise SpectraError(f"factor must be above 0, got {factor}.")
        self._factor, self._every = factor, max(1, log_every)
        self.of_gradient = True
        super().__init__(model, base=base, options=options)
        self.base = 0.0

    def settings(self) -> dict[str, Any]:
        """See `Policy.settings`."""
        return super().settings() | {"factor": self._factor}

    def _decide(self) -> None:
        from alphadecay.norms import global_norm

        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if not parameters:
            raise SpectraError(
                "AWD needs gradients: call decay.step(optimizer) after backward() and before zero_grad()."
            )
        gradient = global_norm([p.grad for p in parameters if p.grad is not None])
        weights = global_norm([p.detach() for p in parameters])
        ok = math.isfinite(gradient) and math.isfinite(weights) and weights > 0.0
        if ok:
            self.base = 0.1 * self.base + 0.9 * self._factor * self._eta * gradient / weights
        if self.steps == 1 or self.steps % self._every == 0:
            self.news = True
            record = {"step": self.steps, "decay": self.base, "status": "ok" if ok else "non_finite"}
            norms = {"gradient_norm": gradient, "weight_norm": weights}
            self._write([record | {name: norm if math.isfinite(norm) else None for name, norm in norms.items()}])


class AdaDecay(AlphaDecay):
    """Decay by the size of the gradient: eta 2/(1 + exp(-beta z)), z a standardised gradient.

    Args:
        granularity: `module`: z of a module's gradient norm within its layer, every `gap` steps (AlphaDecay's comparison).
            `element`: z of each |gradient entry| within its weight, at every step (Nakamura and Hong 2019, eq. 9 to 11).
        steepness: beta.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        base: float,
        granularity: str = "module",
        gap: int = 500,
        steepness: float = 4.0,
        options: GroupOptions | None = None,
    ) -> None:
        if granularity not in ("module", "element"):
            raise SpectraError(f"granularity takes module or element, got {granularity!r}.")
        self._granularity = granularity
        self.of_elements = granularity == "element"
        super().__init__(
            model,
            base=base,
            gap=gap,
            score="gradient_norm",
            assignment="sigmoid",
            steepness=steepness,
            options=options,
        )

    def settings(self) -> dict[str, Any]:
        """See `Policy.settings`."""
        return super().settings() | {"granularity": self._granularity}

    def _decide(self) -> None:
        if self._granularity == "module":
            super()._decide()

    def apply(self, optimizer: torch.optim.Optimizer) -> None:
        """Decay single elements, and take the group's own decay off so that none is decayed twice."""
        if self._granularity == "module":
            return
        from alphadecay.elements import decay_elements

        decoupled = is_decoupled(optimizer)
        for group in optimizer.param_groups:
            if group.get(NAME) in self.decays:
                group["weight_decay"] = 0.0
                decay_elements(group, self._eta, self._assigned.steepness, decoupled=decoupled)
