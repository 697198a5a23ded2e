"""Scores of fine-tuned bases as points of figures: means over seeds, with intervals over seeds and questions.

Legend: S seeds, Q questions, B draws. Seeds are drawn first, then questions: the same questions for all seeds, which all answer
the same ones. A seed is one of pretraining where some base is asked for with several, its fine-tuning runs averaged; else one of
fine-tuning.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from plasticity.experiment_answers import Table
from plasticity.experiment_data import PRETRAINED, Run, main_score, tasks_of_reasoning
from plasticity.experiment_places import order
from plasticity.stats import proportion_interval
from plasticity.stats_grid import draw_seeds, interval
from plasticity.stats_resample import DRAWS, counts, percentile
from plasticity.stats_result import Floats, Interval, counted

MEAN, MEAN_CLOZE = "mean", "mean_cloze"
Drawn = Mapping[int, Floats]  # id of a table -> (B,) its score under resampling of questions


def units(runs: Sequence[Run], by_base: bool) -> dict[int, list[Run]]:
    """Seed -> its runs; `by_base`: seeds of pretraining, else of fine-tuning."""
    made: dict[int, list[Run]] = {}
    for run in runs:
        made.setdefault(run.base.seed if by_base else run.seed, []).append(run)
    return dict(sorted(made.items()))


def points(runs: Sequence[Run], by_base: Collection[str], *, draws: int = DRAWS, seed: int = 0) -> list[dict[str, Any]]:
    """One a (place, setting, task, score, start), as in `summary.json`.

    Task `mean`: over the tasks whose answers are generated; `mean_cloze`: over those that are scored by the likelihood of their
    choices (figure 11); each where there are several, `tasks` says which.

    Args:
        by_base: groups in which a seed is one of pretraining.
    """
    drawn = _draw([t for run in runs for t in run.tested.tables.values()], draws, seed)
    cells: dict[tuple[str, str, str], dict[str, list[Run]]] = {}
    for run in runs:
        which = (run.place.key, json.dumps(dict(run.setting), sort_keys=True), run.start)
        cells.setdefault(which, {}).setdefault(run.task, []).append(run)
    means = {MEAN: tasks_of_reasoning(runs), MEAN_CLOZE: _cloze(runs)}
    made = []
    for tasks in sorted(cells.values(), key=_order):
        one = next(iter(tasks.values()))[0]
        by = one.place.group in by_base and one.start == PRETRAINED  # random weights have no seed of pretraining
        seeded = {task: units(found, by) for task, found in tasks.items()}
        for task, by_seed in seeded.items():
            made += [_point({task: by_seed}, task, score, drawn, draws, by) for score in first_scores(by_seed)]
        for name, over in means.items():
            if len(over) > 1 and all(task in seeded for task in over):
                whole = _shared({task: seeded[task] for task in over})
                common = [n for n in _scores_of(whole) if name == MEAN or n == "acc"]
                made += [_point(whole, name, score, drawn, draws, by) for score in common]
    return made


def _cloze(runs: Sequence[Run]) -> list[str]:
    """Tasks that are fine-tuned on and scored by the likelihood of choices."""
    return list(dict.fromkeys(run.task for run in runs if main_score(run) == "acc"))


def _shared(tasks: Mapping[str, Mapping[int, Sequence[Run]]]) -> dict[str, dict[int, Sequence[Run]]]:
    """The same with the seeds that all tasks have."""
    first = next(iter(tasks.values()))
    seeds = [seed for seed in first if all(seed in by_seed for by_seed in tasks.values())]
    return {task: {seed: by_seed[seed] for seed in seeds} for task, by_seed in tasks.items()}


def _scores_of(tasks: Mapping[str, Mapping[int, Sequence[Run]]]) -> list[str]:
    """Scores that all of several tasks have."""
    known = [first_scores(by_seed) for by_seed in tasks.values()]
    return [name for name in known[0] if all(name in names for names in known)]


def first_scores(by_seed: Mapping[int, Sequence[Run]]) -> list[str]:
    """Scores with a value that every run has."""
    runs = [run for found in by_seed.values() for run in found]
    names = runs[0].tested.scores if runs else {}
    return [n for n in names if all(r.tested.scores.get(n, {}).get("value") is not None for r in runs)]


def _order(tasks: Mapping[str, Sequence[Run]]) -> tuple[str, bool, Any]:
    """By group, x, and what has none last."""
    run = next(iter(tasks.values()))[0]
    return run.place.group, run.start != PRETRAINED, order(run.place)


def _point(
    tasks: Mapping[str, Mapping[int, Sequence[Run]]], name: str, score: str, drawn: Drawn, draws: int, by_base: bool
) -> dict[str, Any]:
    first = next(iter(tasks.values()))
    one = next(iter(first.values()))[0]
    each = {
        task: [float(np.mean([run.tested.scores[score]["value"] for run in runs])) for runs in by_seed.values()]
        for task, by_seed in tasks.items()
    }  # (S,) a task
    ci95, method, questions = _interval(tasks, score, drawn, draws, by_base)
    return {
        "group": one.place.group, "families": list(one.place.families), "bases": _bases(tasks),
        "name": one.place.name, "x": one.place.x,
        "axes": dict(one.place.axes), "setting": dict(one.setting), "task": name, "score": score, "start": one.start,
        "tasks": list(tasks),
        "value": float(np.mean([np.mean(values) for values in each.values()])), "ci95": ci95, "n_questions": questions,
        "n_seeds": len(first), "by_seed": np.mean(list(each.values()), axis=0).tolist(), "seeds": list(first),
        "seeds_of": kind_of_seed(by_base), "method": method,
    }  # fmt: skip


def _bases(tasks: Mapping[str, Mapping[int, Sequence[Run]]]) -> list[str]:
    """Labels of the bases whose runs a point is over."""
    return list(dict.fromkeys(run.base.label for of in tasks.values() for runs in of.values() for run in runs))


def _interval(
    tasks: Mapping[str, Mapping[int, Sequence[Run]]], score: str, drawn: Drawn, draws: int, by_base: bool
) -> tuple[Interval | None, str, int]:
    """Interval, method, number of questions."""
    n_seeds = len(next(iter(tasks.values())))
    runs = [run for by_seed in tasks.values() for found in by_seed.values() for run in found]
    asked = sum(
        round(np.mean([run.tested.scores[score]["n"] for found in by_seed.values() for run in found]))
        for by_seed in tasks.values()
    )  # of some scores it differs by run: those that have a right sample
    if any(score not in run.tested.tables for run in runs):
        return None, "mean; no interval: the answers by question are not all there", asked
    if n_seeds > 1 and all(_is_full(score, by_seed) for by_seed in tasks.values()):
        return _over_both(tasks, score, asked, by_base)
    columns = {
        task: np.stack([_mean([drawn[id(run.tested.tables[score])] for run in found]) for found in by_seed.values()], 1)
        for task, by_seed in tasks.items()
    }  # (B, S) a task
    total = over_seeds(list(columns.values()))
    method = _method(n_seeds, len(tasks), draws, by_base)
    total = total[np.isfinite(total)]
    if not len(total):
        return None, "mean; no interval: no draw of questions has a value", asked
    if np.ptp(total) > 1e-12:
        return percentile(total), method, asked
    return (*_constant([run.tested.tables[score] for run in runs], len(tasks)), asked)


def _is_full(score: str, by_seed: Mapping[int, Sequence[Run]]) -> bool:
    """Whether all runs have it of the same questions, each of weight 1."""
    tables = [run.tested.tables[score] for runs in by_seed.values() for run in runs]
    return all(bool((table.weight == 1).all()) and table.ids == tables[0].ids for table in tables)


def _over_both(
    tasks: Mapping[str, Mapping[int, Sequence[Run]]], score: str, asked: int, by_base: bool
) -> tuple[Interval | None, str, int]:
    """Of scores that are means over questions: as `comparisons` have it, over seeds and questions, both random."""
    tables = {
        task: np.stack([_mean([run.tested.tables[score].value for run in found]) for found in by_seed.values()])
        for task, by_seed in tasks.items()
    }  # (S, Q) a task
    found = interval(tables)
    if found is None:
        runs = [run for by_seed in tasks.values() for of in by_seed.values() for run in of]
        return (*_constant([run.tested.tables[score] for run in runs], len(tasks)), asked)
    if all(((table >= 0) & (table <= 1)).all() for table in tables.values()):
        found = max(0.0, found[0]), min(1.0, found[1])  # a share lies between
    n_seeds = len(next(iter(tables.values())))
    over = f"{counted(n_seeds, 'seed')} of {kind_of_seed(by_base)} and over questions"
    within = f", within each of {len(tasks)} tasks" if len(tasks) > 1 else ""
    return found, f"95% t-interval over {over}{within}, both random", asked


def over_seeds(drawn: Sequence[Floats]) -> Floats:
    """(B,) means over tasks and drawn seeds, of (B, S) a task under drawn questions; the same seeds for all tasks.

    Measured (tests): with 3 seeds it holds 97% where the luck of seeds is that of questions, 88% where it is three times as great.
    """
    draws, n_seeds = drawn[0].shape
    weights = draw_seeds(np.random.default_rng(1), n_seeds, draws)
    return _mean([np.einsum("bs,bs->b", found, weights) for found in drawn])


def _constant(tables: Sequence[Table], tasks: int) -> tuple[Interval | None, str]:
    """Where every draw is the same: of flags that are all equal the exact interval of as many questions, else none."""
    values = np.concatenate([table.value[table.weight > 0] for table in tables])
    if tasks == 1 and len(values) and values[0] in (0.0, 1.0) and (values == values[0]).all():
        n = int((tables[0].weight > 0).sum())
        found = proportion_interval(n if values[0] else 0, n)
        return found.ci95, f"all answers of all seeds alike; {found.method} over questions"
    return None, "mean; no interval: every draw of seeds and questions is the same"


def _method(n_seeds: int, n_tasks: int, draws: int, by_base: bool) -> str:
    of = f", within each of {n_tasks} tasks" if n_tasks > 1 else ""
    if n_seeds == 1:
        return (
            f"one seed: bootstrap over questions alone{of}; what another seed would change is not in the interval; 95% percentile, "
            f"{draws} draws"
        )
    few = "; of so few seeds it holds less than 95% where seeds matter more than questions do" if n_seeds < 4 else ""
    over = f"{counted(n_seeds, 'seed')} of {kind_of_seed(by_base)}, then over questions{of}"
    return f"bootstrap over {over}; 95% percentile, {draws} draws{few}"


def kind_of_seed(by_base: bool) -> str:
    """What a seed is one of, in words."""
    return "pretraining" if by_base else "fine-tuning"


def _mean(arrays: Sequence[Floats]) -> Floats:
    made: Floats = np.mean(arrays, axis=0)
    return made


def _draw(found: Sequence[Table], draws: int, seed: int) -> dict[int, Floats]:
    """Every score under the same draws of questions, where the questions are the same: one pass over all of them."""
    made: dict[int, Floats] = {}
    by_questions: dict[tuple[str, ...], list[Table]] = {}
    for table in found:
        by_questions.setdefault(table.ids, []).append(table)
    for number, alike in enumerate(by_questions.values()):
        values, weights = (np.stack([getattr(t, name) for t in alike], 1) for name in ("value", "weight"))  # (Q, C)
        rows = []
        for block in counts(np.random.default_rng([seed, number]), len(values), draws):
            with np.errstate(invalid="ignore", divide="ignore"):
                rows.append((block @ values) / (block @ weights))
        drawn = np.concatenate(rows)
        made |= {id(table): drawn[:, at] for at, table in enumerate(alike)}
    return made
