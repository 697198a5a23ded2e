"""Labelled texts of the embedded corpus, for probing without a network: a few words, and the kind of document that they are from.

The words follow each other and are cut out anywhere, so the last token says little by itself: a model must have carried to it what
came before. Documents are drawn by the corpus' own writers from a stream of its own, about the world that pretraining is
about (seed 0).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

from alphadecay import corpus

Labelled = dict[str, str]
TRAIN, TEST = 3_000, 600
_SEED = 20_261
_SHORT, _LONG = 4, 8


def kinds(split: str) -> Iterator[Labelled]:
    """The texts of `train` or `test`, always the same: as many of each kind, no text twice, none in both splits."""
    dice, place = corpus._Dice(_SEED), corpus.world(0)
    writers = tuple(write for _, write in corpus._KINDS)
    each = (TEST if split == "test" else TRAIN) // len(writers)
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    while sum(counts.values()) < each * len(writers):
        write = dice.pick(writers)
        words = write(dice, place).split()
        length = min(dice.number(_SHORT, _LONG), len(words))
        start = dice.number(0, len(words) - length)
        text, kind = " ".join(words[start : start + length]), write.__name__.strip("_")
        if text in seen or counts[kind] == each or _is_test(text) != (split == "test"):
            continue
        seen.add(text)
        counts[kind] += 1
        yield {"text": text, "label": kind}


def _is_test(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] < 43  # one in six
