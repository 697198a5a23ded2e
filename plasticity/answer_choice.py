"""The letter or the word that a response chooses.

Both read the extracted answer (`answer_extract`); a response without "answer is" and without a box counts only where it is or
begins with the choice itself. Two choices at once ("B and C") are none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from plasticity.answer_extract import extract
from plasticity.answer_text import plain, rewrite

_LEAD = re.compile(
    r"^(?:(?:most likely|probably|likely|definitely|clearly|therefore|thus|the|option|choice|answer|letter|is)\b[\s:]*)+",
    re.IGNORECASE,
)
_ALSO = re.compile(r"^[).\]:\s]*(?:and|or|,|/|&|\+)\s*\(?(?:option |choice )?([A-Za-z])(?![A-Za-z'])", re.IGNORECASE)
_REASON = frozenset(["as", "because", "based", "for", "given", "since", "which", "with", "due", "and", "or", "but"])
_NEGATION = re.compile(r"\b(?:not|neither|nor|cannot|rather than|instead of)\b|n't\b", re.IGNORECASE)


def _chosen(response: str) -> tuple[str, bool]:
    """The text to look at, without TeX and markdown, and whether it was announced by a box or by "answer is"."""
    found = extract(response)
    text = plain(rewrite(response if found is None else found)).replace("*", "").strip(" \"'`_")
    return text, found is not None


def letter(response: str, letters: str = "ABCDEFGHIJ") -> str | None:
    """The option letter that a response chooses, in capitals; None where there is none, or more than one.

    Read: `C`, `c.`, `(C)`, `C) text`, `C: text`, `option C`, `\\text{(C)}`, `C because ...`. A bare "a" or "I" before a word is
    English, not an option.
    """
    text, announced = _chosen(response)
    text = _LEAD.sub("", text) if announced else re.sub(r"^(?:option|choice)\s+", "", text, flags=re.IGNORECASE)
    found = re.match(r"([(\[{]?)\s*([A-Za-z])(?![A-Za-z0-9'])\s*([)\]}.:,;-]*)", text)
    if found is None or found[2].upper() not in letters.upper():
        return None
    rest = text[found.end(2) :]
    also = _ALSO.match(rest)
    if also and also[1].upper() in letters.upper() and not (also[1] in "aI" and also.end() < len(rest)):
        return None
    if rest.strip() and not found[1] and not found[3]:  # a letter, then a word
        if not announced or found[2].islower():
            return None
        follows = rest.split()[0].casefold().strip(".,;:")
        if found[2] in "AI" and follows.isalpha() and follows not in _REASON:
            return None
    return found[2].upper()


def word(response: str, words: Sequence[str] = ("yes", "no", "maybe")) -> str | None:
    """The word of `words` that a response chooses, as it is spelt there; None where there is none, or it is not clear.

    The first word of the answer; else the only one of `words` in it, if nothing negates it.
    """
    text, announced = _chosen(response)
    by_name = {one.casefold(): one for one in words}
    first = re.match(r"[\W_]*([^\W_]+)", text)
    if first and first[1].casefold() in by_name:
        also = re.match(r"\W*(?:or|and|/)\W*([^\W_]+)", text[first.end() :], re.IGNORECASE)
        return None if also and also[1].casefold() in by_name else by_name[first[1].casefold()]
    inside = {one for one in re.findall(r"[^\W_]+", text.casefold()) if one in by_name}
    if announced and len(inside) == 1 and not _NEGATION.search(text):
        return by_name[inside.pop()]
    return None
