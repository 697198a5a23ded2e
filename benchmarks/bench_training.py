"""What training loses to AlphaDecay on the tiny preset: wall time of the same steps with a uniform decay, and with measurements.

Blocks of ten steps of either side, ABBA ABBA ..., each side with its own model, two torch threads: what drifts in the machine
hits both alike, where stretches of hundreds of steps differed by 15% from noise alone. After a block of the other side its
measurement beside the training, if one still runs, is waited for outside the clock, so that it slows nobody else's block.

Where the policy waits (`sync`), its share of the time is also measured inside, which resolves what a difference cannot.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from benchmarks.measure import Line, Result, Run, as_data, log, run_function
from benchmarks.settings import Settings

BLOCK = 10
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
        self.blocks: list[float] = []  # seconds

    def train(self, steps: int) -> None:
        """So many optimizer steps on random tokens, as one block."""
        started = time.perf_counter()
        for _ in range(steps):
            ids = torch.randint(0, self._vocabulary, self._shape)
            self._model(input_ids=ids, labels=ids).loss.backward()
            began = time.perf_counter()
            self._policy.step(self._optimizer)
            self.inside += time.perf_counter() - began
            self._optimizer.step()
            self._optimizer.zero_grad()
        self.blocks.append(time.perf_counter() - started)
        self._policy.finish()

    def forget(self) -> None:
        """Begin the clock anew."""
        self.inside, self.blocks = 0.0, []


def run(settings: Settings) -> Result:
    """Per cent of the time of a step, by mode and gap."""
    torch.set_num_threads(2)
    lines, details = [], {}
    for mode, gap in CASES:
        base, other = _Side("none", 0), _Side(mode, gap)
        for side in (base, other):
            side.train(BLOCK - 1)  # the next block begins with a step that is due
            side.forget()
        rounds = settings.repetitions * max(gap, 5 * BLOCK) // BLOCK
        whole = run_function(lambda: _alternate(base, other, rounds), settings)  # noqa: B023 -- called at once
        found = _lines(mode, gap, base, other)
        log(f"{mode} {gap}: {found[-1].value:+.1f}%, others {whole.foreign_cores} cores")
        lines += found
        details[f"{mode} {gap}"] = _details(whole, base, other)
    return Result(
        name="training",
        title="What training loses to AlphaDecay: tiny preset (0.49M parameters, 16 x 128 tokens), two threads, wall time",
        lines=lines,
        notes=(
            f"Blocks of {BLOCK} steps in turns; mean of the paired differences, with their standard error.",
            "The authors' 60M run on their GPU: 1.4 h without, 1.4, 1.6 and 9.3 h at gap 500, 50 and 1 (table 11).",
        ),
        details=details,
    )


def _alternate(base: _Side, other: _Side, rounds: int) -> None:
    for number in range(rounds):
        for side in (base, other) if number % 2 == 0 else (other, base):
            side.train(BLOCK)


def _lines(mode: str, gap: int, base: _Side, other: _Side) -> list[Line]:
    step = 1e3 * statistics.fmean(base.blocks) / BLOCK
    lost = [1e3 * (b - a) / BLOCK for a, b in zip(base.blocks, other.blocks, strict=True)]
    error = statistics.stdev(lost) / len(lost) ** 0.5
    waited = 1e3 * other.inside / (len(other.blocks) * BLOCK)
    target = TARGETS.get((mode, gap), "")
    return [
        Line(
            what=f"{mode}, gap {gap}: waiting inside the policy", ours=f"{waited:.3f} ms a step", other=f"{step:.1f} ms a step",
            value=100 * waited / step, unit="%", target=target if mode == "sync" else "",
        ),
        Line(
            what=f"{mode}, gap {gap}: whole step", ours=f"{statistics.fmean(lost):+.2f} ± {error:.2f} ms",
            other=f"{step:.1f} ms a step", value=100 * statistics.fmean(lost) / step, unit="%",
            target=target if mode == "async" else "",
        ),
    ]  # fmt: skip


def _details(whole: Run, base: _Side, other: _Side) -> dict[str, Any]:
    return as_data({"whole": [whole]}) | {
        "uniform_blocks_s": base.blocks, "alphadecay_blocks_s": other.blocks, "inside_s": other.inside,
    }  # fmt: skip
