"""Summary -> what the page's scripts draw from: plain lists, short keys, rounded.

l line, x category, s setting, t task, c score, o start (0 pretrained, 1 from scratch); v value, lo and hi its 95% interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plasticity.report.frame import Frame, is_control
from plasticity.report.names import MEAN, MEAN_CLOZE, is_lower, is_share, means, place_label, task_name
from plasticity.report.tables import Table, tables
from plasticity.report.values import bounds, estimate, labels, setting_label
from spectra.report.text import rounded

DIGITS = 6
Entry = Mapping[str, Any]
Summary = Mapping[str, Any]


def payload(summary: Summary, frame: Frame, responses: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the scripts of the page need, ready for `text.embed_json`."""
    known = settings(summary)
    made = {
        "columns": [], "rows": [],  # what the scripts of spectra read; this page has no matrices
        "axis": {"title": frame.title, "labels": list(frame.categories), "nominal": frame.nominal},
        "lines": list(frame.lines),
        "settings": known,
        "tasks": tasks(summary),
        "names": [task_name(summary, task) for task in tasks(summary)],
        "scores": [{"n": name, "share": is_share(summary, name), "lower": is_lower(name)} for name in scores(summary)],
        "main": _main(summary),
        "points": _points(summary, frame),
        "before": _before(summary, frame),
        "bases": [_base(base, frame) for base in summary["bases"]],
        "loss": [
            {"l": line, "x": frame.at(one), "v": one["value"], **_bounds(one.get("ci95")), "n": one.get("n_seeds"),
             "warn": one.get("warning", "")}
            for one in summary["loss"] for line in frame.on(one)
        ],
        "correlations": [
            _correlation(one) | {"s": known.index(setting_label(one.get("setting")))}
            for one in summary["statistics"].get("correlations", ())
            if setting_label(one.get("setting")) in known  # one over the mean of settings has no points to draw
        ],
        "optimum": [_optimum(one) for one in summary["statistics"].get("optimum", ())],
        "tradeoffs": _tradeoffs(summary, frame),
        "tables": [_table(table) for table in tables(summary, frame)],
        "responses": dict(responses),
    }  # fmt: skip
    shown: dict[str, Any] = _rounded(made)
    return shown


def settings(summary: Summary) -> list[str]:
    """Fine-tuning settings in words, in order; one without keys is the recipe's own."""
    return list(dict.fromkeys(setting_label(one.get("setting")) for one in (*summary["points"], *summary["runs"])))


def tasks(summary: Summary) -> list[str]:
    """Tasks that have points: first the means, where they are over more than one, then each."""
    found = list(dict.fromkeys(str(point["task"]) for point in summary["points"]))
    return [*means(found), *(task for task in found if task not in (MEAN, MEAN_CLOZE))]


def scores(summary: Summary) -> list[str]:
    """Scores, those that most tasks have first; of equals, in the order measured."""
    counted: dict[str, set[str]] = {}
    for point in summary["points"]:
        counted.setdefault(str(point["score"]), set()).add(str(point["task"]))
    return sorted(counted, key=lambda name: -len(counted[name]))


def _main(summary: Summary) -> list[int]:
    """Of each of `tasks` the score that its comparisons are made of, else its first; a position in `scores`."""
    kinds = scores(summary)
    compared = {str(one["task"]): str(one["score"]) for one in summary["statistics"].get("comparisons", ())}
    first: dict[str, str] = {}
    for point in summary["points"]:
        first.setdefault(str(point["task"]), str(point["score"]))
    return [kinds.index(compared.get(task, first[task])) for task in tasks(summary)]


def _bounds(interval: object) -> dict[str, float | None]:
    low, high = bounds(interval)
    return {"lo": low, "hi": high}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return rounded(value, DIGITS)


def _points(summary: Summary, frame: Frame) -> list[dict[str, Any]]:
    named, kinds, known = tasks(summary), scores(summary), settings(summary)
    return [
        {
            "l": line, "x": frame.at(one), "s": known.index(setting_label(one.get("setting"))),
            "t": named.index(str(one["task"])), "c": kinds.index(str(one["score"])), "o": int(is_control(one)),
            "w": str(one.get("name", "")),
            "v": one["value"], **_bounds(one.get("ci95")), "q": one.get("n_questions"), "n": one.get("n_seeds"),
        }
        for one in summary["points"] if str(one["task"]) in named for line in frame.on(one)
    ]  # fmt: skip


def _before(summary: Summary, frame: Frame) -> list[dict[str, Any]]:
    named, kinds = tasks(summary), scores(summary)
    return [
        {"l": line, "x": frame.at(base), "t": named.index(task), "c": kinds.index(name), "v": found["value"],
         **_bounds(found.get("ci95")), "b": base["label"]}
        for base in summary["bases"] for task, measured in (base.get("before") or {}).items() if task in named
        for name, found in measured.items() if name in kinds for line in frame.on(base)
    ]  # fmt: skip


def _base(base: Entry, frame: Frame) -> dict[str, Any]:
    spectra = base.get("spectra") or {}
    final, gap = spectra.get("final") or {}, base.get("gap") or {}
    return {
        "b": base["label"], "l": frame.on(base), "x": frame.at(base), "seed": base.get("seed"), "loss": base.get("eval_loss"),
        "gap": {"v": gap.get("gap"), **_bounds(gap.get("ci95")), "train": gap.get("train_loss"), "val": gap.get("val_loss")},
        "final": {key: final.get(key) for key in ("pseudo_rank_qk", "pseudo_rank_vp", "alpha_mean", "alpha_sd")},
        "probes": {
            task: {
                "best": found.get("best_layer"), "v": (found.get("test_accuracy") or {}).get("mean"),
                **_bounds((found.get("test_accuracy") or {}).get("ci95")), "majority": found.get("majority"),
                "layers": [
                    [one["layer"], one.get("train_accuracy"), one.get("test_accuracy")] for one in found.get("layers") or ()
                ],
            }
            for task, found in (base.get("probes") or {}).items()
        },
        "probe": base.get("probe_best_of_test"), "warn": base.get("warning", ""),
        "steps": list(spectra.get("steps") or ()),
        "ranks": {kind: dict(layers) for kind, layers in (spectra.get("pseudo_rank") or {}).items()},
        "norms": dict(spectra.get("norms") or {}),
    }  # fmt: skip


def _correlation(one: Entry) -> dict[str, Any]:
    """`without`: [point left out, the correlation without it]; `most`: those of them that move it most."""

    def short(found: object) -> dict[str, Any] | None:
        if not isinstance(found, Mapping):
            return None
        without = found.get("without") or {}
        return {
            "v": found.get("value"), **_bounds(found.get("loo_range")), "n": found.get("n"), "why": found.get("why", ""),
            "without": [[place_label(name), value] for name, value in without.items()],
            "most": [place_label(name) for name in found.get("moved_most_by") or ()],
        }  # fmt: skip

    return {"of": one["of"], "with": one["with"], "group": str(one["group"]), "warn": one.get("warning", ""),
            "pearson": short(one.get("pearson")), "spearman": short(one.get("spearman"))}  # fmt: skip


def _optimum(one: Entry) -> dict[str, Any]:
    """By loss, by score: categories, several where they tie."""
    return {
        "group": str(one["group"]),
        "task": one["task"],
        "score": one["score"],
        "loss": labels(one["by_loss"], one.get("name_by_loss")),
        "best": labels(one["by_score"], one.get("name_by_score")),
    }


def _tradeoffs(summary: Summary, frame: Frame) -> list[dict[str, Any]]:
    """Those with all that a point of figure 17 or 18 takes; `share` and `lower` are of the plasticity."""
    made = []
    for one in summary["statistics"].get("tradeoffs", ()):
        task, score = str(one["task"]), str(one["score"])
        row: dict[str, Any] = {
            "s": setting_label(one.get("setting")), "x": frame.at(one), "of": f"{score}, {task_name(summary, task)}",
            "share": is_share(summary, score), "lower": is_lower(score), "why": one.get("why", ""),
        }  # fmt: skip
        for key in ("stability", "upstream", "plasticity"):
            value, low, high = estimate(one.get(key))
            row[key] = {"v": value, "lo": low, "hi": high}
        if row["plasticity"]["v"] is not None and any(row[key]["v"] is not None for key in ("stability", "upstream")):
            made += [row | {"l": line} for line in frame.on(one)]
    return made


def _table(table: Table) -> dict[str, Any]:
    return {"id": table.id, "columns": [{"t": c.title, "k": c.kind} for c in table.columns], "rows": table.rows}
