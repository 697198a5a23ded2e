"""Which samples of which prompts are generated together: prompts of like length, as many rows as memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plasticity.generate_options import Prompt, SamplingOptions


@dataclass(frozen=True, kw_only=True)
class Share:
    """Samples `first` to `first + count - 1` of one prompt; they share one pass over the prompt."""

    prompt: Prompt
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a batch may hold: `rows` samples, and `tokens` = rows x (longest prompt + longest response); None: any number.

    `equal`: only prompts of one length together, for models that padding would change.
    """

    rows: int
    tokens: int | None
    equal: bool = False


def plan(prompts: Sequence[Prompt], options: SamplingOptions, limits: Limits) -> list[list[Share]]:
    """Batches, longest prompts first, so that a lack of memory shows at once.

    It depends on the prompts, the options and the limits only, not on what is done already: a resumed run forms the same
    batches. A single row that is over the limit by itself still gets a batch.
    """
    batches: list[list[Share]] = []
    batch: list[Share] = []
    room = max(map(options.room, prompts), default=0)
    fits = 0
    for _, prompt in sorted(enumerate(prompts), key=lambda pair: (-len(pair[1].ids), pair[0])):
        first = 0
        while first < options.samples:
            rows = sum(share.count for share in batch)
            wanted = options.samples - first
            other = limits.equal and bool(batch) and len(batch[0].prompt.ids) != len(prompt.ids)
            if batch and (other or rows + min(wanted, fits) > fits):
                batches.append(batch)
                batch = []
            if not batch:  # the longest prompt of a batch is its first
                fits = limits.rows
                if limits.tokens is not None:
                    fits = max(1, min(fits, limits.tokens // (len(prompt.ids) + room)))
                wanted = min(wanted, fits)
            batch.append(Share(prompt=prompt, first=first, count=wanted))
            first += wanted
    return [*batches, batch] if batch else batches
