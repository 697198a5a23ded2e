"""A task's header in words: for the terminal and for docs/tasks.md."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Header, Source


def rows(sources: Sequence[Source]) -> str:
    """Rows of all sources, or what is taken of them; empty where they are not known."""
    counts = [source.sample or source.rows for source in sources]
    return f"{sum(count for count in counts if count is not None):,}" if all(counts) else ""


def facts(header: Header) -> dict[str, str]:
    """Label -> text, without those that are empty."""
    guesses = [f"{name} {value:.3g}" for name, value in header.baseline.items() if value is not None]
    found = {
        "train": where(header.train),
        "test": where(header.test)
        if not header.held_out
        else f"{header.held_out:,} questions cut from the training rows",
        "fields": "; ".join(dict.fromkeys(_fields(source) for source in (*header.train, *header.test))),
        "paper": header.paper,
        "licence": header.licence,
        "in the plasticity paper": ", ".join(f"{split} {count:,}" for split, count in header.paper_rows.items()),
        "scores": ", ".join(header.scores),
        "guessing gets": ", ".join(guesses) or "nothing to speak of",
        "answer": header.answer,
        "recipe": header.recipe,
        "a row is dropped for": "; ".join(header.cleaning),
        "lm-eval task": header.lm_eval,
    }
    return {label: text for label, text in found.items() if text}


def where(sources: Sequence[Source]) -> str:
    """Hub ids with commits and rows; the subsets and splits of one data set together."""
    groups: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        groups.setdefault((source.hub, source.part), []).append(source)
    return "; ".join(_group(group) for group in groups.values())


def _group(sources: Sequence[Source]) -> str:
    first = sources[0]
    if not first.hub:
        return f"generated, {rows(sources)} rows"
    subsets = list(dict.fromkeys(source.subset for source in sources if source.subset))
    splits = list(dict.fromkeys(source.split for source in sources))
    found = first.hub + (f" ({', '.join(subsets)})" if subsets else "") + f" {', '.join(splits)}"
    found += (
        f" from {first.url}" if first.url else f" @ {first.revision[:12] if first.revision else 'no pinned commit'}"
    )
    known = sum(source.rows or 0 for source in sources)
    found += f", {known:,} rows" if known else ""
    return found + (f", {first.sample:,} of them" if first.sample else "")


def _fields(source: Source) -> str:
    return " or ".join(", ".join(fields) for fields in (source.fields, *source.layouts))
