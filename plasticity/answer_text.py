r"""Answers as text: wrappers stripped, one spelling for one thing.

`clean` takes off what is around an answer (`$`, `\(`, markdown, trailing punctuation, units of currency); `rewrite` also spells it
as math-verify reads it (`1 1/2`, `3.5e3`, `0.\overline{3}`, a thousand's commas); `normalise` is the form whose equality needs no
mathematics. None of them calls anything equal that a reader would not: percent signs, units and brackets stay.

Source: docs/methods, "Answers"; the list of TeX synonyms follows the MATH data set's own checker (Hendrycks et al. 2021) and
Minerva (Lewkowycz et al. 2022, appendix D.1), except that it drops no units.
"""

from __future__ import annotations

import re
from decimal import Decimal

_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))
_CURRENCY_BEFORE = re.compile(
    r"^([+-]?)\s*(?:\\\$|\$|€|£|¥|₹|\\pounds|\\euro|US\$|USD\b|EUR\b|Rs\.?(?![a-z]))\s*(?=[\d.(\\])"
)
_CURRENCY_AFTER = re.compile(
    r"(?<=[\d)}.])\s*(?:\\\$|\$|€|£|¥|₹|(?:\\ |\\,|~)*(?:\\text\{|\\mathrm\{|\\mbox\{)?\s*"
    r"(?:US )?(?:dollars?|USD|EUR|euros?|cents?|rupees|yen)\s*\}?)$"
)
_UNPAIRED = (("**", re.compile(r"^\*\*|(?<![\^_{])\*\*$")), ("*", re.compile(r"^\*|(?<![\^_{])\*$")))
_UNICODE = {
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ",
    "≠": r"\ne ", "°": r"^\circ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "±": r"\pm ", "θ": r"\theta ",
    "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "²": "^2", "³": "^3", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "’": "'", "％": "%",
}  # fmt: skip
_SYNONYMS = (
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:text|math)(?:bf|it|rm|sf|normal|tt)\s*\{"), r"\\text{"),
    (re.compile(r"\\[mhf]box\s*\{"), r"\\text{"),
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?=[\s()\[\]|.\\])"), ""),
    (re.compile(r"\\(?:leq|leqslant)(?![a-zA-Z])"), r"\\le"),
    (re.compile(r"\\(?:geq|geqslant)(?![a-zA-Z])"), r"\\ge"),
    (re.compile(r"\\neq(?![a-zA-Z])"), r"\\ne"),
    (re.compile(r"\\(?:varnothing)(?![a-zA-Z])"), r"\\emptyset"),
    (re.compile(r"\^\s*\{\s*\\circ\s*\}|\^\s*\\degree(?![a-zA-Z])|\\degree(?![a-zA-Z])"), r"^\\circ"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"√\s*(\d+|[a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<=\d)\s+percent$"), "%"),
    (re.compile(r"\^\s*(-\d+)"), r"^{\1}"),
    (re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)"), r"\\times "),
    (re.compile(r",\s*\.\.\."), r",\\ldots"),
)  # fmt: skip
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?:,(?:\\!)?|\{,\}|\\,|\\ | )\d{3})+(?:\.\d+)?(?=\D|$)")
_SCIENTIFIC = re.compile(r"([+-]?\d+(?:\.\d+)?)[eE]([+-]?\d+)")
_MIXED = re.compile(r"([+-]?)(\d+)\s+(?:and\s+)?(\d+)\s*/\s*(\d+)")
_HALF = re.compile(r"(\d+)\s*(?:\\text\{)?\s*and a half\s*\}?")
_REPEATING = (
    re.compile(r"([+-]?)(\d*)\.(\d*)\\(?:overline|bar)\{(\d+)\}"),
    re.compile(r"([+-]?)(\d*)\.(\d*)\\dot\s*\{?(\d)\}?"),
    re.compile(r"([+-]?)(\d*)\.(\d*?)(\d+?)\4\4+(?:\.\.\.|\\[lc]?dots)"),  # twice is not enough: 2.718281828...
)
_LARGE = re.compile(
    r"([+-]?\d+(?:\.\d+)?)\s*(?:\\text\s*\{)?\s*(thousand|million|billion|trillion)\s*\}?", re.IGNORECASE
)
_POWERS = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NUMBER = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(%?)")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_SPACING = re.compile(r"\\[,;:!> ]|\\q?quad(?![a-zA-Z])|~")


def clean(text: str) -> str:
    r"""An answer without what surrounds it: `**$\$5.00$**.` -> `5.00`."""
    before = None
    while text != before:
        before = text
        text = text.strip()
        if not text.endswith(("...", r"\right.", r"\ldots.")):
            text = text.rstrip(".,;:?")
        for mark, unpaired in _UNPAIRED:  # the phrase was inside the bold face, and its end is left
            text = unpaired.sub("", text) if text.count(mark) % 2 else text
        for start, end in _DELIMITERS:
            inner = text.removeprefix(start).removesuffix(end)
            wrapped = len(inner) == len(text) - len(start + end) > 0
            if wrapped and start not in inner and not inner.endswith("\\"):  # `$5\$` is five dollars, not a formula
                text = inner
        text = _CURRENCY_BEFORE.sub(r"\1", text)
        text = _CURRENCY_AFTER.sub("", text)
    return text


def rewrite(text: str) -> str:
    """`clean` in the spelling that math-verify reads, spaces and `\\text` kept."""
    text = clean(text)
    for old, new in _UNICODE.items():
        text = text.replace(old, new)
    for pattern, new in _SYNONYMS:
        text = pattern.sub(new, text)
    text = text.strip()
    text = _HALF.sub(r"\1\\frac{1}{2}", text)
    found = _THOUSANDS.match(text)
    if found and not re.match(r"\s*[,;)\]]", text[found.end() :]):  # `1,200, 300` is a list
        text = re.sub(r",(?:\\!)?|\{,\}|\\[, ]| ", "", found.group()) + text[found.end() :]
    if whole := _SCIENTIFIC.fullmatch(text):
        return rf"{whole[1]}\times 10^{{{int(whole[2])}}}"
    if whole := _MIXED.fullmatch(text):
        return rf"{whole[1]}{whole[2]}\frac{{{whole[3]}}}{{{whole[4]}}}"
    if whole := _LARGE.fullmatch(text):
        return format(Decimal(whole[1]).scaleb(_POWERS[whole[2].casefold()]), "f")
    for pattern in _REPEATING:
        if whole := pattern.fullmatch(text):
            return _repeating(whole[1], whole[2], whole[3], whole[4])
    return text


def _repeating(sign: str, whole: str, start: str, period: str) -> str:
    """A repeating decimal as a fraction: 0.1(6) = (16 - 1)/90."""
    top = int(whole + start + period) - int(whole + start or "0")
    return rf"{sign}\frac{{{top}}}{{{(10 ** len(period) - 1) * 10 ** len(start)}}}"


def _number(text: str) -> str | None:
    """A plain decimal without leading and trailing zeros; None where it is not one."""
    found = _NUMBER.fullmatch(text)
    if found is None or len(text) > 400:  # a longer one is compared as it stands
        return None
    value = format(Decimal(found[2]), "f")
    value = (value.rstrip("0").rstrip(".") if "." in value else value).lstrip("0") or "0"
    value = f"0{value}" if value.startswith(".") else value
    sign = "-" if found[1] == "-" and value != "0" else ""
    return f"{sign}{value}{found[3]}"


def plain(text: str) -> str:
    r"""`\text{...}` unwrapped, spacing commands turned into spaces: for looking at words."""
    text = _TEXT.sub(r" \1 ", text)
    return " ".join(_SPACING.sub(" ", text).replace(r"\ ", " ").split())


def is_words(text: str) -> bool:
    """Whether a `plain` text is prose and not a product of variables: letters only, at least four of them."""
    return bool(re.fullmatch(r"[^\W\d_]+(?:[ '-]+[^\W\d_]+)*\.?", text)) and sum(c.isalpha() for c in text) >= 4


def normalise(text: str) -> str:
    r"""The form in which two answers are compared as strings; empty where nothing is left of the answer."""
    text = plain(rewrite(text)).strip(" .,;")
    if is_words(text):
        return text.casefold()
    text = re.sub(r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{", text)
    text = re.sub(r"\\sqrt\s*(\d|[a-zA-Z])(?![a-zA-Z])", r"\\sqrt{\1}", text)
    text = re.sub(r"([\^_])\s*\{(\w)\}", r"\1\2", text)
    text = (
        re.sub(r"\s*(?:\^\\circ|degrees?)$", "", text)
        if re.match(r"[+-]?[\d.]+\s*(?:\^\\circ|degrees?)$", text)
        else text
    )
    text = re.sub(r"(?<=\d)\s+(?=[\d.])", "\0", text)  # `1 1` is not 11
    text = re.sub(r"(\\[a-zA-Z]+)\s+(?=[a-zA-Z])", "\\1\0", text)  # `\pi r` is not `\pir`
    text = re.sub(r"\s+", "", text).replace("\0", " ")
    if re.fullmatch(r"\(([A-Za-z])\)", text):
        text = text[1]
    return _number(text) or text
