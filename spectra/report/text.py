"""Strings from a checkpoint made safe to show, and data made safe to embed in a page."""

from __future__ import annotations

import json
import math
from typing import Any


def clean(text: str) -> str:
    """Text with control, direction and other invisible characters made visible (`\\x1b`), lone surrogates too."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def embed_json(data: Any) -> str:
    """JSON that may stand inside a `<script>` element: ASCII, without `<`, `>` and `&` (so no `</script>`, no `<!--`).

    Raises:
        ValueError: NaN or infinity is among the data.
    """
    made = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return made.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def rounded(value: Any, digits: int) -> Any:
    """A float at `digits` significant digits, None where it is not finite; anything else as it is."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def number(value: float | None, form: str = ".3g") -> str:
    """A number for a sentence; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else format(value, form)


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 matrix`, `3 matrices`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
