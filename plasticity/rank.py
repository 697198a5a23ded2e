"""Which base to fine-tune on a task, from cheap signals alone; and how well such rankings agreed with an experiment in full."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plasticity import experiment_bases, rank_check, rank_folder, rank_ties, stats
from plasticity.experiment_answers import shared
from plasticity.experiment_data import PRETRAINED, Base, Found, Run, main_score, read
from plasticity.experiment_families import LOWER_IS_BETTER
from plasticity.rank_result import (
    NAME,
    SHORT,
    SIGNALS,
    RankResult,
    Short,
    Signal,
    combine,
    draw,
    shorten,
    signal,
    write,
)
from plasticity.rank_signals import Measured, RankConfig, Say, measure
from plasticity.rank_words import experience
from plasticity.stats_ranking import Agreement
from plasticity.stats_resample import DRAWS
from plasticity.stats_result import Floats
from spectra.errors import SpectraError

__all__ = ["NAME", "RankConfig", "RankResult", "agreements", "rank"]
SAME_QUESTIONS = (
    "The short fine-tuning is scored on questions of the task's test split, as the experiment's fine-tuning is: what is chance in "
    "these questions is in both, and raises their agreement."
)
_IN_EXPERIMENT = {
    "probe": "probe",
    "pseudo_rank_qk": "pseudo_rank_qk",
    "alpha_sd": "alpha_sd",
    "gap": "gap",
    "loss": "eval_loss",
}


@dataclass(frozen=True, kw_only=True)
class Full:
    """A task measured in full by an experiment: base -> signals, base -> task -> seed -> (Q,) gains, base -> checkpoint."""

    signals: Mapping[str, Mapping[str, float | None]]
    scores: Mapping[str, Mapping[str, Mapping[int, Floats]]]
    checkpoints: Mapping[str, str]


def rank(config: RankConfig, out: Path, *, experiment: Path | None = None, message: Say | None = None) -> RankResult:
    """Measure every candidate, rank them, and write `rank.json` into the folder `out`. Interrupted, the same call goes on.

    Args:
        experiment: the folder of a finished experiment with the same task; its bases may be named as candidates.

    Raises:
        SpectraError: a candidate cannot be read or fine-tuned, the folder holds another
            ranking or something else, the experiment has not the task.
    """
    began, say = time.perf_counter(), message or (lambda _: None)
    full = measured_in_full(read(experiment), config.task) if experiment is not None else None
    paths = {model: full.checkpoints.get(model, model) if full is not None else model for model in config.models}
    rank_check.check(config, list(paths.values()))
    rank_folder.begin(dataclasses.asdict(config), out, say)
    found: dict[str, Measured] = {}
    folders = {model: out / f"candidate-{number}" for number, model in enumerate(config.models, 1)}
    for number, (model, path) in enumerate(paths.items(), 1):
        say(f"candidate {number} of {len(paths)}: {model}")
        found[model] = measure(path, config, rank_folder.claim(folders[model], path), say)
    gains, sign = _gains(found)
    drawn = draw(gains, seed=config.seed) if gains else None
    signals = _signals(found, sign, config, gains, folders)
    combined = combine(signals, drawn)
    short = None
    if gains and drawn is not None:
        steps = {label: one.steps for label, one in found.items()}
        tells = any(one.name == SHORT and one.tells for one in signals)
        short = shorten(next(iter(found.values())).score, gains, sign, steps, drawn, tells=tells)
    agreed: dict[str, Agreement] = {}
    remarks = _remarks(found, compared=full is not None and short is not None)
    own: dict[str, str] = {}
    if full is not None:
        own = _named(full, config.models)
        agreed = agreements(full, _own(short, sign, combined.mean_rank, own))
        if len(own) < 2:
            remarks.append(
                "Fewer than two candidates are bases of the experiment: its agreement is of what it measured itself."
            )
    result = RankResult(
        task=config.task,
        candidates={
            label: {"tokenizer_sha256": one.tokenizer, "folder": folders[label].name, "base": own.get(label)}
            for label, one in found.items()
        },
        signals=tuple(signals), short=short, combined=combined, agreement=agreed,
        experiment=str(experiment) if experiment is not None else None,
        experience=experience(agreed["combined"]) if "combined" in agreed else "", remarks=tuple(remarks),
        settings=dataclasses.asdict(config), provenance=_provenance(began),
    )  # fmt: skip
    write(result, out / NAME)
    return result


def _gains(found: Mapping[str, Measured]) -> tuple[dict[str, Floats], int]:
    """Candidate -> (Q,) values by question, greater is better, over the questions that all have; and the sign of what is better."""
    tables = {label: one.table for label, one in found.items()}
    if any(table is None for table in tables.values()):
        return {}, 1
    known = {label: table for label, table in tables.items() if table is not None}
    names = shared(list(known.values()))
    sign = -1 if next(iter(found.values())).score in LOWER_IS_BETTER else 1
    picked = {label: sign * table.of(names) for label, table in known.items()}
    return (picked, sign) if names else ({}, 1)


def _signals(
    found: Mapping[str, Measured],
    sign: int,
    config: RankConfig,
    gains: Mapping[str, Floats] | None = None,
    folders: Mapping[str, Path] | None = None,
) -> list[Signal]:
    """Every signal; of losses and gaps only where tokenizers and validation text are the same.

    Args:
        gains, folders: what ties are made by: answers after the short fine-tuning, and what was measured of each candidate. Without
            them any difference counts.
    """
    tokenizers = {one.tokenizer for one in found.values() if one.tokenizer}
    texts = {str(one.validation) for one in found.values() if one.validation is not None}
    made = []
    for name in SIGNALS:
        doubt = ""
        if name in {"gap", "loss"} and len(tokenizers) > 1:
            doubt = "the candidates have different tokenizers: nats a token of different tokens are not comparable"
        elif name in {"gap", "loss"} and len(texts) > 1:
            doubt = "the candidates' runs have different data or windows: their losses are not of the same text"
        values = {label: one.values.get(name) for label, one in found.items()}
        why = {label: one.why[name] for label, one in found.items() if name in one.why}
        if any(value is not None for value in values.values()) or name != SHORT or config.budget:
            apart = _apart(name, gains, folders)
            made.append(signal(name, values, why=why, doubt=doubt, sign=sign if name == SHORT else 0, apart=apart))
    return made


def _apart(name: str, gains: Mapping[str, Floats] | None, folders: Mapping[str, Path] | None) -> rank_ties.Apart | None:
    if name == SHORT and gains is not None:
        return rank_ties.answers(gains) if gains else lambda *_: False  # no question that all answered
    return rank_ties.measured(name, folders) if folders else None


def _remarks(found: Mapping[str, Measured], *, compared: bool) -> list[str]:
    """What to know of the numbers; `compared`: the short fine-tuning's with an experiment's."""
    made = [SAME_QUESTIONS] if compared else []
    if len({one.tokenizer for one in found.values() if one.tokenizer}) > 1:
        made.append(
            "The candidates have different tokenizers: losses and gaps are shown but not ranked by; limits on tokens cut texts "
            "and responses at different places."
        )
    return made


def measured_in_full(found: Found, task: str) -> Full:
    """What an experiment says of its bases on a task; each base by itself, its fine-tuning seeds apart, settings averaged.

    Raises:
        SpectraError: fewer than two of its bases are fine-tuned on the task.
    """
    runs = [run for run in found.runs if run.task == task and run.start == PRETRAINED]
    score = main_score(runs[0]) if runs else ""
    runs = [run for run in runs if score in run.tested.tables]
    names = shared([run.tested.tables[score] for run in runs])
    sign = -1 if score in LOWER_IS_BETTER else 1
    grouped: dict[str, dict[int, list[Run]]] = {}
    for run in runs:
        grouped.setdefault(run.base.label, {}).setdefault(run.seed, []).append(run)
    scores = {
        label: {
            task: {
                s: sign * np.mean([r.tested.tables[score].of(names) for r in some], axis=0) for s, some in seeds.items()
            }
        }
        for label, seeds in grouped.items()
    }
    if len(scores) < 2 or not names:
        known = ", ".join(dict.fromkeys(run.task for run in found.runs)) or "none"
        raise SpectraError(
            f"{found.out} has {len(scores)} bases fine-tuned on {task} and scored (tasks there: {known}); two make a ranking."
        )
    numbers = experiment_bases.measures(experiment_bases.entries(found))
    probe = experiment_bases.probe_of({label: numbers[label] for label in scores})
    return Full(
        signals={label: _cheap(numbers[label], probe) for label in scores}, scores=scores,
        checkpoints={base.label: _checkpoint(found, base) for base in found.bases},
    )  # fmt: skip


def _cheap(numbers: Mapping[str, float | None], probe: str) -> dict[str, float | None]:
    """An experiment's names of signals -> ours; `probe`: the one that all bases are ranked by."""
    return {name: numbers.get(probe if theirs == "probe" else theirs) for name, theirs in _IN_EXPERIMENT.items()}


def _checkpoint(found: Found, base: Base) -> str:
    path = str(base.result["checkpoint"])
    return path if "recipe" not in base.axes else str(found.out / path)


def _named(full: Full, models: Sequence[str]) -> dict[str, str]:
    """Candidate -> base of the experiment that it is, by name or by checkpoint."""
    paths = {str(Path(path).expanduser().resolve()): label for label, path in full.checkpoints.items()}
    made = {}
    for model in models:
        label = model if model in full.scores else paths.get(str(Path(model).expanduser().resolve()))
        if label is not None and label in full.scores:
            made[model] = label
    return made


def _own(
    short: Short | None, sign: int, mean_rank: Mapping[str, float], own: Mapping[str, str]
) -> dict[str, dict[str, float | None]]:
    """Signals that only this ranking has, of the candidates that are bases of the experiment; greater is better."""
    made: dict[str, dict[str, float | None]] = {"combined": {label: -mean_rank[model] for model, label in own.items()}}
    if short is not None:
        made[SHORT] = {label: sign * short.values[model] for model, label in own.items()}
    return made if len(own) > 1 else {}


def agreements(
    full: Full, more: Mapping[str, Mapping[str, float | None]] | None = None, *, draws: int = DRAWS
) -> dict[str, Agreement]:
    """Signal -> how well its ranking of the experiment's bases agreed with their scores in full.

    Args:
        more: signals measured elsewhere: name -> base -> number, greater is better.
    """
    cheap: dict[str, dict[str, float | None]] = {}
    for name in _IN_EXPERIMENT:
        sign = SIGNALS[name][1]
        known = {label: numbers[name] for label, numbers in full.signals.items()}
        if any(value is not None for value in known.values()):
            cheap[name] = {label: None if value is None else sign * value for label, value in known.items()}
    cheap |= {name: dict(values) for name, values in (more or {}).items()}
    return {name: stats.agreement(values, full.scores, draws=draws) for name, values in cheap.items()}


def _provenance(began: float) -> dict[str, Any]:
    from spectra import provenance

    return {**provenance.software(), "seconds": round(time.perf_counter() - began, 3), "finished_at": provenance.now()}
