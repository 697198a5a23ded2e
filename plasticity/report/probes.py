"""The paper's number of linear probes (figure 25), which `summary.json` does not have: computed from the layers that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plasticity.experiment_places import whole_name

KEY = "probe best of test"
Summary = Mapping[str, Any]
Entry = Mapping[str, Any]


def with_best_of_test(summary: Summary) -> dict[str, Any]:
    """The summary with the number on every base (`probe_best_of_test`) and its correlations with scores.

    It is the largest over layers of the test accuracy averaged over the probe tasks that all probed bases have. The layer is
    chosen on the texts that are then reported, as in the paper: it is too high by the luck of that choice.
    """
    tasks = tasks_of_all(summary["bases"])
    bases = [{**base, "probe_best_of_test": _best(base, tasks)} for base in summary["bases"]]
    statistics = {**summary["statistics"]}
    statistics["correlations"] = [*statistics.get("correlations", ()), *_correlations(summary, bases)]
    return {**summary, "bases": bases, "statistics": statistics}


def tasks_of_all(bases: Sequence[Entry]) -> list[str]:
    """Probe tasks that all probed bases have."""
    probed = [base["probes"] for base in bases if base.get("probes")]
    return [task for task in (probed[0] if probed else ()) if all(task in one for one in probed)]


def _best(base: Entry, tasks: Sequence[str]) -> float | None:
    """None where the base lacks a task, or the layers of one."""
    probes = base.get("probes") or {}
    tables = [
        {one["layer"]: one["test_accuracy"] for one in (probes.get(task) or {}).get("layers") or ()
         if one.get("test_accuracy") is not None}
        for task in tasks
    ]  # fmt: skip
    shared = set.intersection(*(set(table) for table in tables)) if tables else set()
    return max((sum(table[layer] for table in tables) / len(tables) for layer in shared), default=None)


def _correlations(summary: Summary, bases: Sequence[Entry]) -> list[dict[str, Any]]:
    """One beside those of the other probe numbers: of the same bases with the same scores."""
    from plasticity import stats
    from plasticity.experiment_results import plain

    places: dict[tuple[Any, ...], dict[tuple[str, str], float]] = {}
    made: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in summary["statistics"].get("correlations", ()):
        about = (str(one["group"]), str(one["with"]), str(one.get("setting")))
        if about in made or not str(one["of"]).startswith("probe") or not one.get("points"):
            continue
        score = {name: pair[1] for name, pair in one["points"].items()}
        seeds = tuple(one.get("seeds") or ()) if one.get("seeds_of") == "pretraining" else ()
        if seeds not in places:
            places[seeds] = _by_place(summary, [base for base in bases if not seeds or base.get("seed") in seeds])
        values = places[seeds]
        known = {name: values.get((about[0], name), values.get(("", name))) for name in score}
        if any(value is not None for value in known.values()):
            made[about] = {
                **one, "of": KEY, "pearson": plain(stats.pearson(known, score)),
                "spearman": plain(stats.spearman(known, score)),
                "points": {name: [known[name], score[name]] for name in score},
            }  # fmt: skip
    return list(made.values())


def _by_place(summary: Summary, bases: Sequence[Entry]) -> dict[tuple[str, str], float]:
    """(line, name) -> mean over the bases of that place; with no line, by the name that tells a place from those of all lines."""
    number = {
        str(base["label"]): base["probe_best_of_test"] for base in bases if base["probe_best_of_test"] is not None
    }
    axis = str(summary["experiment"]["axis"])
    made: dict[tuple[str, str], float] = {}
    for one in (*summary["loss"], *summary["points"]):
        found = [number[label] for label in one.get("bases", ()) if label in number]
        if not found or one.get("start") == "scratch":
            continue
        whole = whole_name(str(one["group"]), one["x"], one["axes"], axis)
        names = [(str(family), str(one["name"])) for family in one["families"]]
        for name in (*names, ("", whole), *(("", str(label)) for label in one["bases"] if len(one["bases"]) == 1)):
            made.setdefault(name, sum(found) / len(found))
    return made
