"""What lm-eval found -> scores with intervals, and one record a question."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .scores import ScoreValue, mean_score

_SHARES = ("acc", "exact_match", "em")  # metrics in [0, 1]; of others it is not known


@dataclass
class Found:
    """Scores by name, lm-eval's standard errors and whether higher is better by the same names, and the records."""

    scores: dict[str, ScoreValue] = field(default_factory=dict)
    stderr: dict[str, float] = field(default_factory=dict)
    higher_is_better: dict[str, bool | None] = field(default_factory=dict)
    questions: list[dict[str, Any]] = field(default_factory=list)


def found(results: Mapping[str, Any], loaded: Mapping[str, Any], name: str, seed: int) -> Found:
    """Read `lm_eval.evaluate`'s answer on what `TaskManager.load` gave for `name`.

    A metric that lm-eval averages over documents gets a bootstrap interval; another (perplexity, F1 over the corpus) lm-eval's
    value and no interval. Names: the metric for what was asked, `subtask/metric` for parts of a group; `metric,filter` where
    lm-eval has filters.
    """
    made = Found()
    tasks, groups, samples = loaded["tasks"], loaded.get("groups", {}), results["samples"]
    parts = {group: [task.task_name for task in held.get_all_tasks()] for group, held in groups.items()}
    parts |= {task: [task] for task in tasks}
    for part, members in sorted(parts.items(), key=lambda item: item[0] != name):
        averages = _averages(tasks[part]) if part in tasks else {}  # groups average: `_score` looks over what
        for metric, chosen, value, stderr in _aggregates(results["results"].get(part, {})):
            key = f"{'' if part == name else f'{part}/'}{_named(metric, chosen)}"
            by_document = [_values(samples[member], metric, chosen) for member in members]
            made.scores[key] = _score(by_document, value, averages.get(metric, True), metric.startswith(_SHARES), seed)
            if stderr is not None:
                made.stderr[key] = stderr
            made.higher_is_better[key] = results["higher_is_better"].get(part, {}).get(metric)
    for member, task in tasks.items():
        made.questions += _records(member, task, samples[member])
    return made


def _averages(task: Any) -> dict[str, bool]:
    """Metric -> whether its score is the mean over documents (lm-eval's default where none is named)."""
    from lm_eval.api.metrics import mean  # type: ignore[import-untyped]

    return {str(metric): function is mean for metric, function in task.aggregation().items()}


def _aggregates(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float | None]]:
    """Metric, filter, value, standard error of every number in an entry `acc,none: 0.5, acc_stderr,none: 0.1, ...`."""
    for key, value in entry.items():
        metric, comma, chosen = key.rpartition(",")
        if comma and not metric.endswith("_stderr") and _is_number(value):
            stderr: Any = entry.get(f"{metric}_stderr,{chosen}")
            yield metric, chosen, float(value), float(stderr) if _is_number(stderr) and math.isfinite(stderr) else None


def _score(by_document: list[list[Any]], value: float, averaged: bool, share: bool, seed: int) -> ScoreValue:
    """lm-eval's value; with an interval where it is the mean of the numbers of all documents."""
    values = [one for values in by_document for one in values]
    if averaged and values and all(_is_number(one) and math.isfinite(one) for one in values):
        score = mean_score([float(one) for one in values], seed=seed, share=share)
        if score.value is not None and math.isclose(score.value, value, rel_tol=1e-9, abs_tol=1e-12):
            return score
    return ScoreValue(value=value if math.isfinite(value) else None, ci95=None, n=len(values))


def _values(samples: Sequence[Mapping[str, Any]], metric: str, chosen: str) -> list[Any]:
    return [sample[metric] for sample in samples if sample["filter"] == chosen and metric in sample["metrics"]]


def _records(name: str, task: Any, samples: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One record a document, in order; of several filters the metrics of all."""
    records: dict[int, dict[str, Any]] = {}
    for sample in samples:
        if sample["doc_id"] not in records:
            records[sample["doc_id"]] = {"task": name, "id": sample["doc_hash"], "metrics": {}, **_chosen(task, sample)}
        for metric in sample["metrics"]:
            if _is_number(sample[metric]) and math.isfinite(sample[metric]):
                records[sample["doc_id"]]["metrics"][_named(metric, sample["filter"])] = float(sample[metric])
    yield from records.values()


def _chosen(task: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
    """What was likeliest, and what is right; of a task without choices only the latter, as text."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return {"gold": str(sample["target"])}
    choices = [str(choice) for choice in task.doc_to_choice(sample["doc"])]
    logprobs = [float(pair[0]) for pair in sample["filtered_resps"]][: len(choices)]  # nats
    gold = task.doc_to_text(sample["doc"]) if task.multiple_input else sample["target"]
    if isinstance(gold, str):
        gold = choices.index(gold) if gold in choices else None
    record = {"chosen": _most(logprobs), "gold": gold, "logprobs": logprobs}
    if "acc_norm" in sample["metrics"]:
        each = [value / len(choice) if choice else -math.inf for value, choice in zip(logprobs, choices, strict=True)]
        record["chosen_norm"] = _most(each)
    return record


def _most(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _named(metric: str, chosen: str) -> str:
    return metric if chosen == "none" else f"{metric},{chosen}"


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real)
