"""Texts as token ids for probing: the tokenizer's own special tokens, the end kept of what is too long."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spectra.errors import SpectraError


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One text: what the model reads, whether it was cut, and the key under which its embedding is kept."""

    ids: tuple[int, ...]
    cut: bool
    key: str


@dataclass(frozen=True, kw_only=True)
class Specials:
    """Ids that the tokenizer puts before and after every text (BOS, EOS), by its own default."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def specials(tokenizer: Any) -> Specials:
    """What the tokenizer adds, seen on a word."""
    bare, full = (tuple(tokenizer("word", add_special_tokens=add)["input_ids"]) for add in (False, True))
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return Specials(before=full[:start], after=full[start + len(bare) :])
    raise SpectraError(
        f"{type(tokenizer).__name__} splits 'word' otherwise with special tokens than without them; give a tokenizer that only "
        "puts them before and after."
    )


def encode(texts: Sequence[str], tokenizer: Any, window: int | None) -> list[Encoded]:
    """Ids of each text, special tokens included; of a text longer than `window` tokens the last ones are kept.

    Special tokens are never cut off. The last id is that whose embedding is probed.

    Raises:
        SpectraError: the window has no room beside the special tokens, or a text becomes no token at all.
    """
    around = specials(tokenizer)
    room = None if window is None else window - len(around.before) - len(around.after)
    if room is not None and room < 1:
        raise SpectraError(
            f"A window of {window} tokens has no room for a text beside the special tokens. Widen --window."
        )
    options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
    found = []
    for text, ids in zip(texts, tokenizer(list(texts), **options)["input_ids"] if texts else (), strict=True):
        if not ids:
            raise SpectraError(f"The tokenizer makes no token of the text {text[:40]!r}. Leave it out.")
        cut = room is not None and len(ids) > room
        kept = ids[len(ids) - room :] if cut and room is not None else ids
        whole = (*around.before, *kept, *around.after)
        key = hashlib.sha256(array("q", whole).tobytes()).hexdigest()[:32]
        found.append(Encoded(ids=whole, cut=cut, key=key))
    return found
