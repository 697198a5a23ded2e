r"""What math-verify 0.9 calls equal and a reader does not, found before it is asked.

Measured: `(1,2)` equals `\{1,2\}`; `3:30` equals `1:10` (a quotient); `10\text{ cm}` equals `10\text{ m}` (units are dropped);
`1 \text{ hour } 30 \text{ minutes}` equals 1; `2516_8` equals `2516_7`; `\text{cat}` equals `\text{act}` (words are products of
their letters); `1,1,2` equals `1,2`; `1,2,\ldots` equals `1,2`; `x+1=5` equals 5; `\pm 5` equals `(-5,5)`; decimals are rounded to
six places (`answer_number`).
"""

from __future__ import annotations

import re

from plasticity.answer_number import same_number
from plasticity.answer_text import is_words, plain, rewrite
from plasticity.answer_unit import counted, is_compound, unit_of

_CLOCK = re.compile(r"0*(\d{1,2})(?::(\d{2}))?\s*([ap]\.?\s?m\.?)?", re.IGNORECASE)
_BASE = re.compile(r"_\{?(\d+)\}?$")
_ONLY_TEXT = re.compile(r"\s*\\text\s*\{\s*[^\W\d_]{2,}\s*\}\s*")
_GOES_ON = re.compile(r"[,+]\s*(?:\\[lc]?dots|\.\.\.)")
_JOINED = re.compile(r"(?:\s*,)?\s*\b(?:and|or)\b\s*|\s*;\s*")
_NO_LIST = re.compile(r"\\(?:pm|mp|begin|cup|cap|le|ge|ne|in|mid)(?![a-zA-Z])|[<>|]")
_VARIABLE = r"\\?[A-Za-z]+(?:_(?:\{[^{}]*\}|\w))?'*"
_COMMAND = re.compile(r"\\(?:times|cdot|div|frac|sqrt|binom|pi|sin|cos|tan|cot|sec|csc|log|ln|circ|text)(?![a-zA-Z])")
_NAMED = re.compile(
    rf"(?:m?\s*\\(?:angle|triangle|overline|vec|hat|mathbf|measuredangle)\s*)?\{{?{_VARIABLE}\}}?"  # x, AB, \angle ABC
    rf"|{_VARIABLE}(?:\^\{{?-1\}}?)?\s*\([^=]*\)"  # f(x), P(A), f^{{-1}}(x)
    rf"|\(\s*{_VARIABLE}(?:\s*,\s*{_VARIABLE})+\s*\)"  # (x,y)
    r"|\\frac\s*\{d[^{}]*\}\s*\{d[^{}]*\}"  # a derivative
    r"|[A-Za-z]+(?:\s+[A-Za-z]+)+"  # total cost
)
_ASSIGNED = re.compile(rf"({_VARIABLE})\s*=\s*([^=,<>]+)")


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


def _parts(text: str) -> list[str]:
    """A text cut at the commas outside all brackets."""
    depth, parts = 0, [""]
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _clock(first: str, second: str) -> bool | None:
    """The verdict where one of the two is a time of day or a ratio; None otherwise."""
    one, two = _time(first), _time(second)
    if one and two:
        halves = {half[0].casefold() for half in (one[3], two[3]) if half}
        return one[1] == two[1] and (one[2] or "00") == (two[2] or "00") and len(halves) < 2
    if not one and not two:
        return None
    if ":" in first and ":" in second:  # a ratio may be met by a ratio (12:15 and 4:5), never by a number
        return None
    found, other = (one, second) if one else (two, first)
    # `7 pm` and `7`: the question says which half of the day
    return found is not None and found[2] is None and found[1] == other.strip()


def _time(text: str) -> re.Match[str] | None:
    found = _CLOCK.fullmatch(text)
    return found if found and (found[2] or found[3]) else None


def _items(text: str) -> int | None:
    """How many answers a bare list of them gives; None for anything else."""
    if _outer(text) or _NO_LIST.search(text):
        return None
    return len([part for part in _parts(_JOINED.sub(",", text)) if part.strip()])


def _is_condition(text: str) -> bool:
    """Whether a `plain` text is an equation to be solved, and not a value beside its name: `x+1=5`, `2x+y=0`, not `a+b=7`."""
    sides = [side.strip() for side in text.split("=")]
    if len(sides) != 2 or "," in text or re.search(r"[<>]|\\(?:le|ge|ne|approx|begin)(?![a-zA-Z])", text):
        return False
    if not re.search("[A-Za-z]", _COMMAND.sub("", sides[0])):
        sides.reverse()
    name, value = (re.sub(r"[\^_]\s*(?:\{[^{}]*\}|\w)", "", _COMMAND.sub("", side)) for side in sides)
    if not re.search("[A-Za-z]", name) or _NAMED.fullmatch(sides[0]):
        return False
    return value.strip() == "0" or bool(re.search(r"\d", name))


def clash(first: str, second: str) -> bool | None:
    """True: equal; False: different, whatever math-verify says; None: ask it. Takes answers whose normal forms differ."""
    first, second = rewrite(first), rewrite(second)
    one, two = plain(first), plain(second)
    verdict = _clock(one, two)
    if verdict is not None:
        return verdict
    if is_words(one) and is_words(two):
        return False
    if (_ONLY_TEXT.fullmatch(first) or _ONLY_TEXT.fullmatch(second)) and one.isalpha() and two.isalpha():
        return one.casefold() == two.casefold()
    return False if _structure(one, two) or _measure(one, two) else _amount(one, two)


def _measure(one: str, two: str) -> bool:
    """Whether two answers state different units or bases, or one of them is measured in two units."""
    bases = [found[1] for found in (_BASE.search(one), _BASE.search(two)) if found]
    units = [unit for unit in (unit_of(one), unit_of(two)) if unit]
    return len(set(bases)) == 2 or len(set(units)) == 2 or is_compound(one) or is_compound(two)


def _amount(one: str, two: str) -> bool | None:
    """Whether two plain numbers, of whatever they count, are the same; None where they are not both such."""
    found, other = counted(one), counted(two)
    if found is None or other is None:
        return None
    things = {thing for _, thing in (found, other) if thing}
    return len(things) < 2 and same_number(found[0], other[0])


def _structure(one: str, two: str) -> bool:
    """Whether two answers are of different kinds: tuple and set, lists of different lengths, an equation and a value."""
    outer = {_outer(one), _outer(two)}
    if outer in ({"(", "{"}, {"[", "{"}) and "," in one and "," in two:
        return True
    for text, other in ((one, two), (two, one)):
        if "\\pm" in text and not _outer(text) and _outer(other) in ("(", "[") and "," in other:
            return True
        if _is_condition(text) and "=" not in other:
            return True
    if bool(_GOES_ON.search(one)) != bool(_GOES_ON.search(two)):
        return True
    counts = _items(one), _items(two)
    return None not in counts and counts[0] != counts[1]


def _as_in(bracketed: str, bare: str) -> str:
    """`bare` in the brackets of `bracketed`, where both are lists of the same length; else as it was."""
    kind = _outer(bracketed)
    if kind not in ("(", "[") or _outer(bare) or re.search(r"=|\\(?:text|cup|pm|begin)|\b(?:and|or)\b", bare):
        return bare
    inside = bracketed.strip()
    same_length = 1 < len(_parts(bare)) == len(_parts(inside[1:-1]))
    return f"{inside[0]}{bare}{inside[-1]}" if same_length else bare


def _by_name(text: str) -> str:
    """`y=2, x=1` as the tuple (1,2): values of different variables, in the order of their names; else as it was."""
    found = [_ASSIGNED.fullmatch(part.strip()) for part in _parts(_JOINED.sub(",", plain(text)))]
    values = {match[1]: match[2].strip() for match in found if match}
    if len(found) < 2 or len(values) < len(found):
        return text
    return f"({','.join(values[name] for name in sorted(values))})"


def ordered(first: str, second: str) -> tuple[str, str]:
    """A bare list beside a tuple, or beside values of named variables, is a tuple: `2,1` is not `(1,2)`. Else as it was."""
    if ("=" in first) != ("=" in second):
        first, second = _by_name(first), _by_name(second)
    return _as_in(second, first), _as_in(first, second)
