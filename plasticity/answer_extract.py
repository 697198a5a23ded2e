r"""The answer in a response: the last `\boxed{...}`, else what follows the last "answer is" in its sentence.

Source: docs/methods, "Answers".
"""

from __future__ import annotations

import re

from plasticity.answer_text import clean

_PHRASE = re.compile(r"answer\s+is\b\s*(?::\s*)?", re.IGNORECASE)
_ABBREVIATIONS = frozenset(
    ["approx", "ca", "cf", "dr", "e.g", "eq", "fig", "i.e", "mr", "mrs", "ms", "prof", "rs", "sec", "st", "vs", "viz"]
)
_UNITS = frozenset(
    ["cm", "ft", "hr", "hrs", "in", "lb", "lbs", "mi", "min", "oz", "sq", "yd"]
)  # go on before a small letter


def boxed(text: str) -> str | None:
    r"""Inside of the last `\boxed` that is closed and not empty (`\fbox` too; a bare `\boxed 5` ends at `$`), or None."""
    for found in reversed(list(re.finditer(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*", text))):
        rest = text[found.end() :]
        inside = _braced(rest) if rest.startswith("{") else re.split(r"\$|\n|\\[)\]]", rest, maxsplit=1)[0]
        if inside is not None and inside.strip():
            return inside.strip()
    return None


def _braced(text: str) -> str | None:
    r"""Inside of the braces at the start of `text`; an escaped `\{` is not one; None: never closed."""
    depth, at = 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[1:at]
        at += 1
    return None


def sentence(text: str) -> str:
    """`text` up to the end of its first sentence or line; mathematics in dollars or brackets is not cut."""
    text = text.lstrip(" \t\n*:")
    for start, end in (("$$", "$$"), (r"\[", r"\]")):
        if text.startswith(start) and (close := text.find(end, 2)) > 0:
            return text[: close + 2]
    inside, at = False, 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 2
            continue
        if char == "$":
            inside = not inside and "$" in re.split(r"\n", text[at + 1 :], maxsplit=1)[0]
        elif char == "\n" or (not inside and char in ".?!" and _ends(text[:at], char, text[at + 1 :])):
            return text[:at] if char != "!" else text[: at + 1]
        at += 1
    return text


def _ends(before: str, char: str, after: str) -> bool:
    """Whether the mark `char` between `before` and `after` ends a sentence."""
    after = after.lstrip("*\"'")
    if after and not after[0].isspace():  # 3.5, 5!/2, x.y
        return False
    if char != ".":
        return char == "?" or not re.search(r"[\d)}n]$", before)  # 5! is a factorial
    word = re.split(r"[\s(\\{$]", before)[-1].casefold()
    follows = after.lstrip()[:1]
    if before.endswith("..") or (before.endswith(".") and follows):  # an ellipsis
        return False
    if not follows:
        return True
    if word in _ABBREVIATIONS or (word == "no" and follows.isdigit()):
        return False
    return not ((word in _UNITS or re.fullmatch(r"(?:[a-z]\.)+[a-z]", word)) and follows.islower())


def extract(response: str) -> str | None:
    r"""The answer in a response, or None.

    The last `\boxed{...}` with matched braces; else what follows the last "answer is" (any case, a colon allowed) up to the end of
    its sentence. Stripped of `$`, `\(`, `\[`, markdown, trailing punctuation and units of currency.
    """
    found = boxed(response)
    if found is None:
        phrases = list(_PHRASE.finditer(response))
        if not phrases:
            return None
        found = sentence(response[phrases[-1].end() :])
    return clean(found) or None
