"""Notes for the user: each thing said once, with one example and a count."""

from __future__ import annotations


class Notes:
    """Collects (sentence, where) and renders each sentence once."""

    def __init__(self) -> None:
        self._where: dict[str, list[str]] = {}

    def add(self, sentence: str, where: str) -> None:
        """`sentence` without its full stop; `where` is the tensor or module it was noticed at."""
        self._where.setdefault(sentence, []).append(where)

    def render(self) -> tuple[str, ...]:
        """One line a sentence, in the order they came up."""
        lines = []
        for sentence, where in self._where.items():
            more = f" and {len(where) - 1} more" if len(where) > 1 else ""
            lines.append(f"{sentence} ({where[0]}{more}).")
        return tuple(lines)
