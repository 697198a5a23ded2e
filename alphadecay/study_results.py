"""What came out of a study, as plain data, from its cells alone: `results.json`. `study_report` puts it into words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from spectra.errors import SpectraError

from . import fields, study_plan, study_stats
from .study import Study

SCHEMA_VERSION = 1
LEVEL = 0.95
_STATUS = "not run"
Record = Mapping[str, Any]


def results(study: Study, records: Sequence[Record]) -> dict[str, Any]:
    """Tuning, results over seeds, comparisons and alphas of every part that has been begun.

    Raises:
        SpectraError: no cell of this study has ended well.
    """
    held = {record["key"]: record for record in records}
    losses = {key: float(record["eval"]["loss"]) for key, record in held.items() if record["status"] == "done"}
    parts = {}
    used: list[Record] = []
    for part in study.parts:
        made, seen = _part(study, part, held, losses)
        if seen:
            parts[part] = made
            used += seen
    if not used:
        raise SpectraError("No run of this study has ended well yet, so there is nothing to report. Run it first.")
    return {
        "schema_version": SCHEMA_VERSION,
        "level": LEVEL,
        "study": fields.plain(study),
        "parts": parts,
        "not_begun": [part for part in study.parts if part not in parts],
        "provenance": _provenance(used),
    }


def _part(
    study: Study, part: str, held: Mapping[str, Record], losses: Mapping[str, float]
) -> tuple[dict[str, Any], list[Record]]:
    """One part's results, and the records that they come from."""
    tuning = {arm: _tuning(study, part, arm, held, losses) for arm in study.arms}
    cells = [c for arm in study.arms for c in study_plan.tuning(study, part, arm)]
    fresh: dict[str, dict[int, Record]] = {}
    for arm in study.arms:
        base = tuning[arm]["chosen"]
        planned = [study_plan.cell(study, part, arm, base, seed) for seed in study.seeds] if base is not None else []
        cells += planned
        fresh[arm] = {c.seed: held[c.key] for c in planned if c.key in losses}
    used = [held[c.key] for c in cells if c.key in losses]
    seeds = {arm: {seed: float(record["eval"]["loss"]) for seed, record in of.items()} for arm, of in fresh.items()}
    made = {
        "setup": _setup(used[0]) if used else {},
        "planned": sum(len(bases) for bases in study.parts[part].bases.values()) + len(study.arms) * len(study.seeds),
        "done": len(used),
        "failed": [
            {"arm": c.arm, "base": c.base, "seed": c.seed, "reason": held[c.key]["reason"]}
            for c in cells
            if c.key in held and held[c.key]["status"] == "failed"
        ],
        "tuning": tuning,
        "arms": {arm: _arm(tuning[arm]["chosen"], list(of.values())) for arm, of in fresh.items() if of},
        "comparisons": {
            "reference": _family([(arm, study.reference) for arm in study.arms if arm != study.reference], seeds),
            "focus": _family([(study.focus, arm) for arm in study.arms if arm != study.focus], seeds),
        },
        "complete_seeds": [seed for seed in study.seeds if all(seed in of for of in seeds.values())],
    }
    return made, used


def _setup(record: Record) -> dict[str, Any]:
    """What is the same in every run of a part."""
    recipe, measured = record["recipe"], record["eval"]
    kept = ("optimizer", "lr", "beta1", "beta2", "schedule", "warmup", "floor", "clip", "batch_size", "precision")
    return {
        "family": recipe["model"]["family"],
        "parameters": record["parameters"],
        "source": recipe["data"]["source"],
        "window": recipe["data"]["window"],
        "vocabulary": recipe["data"]["vocab_size"],
        "steps": record["steps"],
        "tokens": record["tokens"],
        "evaluated_tokens": int(measured["tokens"]),
        "ratio": recipe["decay"]["ratio"],
        "gap": recipe["decay"]["gap"],
        "awd_factor": recipe["decay"]["factor"],
        **{name: recipe["train"][name] for name in kept},
    }


def _tuning(
    study: Study, part: str, arm: str, held: Mapping[str, Record], losses: Mapping[str, float]
) -> dict[str, Any]:
    """Loss of every base on the tuning seed, which was chosen, and whether it stands at the edge of its grid."""
    cells = study_plan.tuning(study, part, arm)
    rows = []
    for c in cells:
        record = held.get(c.key)
        status = record["status"] if record is not None else _STATUS
        done = c.key in losses
        perplexity = float(held[c.key]["eval"]["perplexity"]) if done else None
        rows.append({"base": c.base, "status": status, "loss": losses.get(c.key), "perplexity": perplexity})
    best = study_plan.chosen(study, part, arm, losses)
    edge = None
    if best is not None and len(cells) > 1:
        edge = {cells[0].base: "lower", cells[-1].base: "upper"}.get(best)
    complete = all(row["status"] != _STATUS for row in rows)
    return {"bases": rows, "chosen": best if complete else None, "edge": edge if complete else None}


def _arm(base: float, records: Sequence[Record]) -> dict[str, Any]:
    """An arm over its seeds."""
    return {
        "base": base,
        "seeds": [
            {
                "seed": record["seed"],
                "loss": record["eval"]["loss"],
                "perplexity": record["eval"]["perplexity"],
                "train_loss": record["train_loss"],
                "seconds": record["seconds"],
            }
            for record in records
        ],
        "loss": asdict(study_stats.summary([float(r["eval"]["loss"]) for r in records], LEVEL)),
        "perplexity": asdict(study_stats.summary([float(r["eval"]["perplexity"]) for r in records], LEVEL)),
        "decay": {
            "least": min(r["decay"]["least"] for r in records),
            "greatest": max(r["decay"]["greatest"] for r in records),
            "last_mean": statistics.fmean(r["decay"]["last"]["mean"] for r in records),
        },
        "alphas": {kind: _alphas([r["alphas"][kind] for r in records]) for kind in records[0]["alphas"]},
    }


def _alphas(found: Sequence[Record]) -> dict[str, Any]:
    """Means over runs of what each run's modules show; least and greatest over all modules of all runs."""
    roles = list(dict.fromkeys(role for one in found for role in one["roles"]))
    return {
        "modules": max(one["n"] for one in found),
        "without": max(one["without"] for one in found),
        **{name: _mean([one[name] for one in found]) for name in ("mean", "sd")},
        "min": min((one["min"] for one in found if one["min"] is not None), default=None),
        "max": max((one["max"] for one in found if one["max"] is not None), default=None),
        "roles": {role: _mean([one["roles"].get(role) for one in found]) for role in roles},
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _family(pairs: Sequence[tuple[str, str]], losses: Mapping[str, Mapping[int, float]]) -> list[dict[str, Any]]:
    """Paired comparisons of validation loss (log perplexity), Holm over those of the family that have a test."""
    rows = []
    for arm, against in pairs:
        seeds = [seed for seed in losses[arm] if seed in losses[against]]
        row: dict[str, Any] = {"arm": arm, "against": against, "seeds": seeds}
        if seeds:
            row |= asdict(
                study_stats.paired([losses[arm][s] for s in seeds], [losses[against][s] for s in seeds], LEVEL)
            )
        else:
            row |= {"status": "no_pairs", "p": None, "difference": None}
        rows.append(row)
    for row, adjusted in zip(rows, study_stats.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
        row["verdict"] = _verdict(row)
        row["perplexity_change"] = _change(row["difference"])
    return rows


def _verdict(row: Record) -> str | None:
    """`lower`, `higher` or `undecided` perplexity of the first arm, by the adjusted p-value; None without a test."""
    if row["p_holm"] is None:
        return None
    if row["p_holm"] >= 1 - LEVEL:
        return "undecided"
    return "lower" if row["difference"]["mean"] < 0 else "higher"


def _change(difference: Record | None) -> dict[str, float | None] | None:
    """exp(difference of losses) - 1: by what share the perplexity of the first arm is higher (geometric mean over pairs)."""
    if difference is None:
        return None
    return {k: None if difference[k] is None else math.expm1(difference[k]) for k in ("mean", "low", "high")}


def _provenance(records: Sequence[Record]) -> dict[str, Any]:
    """Where and with what the runs were made; more than one entry in a list: they were not all made alike."""

    def all_of(name: str) -> list[Any]:
        return sorted({str(record["provenance"].get(name)) for record in records})

    first = records[0]["provenance"]
    return {
        "runs": len(records),
        "run_hours": round(sum(record["seconds"] for record in records) / 3600, 2),
        "began": min(record["provenance"]["created"] for record in records),
        "ended": max(record["provenance"]["created"] for record in records),
        "threads": first["threads"],
        "cpu_count": first["cpu_count"],
        "libraries": {**first["libraries"], "transformers": first["transformers"], "python": first["python"]},
        **{name: all_of(name) for name in ("commit", "sources", "platform", "device", "data")},
    }
