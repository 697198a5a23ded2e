"""What training loses to AlphaDecay on the tiny preset: wall time of the same steps with a uniform decay, and with measurements.

Stretches of steps in turns, each on its own model; two torch threads. Where the policy waits (`sync`), its share of the
time is also measured inside, which resolves what the difference of two noisy stretches cannot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measure import Line, Result, Run, as_data, in_turns, log, median, run_function
from benchmarks.settings import Settings

CASES = (("sync", 500), ("sync", 50), ("sync", 1), ("async", 500), ("async", 50), ("async", 10), ("async", 1))
TARGETS = {("async", 10): "<= 5", ("sync", 500): "<= 1"}


class _Side:
    """One model under one policy."""

    def __init__(self, mode: str, gap: int) -> None:
        from alphadecay import AlphaDecay, Uniform, recipes
        from alphadecay.models import build

        recipe = recipes.load("tiny")
        assert recipe.data is not None
        model: Any = build(recipe.model, vocab_size=recipe.data.vocab_size, window=recipe.data.window, seed=0)
        self._model = model
        self._policy = Uniform(model, base=0.1) if mode == "none" else AlphaDecay(model, base=0.1, gap=gap, mode=mode)
        self._optimizer = torch.optim.AdamW(self._policy.param_groups(), lr=1e-3)
        self._shape = (recipe.train.batch_size, recipe.data.window)
        self._vocabulary = recipe.data.vocab_size
        self.inside = 0.0
        self.steps = 0

    def train(self, steps: int) -> None:
        """So many optimizer steps on random tokens."""
        for _ in range(steps):
            ids = torch.randint(0, self._vocabulary, self._shape)
            self._model(input_ids=ids, labels=ids).loss.backward()
            began = time.perf_counter()
            self._policy.step(self._optimizer)
            self.inside += time.perf_counter() - began
            self._optimizer.step()
            self._optimizer.zero_grad()
        self.steps += steps


def run(settings: Settings) -> Result:
    """Per cent of the time of a step, by mode and gap."""
    torch.set_num_threads(2)
    lines, details = [], {}
    for mode, gap in CASES:
        steps = min(500, max(100, gap))
        base, other = _Side("none", 0), _Side(mode, gap)
        for side in (base, other):
            side.train(5)
            side.inside, side.steps = 0.0, 0
        stretches: dict[str, Callable[[], Run]] = {
            "uniform": _measured(base, steps, settings),
            "alphadecay": _measured(other, steps, settings),
        }
        runs = in_turns(stretches, settings, log)
        details[f"{mode} {gap}"] = as_data(runs) | {"inside_s": other.inside, "steps": other.steps}
        step_ms = {name: 1e3 * median(found, "wall_s") / steps for name, found in runs.items()}
        waited = 1e3 * other.inside / other.steps
        target = TARGETS.get((mode, gap), "")
        lines.append(
            Line(
                what=f"{mode}, gap {gap}: waiting inside the policy", ours=f"{waited:.3f} ms a step",
                other=f"{step_ms['uniform']:.1f} ms a step", value=100 * waited / step_ms["uniform"], unit="%",
                target=target if mode == "sync" else "",
            )
        )  # fmt: skip
        lines.append(
            Line(
                what=f"{mode}, gap {gap}: whole step", ours=f"{step_ms['alphadecay']:.1f} ms",
                other=f"{step_ms['uniform']:.1f} ms", value=100 * (step_ms["alphadecay"] / step_ms["uniform"] - 1), unit="%",
                target=target if mode == "async" else "",
            )
        )  # fmt: skip
    return Result(
        name="training",
        title="What training loses to AlphaDecay: tiny preset (0.49M parameters, 16 x 128 tokens), two threads, wall time",
        lines=lines,
        notes=(
            "The authors' 60M run on their GPU: 1.4 h without, 1.4, 1.6 and 9.3 h at gap 500, 50 and 1 (table 11).",
        ),
        details=details,
    )


def _measured(side: _Side, steps: int, settings: Settings) -> Callable[[], Run]:
    return lambda: run_function(lambda: side.train(steps), settings)
