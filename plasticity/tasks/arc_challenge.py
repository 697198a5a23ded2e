"""ARC-Challenge: school science questions that word statistics get wrong."""

from __future__ import annotations

from typing import ClassVar

from .arc import Arc
from .arc import header as arc_header


class ArcChallenge(Arc):
    """question -> text of the right choice."""

    header: ClassVar = arc_header(
        "arc_challenge", "hard school science questions", "ARC-Challenge", (1_119, 1_172), 0.25
    )
    sample: ClassVar = {
        "question": "A pond freezes over. Why do the fish in it live on?",
        "choices": {
            "text": [
                "ice is warm",
                "water under the ice stays liquid",
                "fish need no oxygen",
                "ice sinks to the bottom",
            ],
            "label": ["A", "B", "C", "D"],
        },
        "answerKey": "B",
    }
