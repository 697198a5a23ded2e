"""What was measured on each base: losses, probes, gap, spectra; as entries of `summary.json` and as numbers for statistics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plasticity.experiment_data import Base, Found
from plasticity.stats_result import listed
from spectra.errors import SpectraError

Entry = dict[str, Any]
_PROBES = "probe mean"
_SPECTRA = ("pseudo_rank_qk", "pseudo_rank_vp", "alpha_mean", "alpha_sd")


def entries(found: Found) -> list[Entry]:
    """One a base that is there; what cannot be read is None, and said in `found.warnings`."""
    return [_entry(found, base) for base in found.bases]


def measures(made: list[Entry]) -> dict[str, dict[str, float | None]]:
    """Label -> quantity -> number.

    `probe mean` (the paper averages two tasks): over the probe tasks that all probed bases have, where there are several. The
    mean of a base over fewer tasks than others' would differ for that alone; `probes_left_out` names what is not in it.
    """
    numbers: dict[str, dict[str, float | None]] = {}
    averaged = _probed(made)[0]
    for entry in made:
        probes = {f"probe:{task}": one["test_accuracy"]["mean"] for task, one in entry["probes"].items()}
        if len(averaged) > 1 and probes:
            probes[_PROBES] = sum(probes[f"probe:{task}"] for task in averaged) / len(averaged)
        final = entry["spectra"]["final"] if entry["spectra"] else {}
        numbers[entry["label"]] = {
            "eval_loss": entry["eval_loss"], **probes, "gap": entry["gap"]["gap"] if entry["gap"] else None,
            **{name: final.get(name) for name in ("pseudo_rank_qk", "pseudo_rank_vp", "alpha_sd")},
        }  # fmt: skip
    return numbers


def _probed(made: list[Entry]) -> tuple[list[str], list[str]]:
    """Probe tasks that all bases with any probe have, and the others."""
    known = [entry["probes"] for entry in made if entry["probes"]]
    tasks = list(dict.fromkeys(task for probes in known for task in probes))
    shared = [task for task in tasks if all(task in probes for probes in known)]
    return shared, [task for task in tasks if task not in shared]


def probes_left_out(made: list[Entry]) -> list[str]:
    """A sentence on what the mean over probe tasks leaves out."""
    shared, rest = _probed(made)
    if not rest:
        return []
    lacking = [
        entry["label"] for entry in made if entry["probes"] and any(task not in entry["probes"] for task in rest)
    ]
    over = (
        f"the mean over probe tasks is over {listed(shared)}"
        if len(shared) > 1
        else "there is no mean over probe tasks"
    )
    return [f"Probes of {listed(rest)} are not there for all probed bases (not for {listed(lacking)}): {over}."]


def probe_of(numbers: Mapping[str, Mapping[str, float | None]]) -> str:
    """The one quantity that stands for probes, the same for all bases: their mean, else the task that most bases have."""
    known = [
        name for of in numbers.values() for name, value in of.items() if name.startswith("probe") and value is not None
    ]
    return (
        max(dict.fromkeys([_PROBES, *known]), key=lambda name: (known.count(name), name == _PROBES))
        if known
        else "probe"
    )


def tokenizers(found: Found, made: list[Entry]) -> dict[str, set[str]]:
    """Family -> tokenizers of its bases, as far as they are known."""
    known = {entry["label"]: entry["tokenizer_sha256"] for entry in made}
    families: dict[str, set[str]] = {}
    for base in found.bases:
        for label in base.place.families:
            families.setdefault(label, set()).update({known[base.label]} - {None})
    return families


def _entry(found: Found, base: Base) -> Entry:
    result = base.result
    probes, tokenizer = _probes(found, base)
    known = [tokenizer, (result.get("identity") or {}).get("tokenizer_sha256")]
    known += [tested.tokenizer for tested in base.before.values()]
    known += [run.tested.tokenizer for run in found.runs if run.base.label == base.label]
    parameters = result.get("parameters") or (result.get("identity") or {}).get("parameters")
    gap = found.measured.get("gap", {}).get(base.label)
    return {
        "label": base.label, "group": base.place.group, "families": list(base.place.families), "name": base.place.name,
        "axes": dict(base.axes), "x": base.place.x, "seed": base.seed, "parameters": parameters,
        "tokenizer_sha256": next((one for one in known if one), None), "eval_loss": result.get("eval_loss"),
        "before": {task: tested.scores for task, tested in base.before.items()}, "probes": probes,
        "gap": None if gap is None else {key: gap[key] for key in ("gap", "ci95", "train_loss", "val_loss")},
        "spectra": _spectra(found, base),
    }  # fmt: skip


def _probes(found: Found, base: Base) -> tuple[Entry, str | None]:
    """Entries by task, and the tokenizer that they name."""
    from plasticity.probe_result import read_result

    made: Entry = {}
    tokenizer = None
    for task, path in (found.measured.get("probe", {}).get(base.label) or {"results": {}})["results"].items():
        try:
            result = read_result(found.out / path)
        except SpectraError as error:
            found.warnings.append(f"{base.label}: the probes of {task} cannot be read ({error})")
            continue
        tokenizer = result.checkpoint.get("tokenizer_sha256") or tokenizer
        one = result.tasks[0]
        best = one.best_layer
        made[task] = {
            "best_layer": best.layer,
            "test_accuracy": {"mean": best.test_accuracy, "sd": best.test_accuracy_sd, "ci95": best.test_accuracy_ci95},
            "majority": one.majority,
            "layers": [
                {"layer": layer.layer, "train_accuracy": layer.train_accuracy, "test_accuracy": layer.test_accuracy}
                for layer in one.layers
            ],
        }
        wrong = [str(layer.layer) for layer in one.layers if layer.status != "ok"]
        if wrong:
            found.warnings.append(f"{base.label}: probes of {task} did not converge at layers {', '.join(wrong)}.")
    return made, tokenizer


def _spectra(found: Found, base: Base) -> Entry | None:
    result = found.measured.get("spectra", {}).get(base.label)
    if result is None:
        return None
    final = {name: result["final"].get(name) for name in _SPECTRA}
    made: Entry = {"final": final, "track": result["track"], "steps": result["steps"], "pseudo_rank": {}, "norms": {}}
    return made | (_over_training(found, base, found.out / result["track"]) if result["track"] else {})


def _over_training(found: Found, base: Base, path: Path) -> Entry:
    from spectra.tracking import read_track

    try:
        track = read_track(path)
    except (SpectraError, KeyError, TypeError, AttributeError) as error:
        found.warnings.append(f"{base.label}: what its spectra did over training cannot be read ({error})")
        return {"track": None}
    layers: Mapping[str, str] = {
        place.module: f"{place.stack} {place.layer}".strip()
        for place in track.places.values()
        if place.layer is not None
    }
    return {
        "steps": list(track.steps),
        "pseudo_rank": {
            kind: {layers.get(module, module): list(series[kind]) for module, series in track.circuits.items()}
            for kind in ("qk", "vp")
        },
        "norms": {group: list(series) for group, series in track.norms.items()},
    }
