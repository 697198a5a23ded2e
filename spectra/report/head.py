"""What the report of an analysis says of its coverage, and its glossary."""

from __future__ import annotations

from dataclasses import dataclass

from spectra import metrics, summary
from spectra.metrics import Metric
from spectra.report.analysis_data import present_columns
from spectra.types import Analysis

_ORDER = ("analysed", "split", "tied", "skipped")


@dataclass(frozen=True, kw_only=True)
class LedgerGroup:
    """Tensors of one disposition and reason."""

    disposition: str
    reason: str
    tensors: tuple[str, ...]
    parameters: int


@dataclass(frozen=True, kw_only=True)
class GlossaryGroup:
    """Metrics under a heading."""

    title: str
    metrics: tuple[Metric, ...]


def ledger(analysis: Analysis) -> list[LedgerGroup]:
    """Every tensor once, by disposition and reason; splits and ties, which differ by tensor, one group each."""
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for line in analysis.coverage:
        skipped = line.disposition == "skipped"
        text = line.tensor if skipped or not line.reason else f"{line.tensor}: {line.reason}"
        groups.setdefault((line.disposition, line.reason if skipped else ""), []).append((text, line.parameters))
    made = [
        LedgerGroup(
            disposition=disposition,
            reason=reason,
            tensors=tuple(name for name, _ in lines),
            parameters=sum(count for _, count in lines),
        )
        for (disposition, reason), lines in groups.items()
    ]
    return sorted(made, key=lambda g: (_ORDER.index(g.disposition), -len(g.tensors)))


def coverage_sentence(analysis: Analysis) -> str:
    """Tensors by disposition and the share of parameters covered."""
    found = summary.coverage_summary(analysis)
    parts = [f"{found.counts[d]:,} {d}" for d in _ORDER if d in found.counts]
    return (
        f"{len(analysis.coverage):,} tensors: {', '.join(parts) or 'none'}; "
        f"{100 * found.share:.2f}% of {found.parameters:,} parameters covered."
    )


def glossary(analysis: Analysis) -> list[GlossaryGroup]:
    """Definitions of the columns on the page, from the table of metrics."""
    shown = present_columns(analysis)
    fits = tuple(m for m in shown if m in metrics.FIT_METRICS)
    tests = tuple(m for m in shown if m in metrics.UNCERTAINTY_METRICS)
    shapes = tuple(m for m in shown if m in metrics.SHAPE_METRICS)
    others = tuple(m for m in shown if m not in (*fits, *tests, *shapes))
    groups = [("Power laws", fits), ("Norms, ranks, bulk", shapes), ("Tests of the power law", tests)]
    groups.append(("Columns of the profile", others))
    if analysis.circuits:
        groups.append(("Attention circuits", metrics.CIRCUIT_METRICS))
    return [GlossaryGroup(title=title, metrics=found) for title, found in groups if found]
