"""Pieces of a summary read: settings in words, intervals, estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plasticity.experiment_families import POOLED
from plasticity.report.frame import value_label


def setting_label(setting: object) -> str:
    """`lr 1e-05, decay 0.1`."""
    if not isinstance(setting, Mapping) or not setting:
        return "as the recipe says"
    if set(setting) == {POOLED}:
        return f"mean over {setting[POOLED]} settings"
    parts = ((str(key).removeprefix("finetune."), value) for key, value in setting.items() if key != "seed")
    return ", ".join(f"{key} {value_label(value)}" for key, value in parts) or "as the recipe says"


def bounds(interval: object) -> tuple[float | None, float | None]:
    """The ends of an interval; None where there is none."""
    if isinstance(interval, Sequence) and len(interval) == 2:
        return interval[0], interval[1]
    return None, None


def estimate(found: object) -> tuple[float | None, float | None, float | None]:
    """Value and interval of a statistic, or of a bare number."""
    if isinstance(found, Mapping):
        return (found.get("value"), *bounds(found.get("ci95")))
    return (float(found) if isinstance(found, (int, float)) else None), None, None


def labels(values: Sequence[object], names: Sequence[str] | None = None) -> list[str]:
    """Values of the axis as the categories that they stand under: the name where there is no value."""
    return [
        name if value is None else value_label(value)
        for value, name in zip(values, names or [""] * len(values), strict=True)
    ]
