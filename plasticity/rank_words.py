"""What a ranking says in words: why a signal is not known, what the short fine-tuning told, what an experiment says of it."""

from __future__ import annotations

from collections.abc import Mapping

from plasticity.stats_ranking import Agreement
from plasticity.stats_result import counted


def lacking(values: Mapping[str, float | None], why: Mapping[str, str], names: Mapping[str, str] | None = None) -> str:
    """Of whom a signal is not known, and why; empty where it is of all.

    Args:
        names: candidate -> what it is called here, where that is something else.
    """
    absent = [label for label, value in values.items() if value is None]
    if not absent:
        return ""
    grouped: dict[str, list[str]] = {}
    for label in absent:
        grouped.setdefault(why.get(label, ""), []).append((names or {}).get(label, label))
    if len(grouped) == 1 and len(absent) == len(values) and (reason := next(iter(grouped))):
        return reason
    return "; ".join(
        f"not known of {', '.join(some)}" + (f" ({reason})" if reason else "") for reason, some in grouped.items()
    )


def told_nothing(values: Mapping[str, float]) -> str:
    """What is said of a short fine-tuning that tells no two candidates apart."""
    if len(set(values.values())) == 1:
        return "the short fine-tuning told nothing (all scores equal)"
    return "the short fine-tuning told nothing (no two candidates are shown to differ)"


def experience(found: Agreement) -> str:
    """How well the combined ranking did in the user's own experiment, beside a choice at random; empty where that is not known."""
    lost, chance, best = found.regret.value, found.regret_at_random, found.top_is_best
    if lost is None or chance is None or best is None:
        return ""
    start, tau = "In your own experiment", found.kendall.value
    if chance == 0.0:
        return f"{start} all {counted(found.n, 'base')} score alike: no way of ranking them could be right or wrong."
    if tau is None:
        return f"{start} this way of ranking did no better than a choice at random: it does not tell the bases apart."
    ordered = f"Kendall tau {tau:+.2f} over {counted(found.n, 'base')}"
    taken = " (one of several that come first alike)" if found.status == "tied" else ""
    numbers = (
        f"its first choice, {found.top}{taken}, is best in {100 * best:.0f}% of draws and loses {lost:.3f} of the score, a choice "
        f"at random {chance:.3f} on average; {ordered}"
    )
    return f"{start} this way of ranking {_judged(found, lost, chance, tau)}: {numbers}."


def _judged(found: Agreement, lost: float, chance: float, tau: float) -> str:
    ci95 = found.regret.ci95
    if lost >= chance:
        return "did no better than a choice at random"
    if tau <= 0.0:
        return "chose better than a choice at random would, but put the bases in no better order than chance"
    if ci95 is not None and ci95[1] < chance:
        return "did better than a choice at random"
    return "did better than a choice at random, though that is not sure (the interval of what it loses reaches as far)"
