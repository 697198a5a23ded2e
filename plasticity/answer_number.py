r"""Plain numbers, compared exactly.

math-verify 0.9 rounds decimals to six places: to it 6.6e-34 equals 6.6e-35, and `0.0000015` equals `\frac{1}{649740}`. Here two
decimals are the same if they are the same number, and a decimal stands for a fraction if it is that fraction rounded to at least
six significant digits. A percentage is met by its number with and without the sign (the question says which) and by its value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_ENOUGH = 6  # significant digits of a decimal that stands for a fraction
_NOISE = 14  # significant digits after which two decimals differ by floating-point arithmetic
_LARGEST = 400  # digits, and powers of ten; beyond it mathematics decides

_SIGN = r"([+-]?)\s*"
_DECIMAL = re.compile(_SIGN + r"(\d*)(?:\.(\d*))?\s*(?:(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{([+-]?\d+)\}|(\d)))?")
_POWER = re.compile(_SIGN + r"10\s*\^\s*(?:\{([+-]?\d+)\}|(\d))")
_FRACTION = re.compile(_SIGN + r"(\d*)\s*\\frac\s*(?:\{([+-]?\d+)\}|(\d))\s*(?:\{([+-]?\d+)\}|(\d))")
_QUOTIENT = re.compile(_SIGN + r"(\d+)\s*/\s*([+-]?\d+)")


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number as it is written.

    Attributes:
        value: of a percentage the number before the sign.
        digits: significant digits of a decimal with a point; None: a whole number or a fraction.
        places: of the last digit after the point.
        percent: whether a percent sign follows.
    """

    value: Fraction
    digits: int | None = None
    places: int = 0
    percent: bool = False


def number(text: str) -> Number | None:
    r"""The number that a `plain` and rewritten text is: `0.5`, `-3`, `\frac{1}{2}`, `1\frac12`, `3/4`, `3\times 10^{-4}`, `5%`."""
    text = text.strip()
    percent = text.endswith("%")
    text = text.removesuffix("%").strip()
    if len(text) > _LARGEST:
        return None
    if found := _POWER.fullmatch(text):
        return _scaled(found[1], "1", None, found[2] or found[3], percent)
    if found := _DECIMAL.fullmatch(text):
        return _scaled(found[1], found[2], found[3], found[4] or found[5], percent)
    if found := _FRACTION.fullmatch(text):
        return _divided(found[1], found[2], found[3] or found[4], found[5] or found[6], percent)
    if found := _QUOTIENT.fullmatch(text):
        return _divided(found[1], "", found[2], found[3], percent)
    return None


def _divided(sign: str, whole: str, top: str, bottom: str, percent: bool) -> Number | None:
    if not int(bottom) or (whole and (int(top) < 0 or int(bottom) < 0)):
        return None
    value = int(whole or 0) + Fraction(int(top), int(bottom))
    return Number(value=-value if sign == "-" else value, percent=percent)


def _scaled(sign: str, whole: str, after: str | None, power: str | None, percent: bool) -> Number | None:
    digits, exponent = whole + (after or ""), int(power or 0)
    if not digits or abs(exponent) > _LARGEST:
        return None
    places = len(after or "") - exponent
    value = int(digits) * Fraction(10) ** -places
    return Number(
        value=-value if sign == "-" else value,
        digits=None if after is None and exponent >= 0 else len(digits.lstrip("0")),
        places=places,
        percent=percent,
    )


def same_number(one: Number, two: Number) -> bool:
    """Whether two numbers are the same; see the module."""
    if one.percent == two.percent:
        return _close(one, two)
    if two.percent:
        one, two = two, one
    hundredth = Number(value=one.value / 100, digits=one.digits, places=one.places + 2)
    return _close(one, two) or _close(hundredth, two)


def _close(one: Number, two: Number) -> bool:
    if one.value == two.value:
        return True
    if one.digits is not None and two.digits is not None:
        return max(one.digits, two.digits) > _NOISE and abs(one.value - two.value) * 10**_NOISE < abs(one.value)
    if one.digits is None:
        one, two = two, one
    return one.digits is not None and one.digits >= _ENOUGH and round(two.value, one.places) == one.value
