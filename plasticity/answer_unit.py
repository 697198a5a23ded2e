r"""What a number counts or measures: units, currencies, things.

A unit that only one side states does not matter, since the question has stated it; two different ones do. Nothing is converted.
"""

from __future__ import annotations

import re

from plasticity.answer_number import Number, number
from plasticity.answer_text import clean, rewrite

_UNIT = {
    "mm": "mm millimeter millimetre", "cm": "cm centimeter centimetre", "m": "m meter metre", "km": "km kilometer kilometre",
    "in": "in inch inche", "ft": "ft foot feet", "yd": "yd yard", "mi": "mi mile", "mg": "mg milligram", "g": "g gram",
    "kg": "kg kilogram", "lb": "lb pound", "oz": "oz ounce", "s": "s sec second", "min": "min minute", "h": "h hr hour",
    "day": "day", "week": "week", "month": "month", "year": "yr year", "mi/h": "mph", "km/h": "kmh kph", "l": "l liter litre",
    "ml": "ml milliliter millilitre",
    "deg": r"^\circ degree", "rad": "rad radian", "%": "%",
}  # fmt: skip
_NAMES = {name: unit for unit, names in _UNIT.items() for name in names.split()}
_QUANTITY = re.compile(
    r"(?<=[\d)}])\s*(sq(?:uare|\.)?\s+|cubic\s+)?([A-Za-z]+|%|\^\\circ)\.?(?:\s*(?:/|\bper\b)\s*([A-Za-z]+))?"
    r"(?:\s*\^\{?([2-9])\}?)?$"
)
_COMPOUND = re.compile(r"\d\s*([A-Za-z]{1,8})\b[\s,]*(?:and\s+)?\d")
_MONEY = (
    ("cent", r"[\d}]\s*(?:\\text\{\s*)?(?:cents?\b|¢)"), ("€", r"€|\\euro|\bEUR\b|\beuros?\b"), ("£", r"£|\\pounds"),
    ("¥", r"¥|\byen\b"), ("₹", r"₹|\bRs\b|\brupees\b"), ("$", r"\\\$|^\W*\$\s*[\d.](?!.*\$)|[\d}]\$$|USD|\bdollars?\b"),
)  # fmt: skip
_ANY_MONEY = re.compile(r"[$€£¥₹¢]|euro|pounds|cent|EUR|yen|Rs|rupee|USD|dollar")
_THINGS = re.compile(r"(.*[\d}])\s*(?:\s|/)\s*([A-Za-z]+(?:[ -][A-Za-z]+){0,4})")
_SHORT = frozenset(
    ["bag", "box", "boy", "bus", "can", "cap", "car", "cat", "cow", "cup", "dog", "egg", "fan",
     "hat", "hen", "jar", "kid", "man", "map", "men", "pen", "pie", "pig", "toy", "way"]
)  # fmt: skip
_NOT_THINGS = re.compile(  # these words change the number
    r"\b(?:and|or|to|plus|minus|times|over|mod|more|less|than|out|below|above|half|halves|thirds?|quarters?|fourths?|fifths?|"
    r"sixths?|sevenths?|eighths?|ninths?|tenths?|hundredths?|thousandths?|dozens?|scores?|gross|hundreds?|thousands?|"
    r"[mbtr]+illions?|percent|squared|cubed|factorial|choose|root|base|infinity|negative|each|approximately|about|theta|alpha|beta|"
    r"sqrt|frac|sine?|cosine?|tan|log)\b",
    re.IGNORECASE,
)


def unit_of(text: str) -> str | None:
    """The unit at the end of a `plain` text, with its power (`cm2`, `m/s2`); None where there is none that is known."""
    return _split(text)[1]


def _split(text: str) -> tuple[str, str | None]:
    """A `plain` text without the unit at its end, and the unit."""
    found = _QUANTITY.search(text)
    if found is None:
        return text, None
    name = _known(found[2])
    if name is None:
        return text, None
    if found[3]:
        below = _known(found[3])
        if below is None:
            return text, None
        name = f"{name}/{below}"
    power = found[4] or {"s": "2", "c": "3"}.get((found[1] or " ")[0].casefold(), "")
    return text[: found.start()], f"{name}{power}"


def _known(name: str) -> str | None:
    name = name.casefold()
    return _NAMES.get(name) or _NAMES.get(name.removesuffix("s"))


def currency_of(text: str) -> str | None:
    """The currency that an answer states before `clean` takes it off; None where it states none."""
    text = text.strip()
    if not _ANY_MONEY.search(text) or clean(text) == text:
        return None
    return next((name for name, pattern in _MONEY if re.search(pattern, text)), None)


def is_compound(text: str) -> bool:
    """Whether a `plain` text measures in two units: 1 hour 30 minutes."""
    return any(_known(found[1]) for found in _COMPOUND.finditer(text))


def counted(text: str) -> tuple[Number, str] | None:
    """The number in a `plain` text and what it counts or measures, which may be nothing: `5 apples`, `60 mph`, `3/4`."""
    if (found := number(text)) is not None:
        return found, ""
    rest, unit = _split(text)
    if unit is not None and (found := number(rewrite(rest))) is not None:
        return found, unit
    things = _THINGS.fullmatch(text)
    if things is None or _NOT_THINGS.search(things[2]):
        return None
    words = things[2].casefold()
    first = words.split()[0]
    value = number(rewrite(things[1]))
    if value is None or (len(first) < 4 and first not in _SHORT and first != "per" and _known(first) is None):
        return None
    return value, words.removesuffix("s")
