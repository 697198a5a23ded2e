"""A made-up experiment on disk, as `plasticity run` and `experiment_results.write_summary` leave it: no model is trained."""

from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

from plasticity.responses import FORMAT, VERSION
from plasticity.tasks.loading import load
from plasticity.tasks.registry import get
from plasticity.tasks.report import question_key

XS = (0, 0.1, 0.3, 1.0, 3.0)
SEEDS = (1, 2, 3)
SCORES = ("greedy", "maj@16", "pass@16")
PROBES = ("corpus", "news")
STEPS = [610, 1220, 1830, 2440]
CONTROL = 0.14
Entry = dict[str, Any]


def around(value: float, width: float) -> Entry:
    return {"value": value, "ci95": [value - width, value + width], "n": 500}


def made(
    groups: tuple[str, ...] = ("tiny",),
    tasks: tuple[str, ...] = ("toy_arithmetic", "medmcqa"),
    settings: tuple[Entry, ...] = ({},),
    seed: int = 0,
) -> Entry:
    """A whole summary: scores peak at a larger decay than the least loss."""
    dice = random.Random(seed)
    bases, runs, points, loss = [], [], [], []
    for g, group in enumerate(groups):
        for i, x in enumerate(XS):
            place = {"group": group, "families": [group], "name": str(x), "x": x, "axes": {}}
            for s in SEEDS:
                bases.append(_base(place, i, g, s, dice, tasks))
                for task, setting in itertools.product(tasks, settings):
                    runs.append(_run(place, bases[-1]["label"], s, (task, setting), _level(i, g, 0), dice))
            value = sum(base["eval_loss"] for base in bases[-len(SEEDS) :]) / len(SEEDS)
            loss.append(
                {
                    **place,
                    "value": value,
                    "ci95": [value - 0.02, value + 0.02],
                    "n_seeds": 3,
                    "method": "t-interval over seeds",
                    "bases": [base["label"] for base in bases[-len(SEEDS) :]],
                }
            )
        for task, setting in itertools.product(tasks, settings):
            place = {"group": group, "families": [group], "name": "from scratch", "x": None, "axes": {}}
            runs.append(_run(place, f"{group} decay.base=0 seed=1", 1, (task, setting), CONTROL, dice))
        for score, task, setting in itertools.product(SCORES, _named(tasks), settings):
            points += _points(group, task, score, setting, settings.index(setting))
    return {
        "format": "plasticity.experiment",
        "schema_version": 1,
        "experiment": {
            "name": "study_plasticity_small",
            "description": "Weight decay and plasticity at about 1M parameters",
            "source": "after the plasticity paper (arXiv 2602.11137), sections 4 and 5",
            "axis": "decay.base",
            "tasks": list(tasks),
            "samples": 16,
            "limit": 500,
        },
        "counts": {"cells": 90, "done": 88, "failed": 1, "pending": 0, "blocked": 1},
        "failed": [
            {
                "id": "ab12",
                "kind": "probe",
                "label": "probe tiny decay.base=3 seed=3",
                "reason": "No space left on device",
            }
        ],
        "pending": ["tune tiny decay.base=3 seed=3"],
        "warnings": ["tiny: probes of corpus did not converge at layers 4."],
        "bases": bases,
        "runs": runs,
        "points": points,
        "loss": loss,
        "statistics": _statistics(groups, tasks, settings),
        "findings": [one for group in groups for one in _findings(group)],
        "provenance": {
            "spectra": "0.1.0",
            "libraries": {"torch": "2.4"},
            "finished_at": "2026-01-01",
            "cells_commits": ["abc"],
            "recipe_sha256": "0" * 64,
            "cell_seconds": 6000.0,
        },
    }


def _named(tasks: tuple[str, ...]) -> tuple[str, ...]:
    """With their mean, where there are several."""
    return (*tasks, "mean") if len(tasks) > 1 else tasks


def _level(i: int, g: int, s: int) -> float:
    return 0.42 + 0.05 * math.exp(-((i - 3 + g) ** 2) / 2) * 3 + 0.03 * g - 0.02 * s


def _loss(i: int, g: int) -> float:
    return 2.31 - 0.1 * g + 0.02 * (i - 1) ** 2


def _base(place: Entry, i: int, g: int, s: int, dice: random.Random, tasks: tuple[str, ...]) -> Entry:
    def near(v: float, sd: float) -> float:
        return v + dice.gauss(0, sd)

    gap = near(0.06 - 0.012 * i, 0.003)
    accuracy = {task: near(0.72 + 0.03 * i - 0.1 * n, 0.01) for n, task in enumerate(PROBES)}
    rank = [near(0.9 - 0.04 * i * t, 0.01) for t in range(1, 5)]
    return {
        **place,
        "label": f"{place['group']} decay.base={place['x']} seed={s}",
        "axes": {"recipe": place["group"], "seed": s},
        "seed": s,
        "parameters": 1_050_000,
        "tokenizer_sha256": "f" * 64,
        "eval_loss": near(_loss(i, g), 0.006),
        "before": {task: {"greedy": around(near(0.03, 0.01), 0.015)} for task in tasks},
        "probes": {
            task: {
                "best_layer": 3,
                "test_accuracy": {"mean": found, "sd": 0.01, "ci95": [found - 0.02, found + 0.02]},
                "majority": 0.25,
                "layers": [
                    {"layer": n, "train_accuracy": found + 0.02, "test_accuracy": found - 0.02 * (n - 3 - at) ** 2}
                    for n in range(6)
                ],
            }
            for at, (task, found) in enumerate(accuracy.items())
        },
        "gap": {"gap": gap, "ci95": [gap - 0.01, gap + 0.01], "train_loss": 2.2, "val_loss": 2.2 + gap},
        "spectra": {
            "final": {
                "pseudo_rank_qk": rank[-1],
                "pseudo_rank_vp": near(0.9, 0.01),
                "alpha_mean": 2.1,
                "alpha_sd": near(0.4, 0.05),
            },
            "track": "cells/x/track.json",
            "steps": STEPS,
            "pseudo_rank": {
                "qk": {str(n): [v - 0.02 * n for v in rank] for n in range(5)},
                "vp": {str(n): rank for n in range(5)},
            },
            "norms": {"embed": [0.6, 0.58, 0.57, 0.56], "layer 0": [0.4, 0.39, 0.38, None]},
        },
    }


def _run(place: Entry, base: str, s: int, asked: tuple[str, Entry], level: float, dice: random.Random) -> Entry:
    """From pretrained weights where the level is above that of the control."""
    (task, setting), start = asked, "pretrained" if level > CONTROL else "scratch"
    name = f"{base} {task} {start} {sorted(setting.items())}"
    return {
        **{k: place[k] for k in ("group", "axes", "x")},
        "id": f"{abs(hash(name)):016x}"[:16],
        "base": base,
        "task": task,
        "setting": setting,
        "seed": 1,
        "base_seed": s,
        "start": start,
        "train_loss": 0.4,
        "stability": {},
        "scores": {score: around(level + dice.gauss(0, 0.02), 0.04) for score in SCORES},
        "answers": f"cells/{base} {task} {start}/scores/answers.jsonl".replace("=", "-"),
    }


def _points(group: str, task: str, score: str, setting: Entry, which: int) -> list[Entry]:
    g = 0 if group == "tiny" else 1
    up = SCORES.index(score) * 0.1 + (0.1 if task == "medmcqa" else 0.05 if task == "mean" else 0)
    common = {"group": group, "families": [group], "axes": {}, "setting": setting, "task": task, "score": score}
    method = "bootstrap over 3 seeds of pretraining, then over questions; 95% percentile, 2000 draws"
    found = []
    for i, x in enumerate(XS):
        value = _level(i, g, which) + up
        found.append(
            {
                **common,
                "name": str(x),
                "x": x,
                "start": "pretrained",
                "value": value,
                "ci95": [value - 0.03, value + 0.035],
                "n_questions": 500,
                "n_seeds": 3,
                "method": method,
            }
        )
    low = CONTROL + up
    found.append(
        {
            **common,
            "name": "from scratch",
            "x": None,
            "start": "scratch",
            "value": low,
            "ci95": [low - 0.03, low + 0.03],
            "n_questions": 500,
            "n_seeds": 1,
            "method": "one seed: bootstrap over questions alone",
        }
    )
    return found


def _statistics(groups: tuple[str, ...], tasks: tuple[str, ...], settings: tuple[Entry, ...]) -> Entry:
    comparisons: list[Entry] = []
    correlations: list[Entry] = []
    optimum: list[Entry] = []
    for group, task in itertools.product(groups, _named(tasks)):
        about = {"group": group, "task": task, "score": "greedy", "setting": {}}
        comparisons += [
            {
                **about,
                "name_a": str(x),
                "name_b": "0.1",
                "x_a": x,
                "x_b": 0.1,
                "reference_by": "loss",
                "better": "higher",
                "paired": {
                    "value": 0.05 * x,
                    "ci95": [0.05 * x - 0.04, 0.05 * x + 0.04],
                    "n": 500,
                    "method": "paired bootstrap",
                    "why": "",
                },
                "mcnemar": None,
                "over_seeds": {
                    "value": 0.05 * x,
                    "n": 3,
                    "p": 0.04,
                    "method": "paired t over seeds",
                    "why": "3 seeds only.",
                },
                "holm_p": None if task == "mean" else 0.08,
            }
            for x in (0, 0.3, 1.0, 3.0)
        ]
        for of in ("eval_loss", "gap", "pseudo_rank_qk", "pseudo_rank_vp", "alpha_sd", "probe:corpus"):
            without = {str(x): value for x, value in zip(XS, (-0.35, 0.4, -0.3, -0.4, -0.82), strict=True)}
            one = {"value": -0.31, "loo_range": [-0.82, 0.4], "n": 5, "method": "Pearson r", "why": "", "without": without,
                   "moved_most_by": ["0.1"]}  # fmt: skip
            points = {str(x): [0.1 * i, _level(i, 0, 0)] for i, x in enumerate(XS)}
            correlations.append(
                {**about, "of": of, "with": f"{task} greedy", "pearson": one, "spearman": {**one, "value": -0.3},
                 "points": points}
            )  # fmt: skip
        optimum.append(
            {
                **about,
                "by_loss": [0.1],
                "by_score": [1.0],
                "name_by_loss": ["0.1"],
                "name_by_score": ["1.0"],
                "shares": {"by_loss": {"0.1": 0.9, "0.3": 0.1}, "by_score": {"1.0": 0.7, "0.3": 0.3}},
                "means": {str(x): _level(i, 0, 0) for i, x in enumerate(XS)},
                "seeds_of": "pretraining",
                "n_seeds": 3,
                "differ": 0.94,
                "difference": {"value": 0.12, "ci95": [0.02, 0.21], "n": 500, "method": "Dunnett", "why": ""},
                "method": "seeds and questions drawn again",
                "status": "ok",
                "why": "",
            }
        )
    tradeoffs = [
        {
            "group": group,
            "task": _named(tasks)[-1],
            "score": "greedy",
            "setting": setting,
            "name": str(x),
            "x": x,
            "stability": around(-0.01 * i, 0.01),
            "upstream": around(0.4 + 0.01 * i, 0.01),
            "plasticity": around(_level(i, g, s), 0.03),
            "n_models": 3,
            "method": "bootstrap over questions within tasks, mean over 3 fine-tuned models",
            "status": "few_tasks",
            "why": f"Upstream accuracy: {x} has one benchmark.",
        }
        for (g, group), (s, setting), (i, x) in itertools.product(enumerate(groups), enumerate(settings), enumerate(XS))
    ]
    pairs = [
        pair(f"{groups[0]} decay.base={x}", f"{groups[0]} decay.base=0.1", 0.05 * x, task=task, status=status)
        for task in _named(tasks)
        for x, status in ((0, "not settled"), (0.3, "not settled"), (1.0, "one seed"), (3.0, "settled"))
    ]
    return {"comparisons": comparisons, "correlations": correlations, "optimum": optimum, "tradeoffs": tradeoffs,
            "pairs": pairs}  # fmt: skip


def pair(second: str, first: str, value: float, **changes: Any) -> Entry:
    """Which of two bases is better, as `experiment_pairs` writes it."""
    made = {
        "task": "mean", "score": "greedy", "setting": {}, "name_a": first, "name_b": second, "value_a": 0.45,
        "value_b": 0.45 + value, "value": value, "ci95": [value - 0.04, value + 0.04], "n_seeds": 3, "n_questions": 500,
        "better": "higher", "status": "not settled", "method": "paired bootstrap over 3 seeds, then over questions",
    } | changes  # fmt: skip
    return made | {"ahead": None if made["status"] == "not settled" else second if value > 0 else first}


WARNING = "the bases have different tokenizers: losses, gaps and what is chosen by them are not comparable."


def doubted() -> Entry:
    """Safety alone, scored by harmfulness; bases of several tokenizers, each fine-tuned twice; nothing that is of an axis."""
    summary = made(tasks=("safety",), settings=({}, {"train.lr": 1e-4}))
    for one in summary["points"]:
        one |= {"score": "harmfulness", "value": 4 * one["value"], "ci95": [4 * v for v in one["ci95"]]}
    summary["points"] = [one for n, one in enumerate(summary["points"]) if n < len(summary["points"]) // len(SCORES)]
    statistics = summary["statistics"]
    for one in (*statistics["comparisons"], *statistics["optimum"], *statistics["tradeoffs"], *statistics["pairs"]):
        one |= {"score": "harmfulness", "better": "lower"}
    for one in statistics["pairs"]:
        one["ahead"] = one["ahead"] and one["name_a"]
    for one in statistics["correlations"]:
        one["with"] = "safety harmfulness"
    doubtful = [one for one in statistics["correlations"] if one["of"] in ("eval_loss", "gap")]
    statistics["optimum"][0]["difference"] |= {"value": 0.31, "ci95": [0.1, 0.52]}
    for one in (*summary["bases"], *summary["loss"], *statistics["optimum"], *statistics["pairs"], *doubtful):
        one["warning"] = WARNING
    for base in summary["bases"]:
        base["before"] = {}
    for one in summary["findings"]:
        one |= {"status": "not measured", "answer": "Its bases have no number for weight decay."}
    summary["runs"] = [
        run | {"task": "toy_arithmetic", "id": f"{run['id'][:14]}{seed:02}", "seed": seed,
               "answers": run["answers"].replace("cells/", f"cells/{seed} {'-'.join(run['setting'])}")}
        for run in summary["runs"] for seed in (7, 8)
    ]  # fmt: skip
    return summary


def _findings(group: str) -> list[Entry]:
    said = (
        (
            "plasticity",
            "Does a base with a larger decay.base than the one of the smallest validation loss score better once fine-tuned?",
            "Yes: decay.base 1.0 against 0.1, which has the smallest validation loss: +14.13 points on mean greedy (95% "
            "interval +2.10 to +21.40, 3 seeds).",
            "holds",
        ),
        (
            "loss",
            "Is the decay.base of the smallest validation loss a wrong choice for fine-tuning (loss does not predict scores)?",
            "The best other choice: decay.base 1.0 against 0.1: +3.13 points (95% interval -1.10 to +6.40, 3 seeds). The "
            "interval does not decide it.",
            "not settled",
        ),
        (
            "probes",
            "Does the accuracy of linear probes (best layer) rise with decay.base?",
            "Yes: 0.7212 at 0, 0.8391 at 3.0; +0.0301 a step of the grid (95% interval +0.0251 to +0.0352, 3 seeds).",
            "holds",
        ),
        (
            "rank",
            "Does the pseudo-rank of W_QK (share of full rank, final checkpoint) fall with decay.base?",
            "No, the reverse: +0.0301 a step of the grid (95% interval +0.0251 to +0.0352, 3 seeds).",
            "does not hold",
        ),
        (
            "gap",
            "Does the train-val gap (nats a token) fall with decay.base?",
            "Not measured: it takes bases of at least two values.",
            "not measured",
        ),
    )
    return [
        {
            "claim": claim,
            "group": group,
            "question": question,
            "answer": answer,
            "status": status,
            "evidence": ["0: loss 2.3300, mean greedy 44.1%", "0.1: loss 2.3100, mean greedy 46.0%"],
        }
        for claim, question, answer, status in said
    ]


def write(folder: Path, summary: Entry, *, questions: int = 40) -> Path:
    """The summary, and the responses of its runs on toy_arithmetic."""
    asked = load(get("toy_arithmetic"), "test").items[:questions]
    dice = random.Random(1)
    for run in summary["runs"]:
        if run["task"] != "toy_arithmetic":
            run["answers"] = None
            continue
        where = (folder / run["answers"]).parent
        where.mkdir(parents=True, exist_ok=True)
        answers, texts = [], [json.dumps({"header": {"format": FORMAT, "version": VERSION, "questions": len(asked)}})]
        for question in asked:
            said = question.gold if dice.random() < run["scores"]["greedy"]["value"] else str(int(question.gold) + 1)
            right = said == question.gold
            answers.append(
                json.dumps(
                    {
                        "id": question.id,
                        "question_sha256": question_key(question),
                        "gold": question.gold,
                        "greedy": {"answer": said, "correct": right},
                        "samples": [{"answer": said, "correct": right}] * 16,
                    }
                )
            )
            text = f" Adding up gives {said}. The answer is {said}."
            texts.append(
                json.dumps(
                    {"id": question.id, "responses": [{"text": text, "tokens": 9, "finish": "stop"}], "notes": []}
                )
            )
        (where / "answers.jsonl").write_text("\n".join(answers) + "\n", encoding="utf-8")
        (where / "greedy.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder
