"""Which base is better: bases by their names, two at a time, on every task's main score; no axis is needed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from plasticity import stats
from plasticity.experiment_data import Found
from plasticity.experiment_families import Family, Measures, Scores, Tokenizers, family_of
from plasticity.experiment_places import GIVEN, Place, whole_name
from plasticity.experiment_statistics import reference, why_not_by_loss
from plasticity.stats_resample import DRAWS

ALL = "all bases"
_GIVEN = "Of these two checkpoints: another seed of pretraining may differ."
_ONE_BASE = "One seed of pretraining: what another would change is not known."
_EACH = 4  # of so few bases every pair is compared, of more each with one of them


def everyone(found: Found, measures: Measures, tokenizers: Tokenizers) -> Family:
    """All bases of an experiment as one family, each place by a name that no other has."""
    known = {base.place.key: base.place for base in found.bases}
    labels: dict[str, list[str]] = {key: [] for key in known}
    for base in found.bases:
        labels[base.place.key].append(base.label)
    named = tuple(replace(place, name=_name(place, labels[key], found.axis)) for key, place in known.items())
    return family_of(found, ALL, named, measures, tokenizers)


def pairs(family: Family, found: Sequence[Scores], *, draws: int = DRAWS) -> list[dict[str, Any]]:
    """Second minus first of every two bases (of more than four: each with the one of the smallest loss, else the first).

    Over the first setting of fine-tuning, which is all of them pooled where there are several. An interval is of one pair on one
    task: not of all at once. `reference_by` is what one base was chosen by to compare the others with; None: every pair is there.
    """
    return [
        _compared(family, one, first, second, by, draws)
        for one in found
        if one.setting == found[0].setting
        for first, second, by in _asked(family, list(one.values))
    ]


def _asked(family: Family, names: Sequence[str]) -> list[tuple[str, str, str | None]]:
    if len(names) <= _EACH:
        return [(first, second, None) for first, second in combinations(names, 2)]
    control, by = reference(family, names)
    return [(control, name, by) for name in names if name != control]


def _compared(family: Family, one: Scores, first: str, second: str, by: str | None, draws: int) -> dict[str, Any]:
    """On the seeds that both have.

    A difference is settled by an interval over at least two seeds of pretraining, or, between given checkpoints, whose seeds nobody
    knows, of fine-tuning: it is then of these two, and the remark says so.
    """
    made = stats.shared_difference(one.values[second], one.values[first], draws=draws)
    decided = made.ci95 is not None and (made.ci95[0] > 0 or made.ci95[1] < 0)
    given = family.is_given(first, second)
    enough = len(made.shared) > 1 and (family.by_base or given)
    remark = ""
    if not family.by_base:
        remark = _GIVEN if given else _ONE_BASE
    shown, value = one.means([first, second]), made.value or 0.0
    method = made.method if len(made.shared) < 2 else f"{made.method}; seeds of {family.seeds_of}"
    return {
        "task": one.task, "tasks": one.tasks, "score": one.score, "setting": dict(one.setting),
        "name_a": first, "name_b": second, "reference_by": by,
        "reference_why": why_not_by_loss(family, by) if by is not None else "",
        "value_a": shown[first], "value_b": shown[second], "value": value, "ci95": made.ci95,
        "n_seeds": len(made.shared), "seeds": list(made.shared), "seeds_of": family.seeds_of, "n_questions": made.n,
        "better": "higher" if one.sign > 0 else "lower",
        "ahead": (second if one.sign * value > 0 else first) if decided else None,
        "status": "settled" if decided and enough else "one seed" if decided else "not settled", "method": method,
        "said_of_seeds": one.said_of_seeds([first, second]), "remark": remark,
    }  # fmt: skip


def _name(place: Place, labels: Sequence[str], axis: str) -> str:
    """A base's own name; of seeds together what they share."""
    if place.group == GIVEN and len(labels) == 1:
        return labels[0]
    return whole_name(place.group, place.x, place.axes, axis)
