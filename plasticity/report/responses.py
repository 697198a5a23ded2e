"""Responses to the same questions side by side: a few questions a task, so that the page stays small."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plasticity.report.frame import Frame, is_control
from plasticity.report.questions import question_texts
from plasticity.report.values import setting_label
from spectra.errors import SpectraError

BUDGET = 3000  # responses on a page
FEWEST, MOST = 4, 16  # questions a task
CHARACTERS = 1500  # of a response; the rest is cut, and said
Entry = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One fine-tuned model with its graded answers and greedy texts, by question."""

    run: Entry
    answers: Mapping[str, Entry]
    texts: Mapping[str, str]


def side_by_side(summary: Mapping[str, Any], frame: Frame, folder: Path) -> dict[str, Any]:
    """By task: `questions` (id, text, gold) and `answers`, a row a model with one entry a question.

    An entry: [text, answer, right, samples right, samples], None where the model has none. `why`: what could not be read.
    """
    asked = [run for run in summary["runs"] if run.get("answers")]
    tasks = list(dict.fromkeys(str(run["task"]) for run in asked))
    made: dict[str, Any] = {"tasks": [], "why": []}
    many = min(MOST, max(FEWEST, BUDGET // max(1, len(asked))))
    for task in tasks:
        found = list(_read([run for run in asked if run["task"] == task], folder, made["why"]))
        chosen = _chosen(found, many)
        if not chosen:
            continue
        hashes = {str(one.answers[q].get("question_sha256")) for one in found for q in chosen if q in one.answers}
        texts = question_texts(folder, task, hashes)
        made["tasks"].append(
            {
                "task": task,
                "of": max(len(one.answers) for one in found),
                "questions": [_question(q, found, texts) for q in chosen],
                "models": [_model(one, chosen, frame) for one in found],
            }
        )
    made["why"] = list(dict.fromkeys(made["why"]))
    return made


def _read(runs: Sequence[Entry], folder: Path, why: list[str]) -> Iterator[_Run]:
    for run in runs:
        path = (folder / str(run["answers"])).resolve()
        try:
            if not path.is_relative_to(folder.resolve()):
                raise ValueError("outside the folder")
            answers = {str(one["id"]): one for one in _lines(path)}
            if not any("greedy" in one for one in answers.values()):
                continue  # choices scored by likelihood: nothing was said
            texts = _texts(path.with_name("greedy.jsonl"))
        except (OSError, ValueError, KeyError, TypeError, SpectraError) as error:
            why.append(
                f"{run['base']}, {run['task']}, cell {run['id']}: responses cannot be read ({type(error).__name__})."
            )
            continue
        yield _Run(run=run, answers=answers, texts=texts)


def _lines(path: Path) -> Iterator[Entry]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _texts(path: Path) -> dict[str, str]:
    from plasticity.responses import load_responses

    return {one.question_id: one.responses[0].text for one in load_responses(path).answers if one.responses}


def _right(one: _Run, question: str) -> bool:
    return bool((one.answers[question].get("greedy") or {}).get("correct"))


def _chosen(found: Sequence[_Run], many: int) -> list[str]:
    """Half of them the first ones; half those on which the models differ most, of the rest (ties: the first)."""
    if not found:
        return []
    order = list(found[0].answers)
    first = order[: many - many // 2]
    right = Counter(q for one in found for q in one.answers if _right(one, q))
    rest = sorted(order[len(first) :], key=lambda q: abs(right[q] - len(found) / 2))
    picked = {*first, *rest[: many - len(first)]}
    return [q for q in order if q in picked]


def _question(question: str, found: Sequence[_Run], texts: Mapping[str, str]) -> dict[str, Any]:
    entry = next(one.answers[question] for one in found if question in one.answers)
    here = [one for one in found if question in one.answers]
    return {
        "id": question, "text": texts.get(str(entry.get("question_sha256"))), "gold": str(entry.get("gold")),
        "right": sum(_right(one, question) for one in here), "models": len(here),
    }  # fmt: skip


def _model(one: _Run, chosen: Sequence[str], frame: Frame) -> dict[str, Any]:
    return {
        "b": str(one.run["base"]), "o": int(is_control(one.run)), "g": str(one.run["group"]), "id": str(one.run["id"]),
        "seed": one.run.get("seed"),
        "base_seed": one.run.get("base_seed"), "x": frame.at(one.run), "l": frame.on(one.run),
        "s": setting_label(one.run.get("setting")), "a": [_entry(one, question) for question in chosen],
    }  # fmt: skip


def _entry(one: _Run, question: str) -> list[Any] | None:
    answer = one.answers.get(question)
    if answer is None:
        return None
    samples, greedy = answer.get("samples") or [], answer.get("greedy") or {}
    text = one.texts.get(question, "")
    return [
        text[:CHARACTERS] + (" … (cut)" if len(text) > CHARACTERS else ""), greedy.get("answer"), bool(greedy.get("correct")),
        sum(bool(sample.get("correct")) for sample in samples), len(samples),
    ]  # fmt: skip
