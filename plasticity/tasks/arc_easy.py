"""ARC-Easy: school science questions that word statistics answer."""

from __future__ import annotations

from typing import ClassVar

from .arc import Arc
from .arc import header as arc_header


class ArcEasy(Arc):
    """question -> text of the right choice."""

    header: ClassVar = arc_header("arc_easy", "easy school science questions", "ARC-Easy", (2_251, 2_376), 0.25)
    sample: ClassVar = {
        "question": "Which of these gives off its own light?",
        "choices": {"text": ["the Moon", "a mirror", "the Sun", "a glass of water"], "label": ["A", "B", "C", "D"]},
        "answerKey": "C",
    }
