"""Statistics of an experiment, family by family: comparisons with the loss-optimal base, correlations, optima, trade-offs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from plasticity import stats
from plasticity.experiment_data import Tested
from plasticity.experiment_families import POOLED, Family, RunsByTask, Scores
from plasticity.experiment_points import MEAN
from plasticity.stats_resample import DRAWS
from plasticity.stats_result import Floats, listed

LOSS = "eval_loss"


def reference(family: Family, names: Sequence[str]) -> tuple[str, str]:
    """What others are compared with: the place of the smallest mean loss, else the first; and `loss` or `smallest`.

    Not by loss where one is missing, or where bases have different tokenizers. Losses are over the seeds that all of them have.
    """
    loss = family.means(LOSS, names)
    if family.comparable and len(loss) == len(names):
        return min(loss, key=loss.__getitem__), "loss"
    return names[0], "smallest"


def why_not_by_loss(family: Family, by: str) -> str:
    """Why others are not compared with the place of the smallest loss; empty where they are."""
    if by == "loss":
        return ""
    return "not all losses are known" if family.comparable else "losses of different tokenizers cannot be compared"


def comparisons(family: Family, found: Sequence[Scores], *, draws: int = DRAWS) -> list[dict[str, Any]]:
    """Every place minus the reference, on every task and on their mean; Holm over the tasks of one pair."""
    made: list[dict[str, Any]] = []
    for one in found:
        names = list(one.values)
        if len(names) < 2:
            continue
        control, by = reference(family, names)
        made += [
            _about(family, one) | {
                "name_a": name, "name_b": control, "x_a": family.x(name), "x_b": family.x(control), "reference_by": by,
                "reference_why": why_not_by_loss(family, by), "better": "higher" if one.sign > 0 else "lower",
                **_pair(one, name, control, draws), "holm_p": None,
            }
            for name in names if name != control
        ]  # fmt: skip
    _holm(made)
    return made


def _about(family: Family, one: Scores) -> dict[str, Any]:
    return {
        "group": family.label, "task": one.task, "tasks": one.tasks, "score": one.score, "setting": dict(one.setting),
        "seeds_of": family.seeds_of,
    }  # fmt: skip


def _pair(one: Scores, first: str, second: str, draws: int) -> dict[str, Any]:
    """On the seeds that both have."""
    a, b = one.values[first], one.values[second]
    paired = stats.shared_difference(a, b, draws=draws)
    mcnemar = None
    if one.task != MEAN and len(paired.shared) == 1:
        rows = [side[one.task][paired.shared[0]] for side in (a, b)]
        if all(np.isin(row, (0.0, 1.0)).all() for row in rows):
            mcnemar = stats.mcnemar(*rows)
    return {"paired": paired, "mcnemar": mcnemar, "over_seeds": stats.paired_seeds(_by_seed(a), _by_seed(b))}


def _by_seed(tasks: Mapping[str, Mapping[int, Floats]]) -> dict[int, float | None]:
    """Mean over tasks, of the seeds that all tasks have."""
    tables = list(tasks.values())
    shared = [seed for seed in tables[0] if all(seed in table for table in tables)]
    return {seed: float(np.mean([table[seed].mean() for table in tables])) for seed in shared}


def _holm(made: Sequence[dict[str, Any]]) -> None:
    """Fill in `holm_p`: p over seeds where there are several, else McNemar's; adjusted over the tasks of one pair and setting."""
    pairs: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in made:
        if entry["task"] != MEAN:
            which = str((entry["name_a"], entry["name_b"], sorted(entry["setting"].items())))
            pairs.setdefault(which, {})[entry["task"]] = entry
    for tasks in pairs.values():
        p = {task: _p(entry) for task, entry in tasks.items()}
        for task, adjusted in stats.holm_over_tasks(p).adjusted.items():
            tasks[task]["holm_p"] = adjusted


def _p(entry: Mapping[str, Any]) -> float | None:
    if entry["over_seeds"].p is not None:
        return float(entry["over_seeds"].p)
    return None if entry["mcnemar"] is None else entry["mcnemar"].p


def correlations(family: Family, found: Sequence[Scores]) -> list[dict[str, Any]]:
    """Each measured quantity with each main score, over the places of the family; both over the same seeds, if they share some."""
    made = []
    for one in found:
        for quantity in family.quantities:
            both = [name for name in one.values if name in family.of(quantity)]
            seeds = (
                [seed for seed in one.seeds() if seed in family.shared_seeds(quantity, both)] if family.by_base else []
            )
            values, score = family.means(quantity, both, seeds), one.means(seeds=seeds)
            known: dict[str, float | None] = {name: values.get(name) for name in score}
            shown: dict[str, float | None] = {**score}
            made.append(_about(family, one) | {
                "of": quantity, "with": f"{one.task} {one.score}", "pearson": stats.pearson(known, shown),
                "spearman": stats.spearman(known, shown), "seeds": seeds or one.seeds(), "said_of_seeds": one.said_of_seeds(),
                "points": {name: [known[name], score[name]] for name in score},
            })  # fmt: skip
    return made


def optima(family: Family, found: Sequence[Scores], *, draws: int = DRAWS) -> list[dict[str, Any]]:
    """The best by loss beside the best by score."""
    loss = family.of(LOSS)
    made = []
    for one in found:
        if len(one.values) < 2 or len(loss) < 2:
            continue
        best = stats.optimum(loss, one.as_gain, draws=draws)
        made.append(_about(family, one) | {
            "by_loss": [family.x(name) for name in best.best_by_loss],
            "by_score": [family.x(name) for name in best.best_by_score],
            "name_by_loss": list(best.best_by_loss), "name_by_score": list(best.best_by_score),
            "loss": best.loss, "means": {name: one.sign * value for name, value in best.score.items()},
            "shares": {"by_loss": best.wins_by_loss, "by_score": best.wins_by_score}, "differ": best.differ,
            "difference": best.difference, "n_seeds": best.n_seeds, "n_questions": best.n_questions,
            "method": best.method, "status": best.status, "why": best.why,
        })  # fmt: skip
    return made


def best_settings(family: Family, found: Sequence[Scores], *, draws: int = DRAWS) -> list[dict[str, Any]]:
    """Of every place the best setting of fine-tuning, and the mean over settings (figure 23), where there are several settings."""
    made: list[dict[str, Any]] = []
    single = [one for one in found if POOLED not in one.setting]
    for task in dict.fromkeys(one.task for one in single):
        of_task = {json.dumps(dict(one.setting), sort_keys=True): one for one in single if one.task == task}
        some = next(iter(of_task.values()))
        names = [name for name in family.runs if all(name in one.values for one in of_task.values())]
        if len(of_task) < 2 or not names:
            continue
        control, by = reference(family, names)
        gains = {name: {label: one.as_gain[name] for label, one in of_task.items()} for name in names}
        best = stats.best_settings(gains, control, draws=draws)
        partly = [
            name for name in family.runs if name not in names and any(name in one.values for one in of_task.values())
        ]
        why = f"{best.why} Without all settings: {listed(partly)}.".strip() if partly else best.why
        made += [
            _about(family, some) | {
                "setting": {}, "name": name, "x": family.x(name),
                "settings": [dict(of_task[label].setting) for label in one.settings],
                "value": some.sign * one.value, "mean": some.sign * one.mean, "chosen": _signed(one.chosen, some.sign),
                "name_b": control, "x_b": family.x(control), "reference_by": by, "gain": one.against,
                "n_settings": best.n_settings, "n_seeds": best.n_seeds, "status": best.status, "why": why,
            }
            for name, one in best.bases.items()
        ]  # fmt: skip
    return made


def _signed(one: stats.Estimate, sign: int) -> stats.Estimate:
    """A gain as measured: where lower is better, turned round."""
    if sign > 0 or one.value is None:
        return one
    return replace(one, value=-one.value, ci95=None if one.ci95 is None else (-one.ci95[1], -one.ci95[0]))


def tradeoffs(family: Family, found: Sequence[Scores], *, draws: int = DRAWS) -> list[dict[str, Any]]:
    """What fine-tuning gains and what it forgets, place by place (figures 17 and 18): where both were scored.

    Both over the models that are fine-tuned on tasks of reasoning: on all of them, or on the first where not all are there. Models
    tuned on a cloze benchmark itself would gain on it, and hide what the others forget.
    """
    made = []
    wanted: dict[str, Scores] = {}
    for one in found:
        setting = json.dumps(dict(one.setting), sort_keys=True)
        if one.score == "greedy" and POOLED not in one.setting and (one.task == MEAN or setting not in wanted):
            wanted[setting] = one
    for one in wanted.values():
        for name in one.values:
            seeds = one.seeds([name])
            before, after = _cloze(one.runs[name], seeds, family.by_base)
            if before and any(after.values()):
                downstream = {task: np.stack([rows[s] for s in seeds]) for task, rows in one.values[name].items()}
                result = stats.tradeoff(before, after, downstream, seeds=True, draws=draws)
                said = " ".join(part for part in (result.why, one.said_of_seeds([name])) if part)
                made.append(_about(family, one) | {
                    "name": name, "x": family.x(name), "stability": result.stability, "upstream": result.upstream,
                    "plasticity": result.plasticity, "n_models": result.n, "n_seeds": len(seeds), "method": result.method,
                    "status": result.status, "why": said,
                })  # fmt: skip
    return made


def _cloze(
    runs: RunsByTask, seeds: Sequence[int], by_base: bool
) -> tuple[dict[str, list[Floats]], dict[str, dict[str, list[Floats]]]]:
    """Benchmark -> (S, Q) of the bases of these seeds (one row where they share a base); task -> benchmark -> (S, Q) fine-tuned.

    Benchmarks that a run of a task lacks, or a base, are not in it.
    """
    every = [run for of_task in runs.values() for seed in seeds for run in of_task[seed]]
    known = dict.fromkeys(benchmark for run in every for benchmark in run.stability)
    by_seed = {seed: next(iter(runs.values()))[seed][0].base for seed in seeds}
    bases = list(by_seed.values()) if by_base else list(by_seed.values())[:1]
    before = {
        benchmark: [_row(base.before[benchmark]) for base in bases]
        for benchmark in known
        if bases and all(benchmark in base.before and len(_row(base.before[benchmark])) for base in bases)
    }
    after: dict[str, dict[str, list[Floats]]] = {}
    for task, of_task in runs.items():
        tuned = {seed: [run.stability for run in of_task[seed]] for seed in seeds}
        after[task] = {
            benchmark: [np.mean([_row(one[benchmark]) for one in tuned[seed]], axis=0) for seed in seeds]
            for benchmark in before
            if all(benchmark in one and len(_row(one[benchmark])) for of in tuned.values() for one in of)
        }
    return before, after


def _row(tested: Tested) -> Floats:
    """(Q,) accuracy by question; empty where the answers do not bear it out."""
    table = tested.tables.get(_accuracy(tested))
    return table.value if table is not None and bool((table.weight > 0).all()) else np.empty(0)


def _accuracy(tested: Tested) -> str:
    return "acc" if "acc" in tested.scores else next(iter(tested.scores), "")
