"""What a verdict is made of: findings in words, each with the matrices behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["plain", "notable", "bad"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A matrix named as evidence; `row` is its position on the page, -1 where it is none."""

    row: int
    name: str
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A heading, what was found in one or more sentences, and the matrices behind it."""

    heading: str
    sentences: tuple[str, ...]
    items: tuple[Item, ...] = ()
    tone: Tone = "plain"
