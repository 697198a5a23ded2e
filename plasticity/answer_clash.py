r"""What math-verify 0.9 calls equal and a reader does not, found before it is asked.

Measured: `(1,2)` equals `\{1,2\}`; `3:30` equals `1:10` (a quotient); `10\text{ cm}` equals `10\text{ m}` (units are dropped);
`1 \text{ hour } 30 \text{ minutes}` equals 1; `2516_8` equals `2516_7`; words are products of their letters. Units that only one
side states do not matter: the question has stated them.
"""

from __future__ import annotations

import re

from plasticity.answer_text import is_words, plain, rewrite

_CLOCK = re.compile(r"0*(\d{1,2}):(\d{2})\s*([ap]\.?\s?m\.?)?", re.IGNORECASE)
_BASE = re.compile(r"_\{?(\d+)\}?$")
_UNIT = {
    "mm": "mm millimeter millimetre", "cm": "cm centimeter centimetre", "m": "m meter metre", "km": "km kilometer kilometre",
    "in": "in inch inche", "ft": "ft foot feet", "yd": "yd yard", "mi": "mi mile", "mg": "mg milligram", "g": "g gram",
    "kg": "kg kilogram", "lb": "lb pound", "oz": "oz ounce", "s": "s sec second", "min": "min minute", "h": "h hr hour",
    "day": "day", "week": "week", "month": "month", "year": "yr year", "mph": "mph", "kmh": "kmh", "l": "l liter litre",
    "ml": "ml milliliter millilitre",
    "deg": r"^\circ degree", "rad": "rad radian", "%": "%",
}  # fmt: skip
_NAMES = {name: unit for unit, names in _UNIT.items() for name in names.split()}
_QUANTITY = re.compile(r"(?<=[\d)}])\s*(sq(?:uare|\.)?\s+|cubic\s+)?([A-Za-z]+|%|\^\\circ)\.?(?:\s*\^\{?([23])\}?)?$")
_COMPOUND = re.compile(r"\d\s*([A-Za-z]{1,8})\b[\s,]*(?:and\s+)?\d")


def unit_of(text: str) -> str | None:
    """The unit at the end of a `plain` text, with its power (`cm2`); None where there is none that is known."""
    found = _QUANTITY.search(text)
    if found is None:
        return None
    name = found[2].casefold()
    name = _NAMES.get(name) or _NAMES.get(name.removesuffix("s")) or ""
    power = found[3] or {"s": "2", "c": "3"}.get((found[1] or " ")[0].casefold(), "")
    return f"{name}{power}" if name else None


def _outer(text: str) -> str:
    r"""The bracket that a whole text stands in: `(`, `[`, `{` (of `\{`), or nothing."""
    text = text.replace(r"\{", "⟨").replace(r"\}", "⟩").strip()
    if not text or text[0] not in "([⟨":
        return ""
    depth = 0
    for at, char in enumerate(text):
        depth += (char in "([⟨") - (char in ")]⟩")
        if depth == 0:
            return {"⟨": "{"}.get(text[0], text[0]) if at == len(text) - 1 else ""
    return ""


def _commas(text: str) -> int:
    """Commas outside all brackets."""
    depth = count = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        count += char == "," and depth == 0
    return count


def _clock(first: str, second: str) -> bool | None:
    one, two = _CLOCK.fullmatch(first), _CLOCK.fullmatch(second)
    if one and two:
        halves = {half[0].casefold() for half in (one[3], two[3]) if half}
        return one[1] == two[1] and one[2] == two[2] and len(halves) < 2
    if one or two:  # a ratio may still be met by a ratio (12:15 and 4:5), never by a number
        return None if ":" in first and ":" in second else False
    return None


def clash(first: str, second: str) -> bool | None:
    """True: equal; False: different, whatever math-verify says; None: ask it. Takes answers whose normal forms differ."""
    one, two = plain(rewrite(first)), plain(rewrite(second))
    verdict = _clock(one, two)
    if verdict is not None:
        return verdict
    if is_words(one) and is_words(two):
        return False
    if {_outer(one), _outer(two)} in ({"(", "{"}, {"[", "{"}) and "," in one and "," in two:
        return False
    bases = [found[1] for found in (_BASE.search(one), _BASE.search(two)) if found]
    units = [unit for unit in (unit_of(one), unit_of(two)) if unit]
    if len(set(bases)) == 2 or len(set(units)) == 2:
        return False
    if any(found[1].casefold().removesuffix("s") in _NAMES or found[1].casefold() in _NAMES
           for text in (one, two) for found in _COMPOUND.finditer(text)):  # fmt: skip
        return False
    return None


def _as_in(bracketed: str, bare: str) -> str:
    """`bare` in the brackets of `bracketed`, where both are lists of the same length; else as it was."""
    kind = _outer(bracketed)
    if kind not in ("(", "[") or _outer(bare) or re.search(r"=|\\(?:text|cup|pm|begin)|\b(?:and|or)\b", bare):
        return bare
    inside = bracketed.strip()
    same_length = 0 < _commas(bare) == _commas(inside[1:-1])
    return f"{inside[0]}{bare}{inside[-1]}" if same_length else bare


def ordered(first: str, second: str) -> tuple[str, str]:
    """A bare list beside a tuple is a tuple: `2,1` is not `(1,2)`. Anything else as it was."""
    return _as_in(second, first), _as_in(first, second)
