"""How much a checkpoint's representations say, linearly: probes on the embedding of the last token, at every layer.

Texts (`probe_data`) -> token ids (`probe_encode`) -> embeddings (`probe_embed`, cached) -> a probe a layer and seed (`probe_fit`)
-> one JSON (`probe_result`).
"""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plasticity import probe_tasks
from plasticity.pace import Pace
from plasticity.probe_config import ProbeConfig
from plasticity.probe_data import ProbeData, load
from plasticity.probe_embed import Embedded, address, embed, window_of
from plasticity.probe_encode import Encoded, encode, specials
from plasticity.probe_fit import OK, Fit, Labelled, fit
from plasticity.probe_result import NAME, BestLayer, Layer, ProbeResult, SeedFit, TaskProbe, read_result, write_result
from plasticity.probe_split import Split, held_texts, split
from plasticity.probe_store import Store
from plasticity.scores import mean_score
from spectra.errors import SpectraError

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One task: its texts, each seed's split of them, and which are tested on; only texts in use are encoded."""

    data: ProbeData
    splits: tuple[Split, ...]
    tested: NDArray[np.intp]
    train: Mapping[int, Encoded]
    test: tuple[Encoded, ...]

    @property
    def texts(self) -> list[Encoded]:
        return [*self.train.values(), *self.test]


def probe(config: ProbeConfig, out: Path | None = None, *, message: Say | None = None) -> ProbeResult:
    """Probe, and write `probe.json` into the folder `out` (None: `default_out(config)`).

    Interrupted, the same call goes on: what was extracted is in the cache.

    Args:
        message: is told of progress.

    Raises:
        SpectraError: model, tasks and data do not go together; the folder holds a result already.
    """
    began = time.perf_counter()
    say = message or (lambda _: None)
    folder = (out if out is not None else default_out(config)).expanduser()
    if (folder / NAME).exists():
        raise SpectraError(f"{folder} already holds a {NAME}. Name another folder with --out, or delete it.")
    loaded = [load(task, path, *columns) for task, path, columns in _chosen(config)]
    from plasticity.base_model import load_tokenizer
    from plasticity.devices import chosen
    from plasticity.identity import identity
    from plasticity.task_result import make_folder

    device, dtype = chosen(config.device, config.precision)
    base = load_tokenizer(config.model)
    window = window_of(config.model, config, base.window)
    jobs = [_job(data, config, base.tokenizer, window) for data in loaded]
    known = identity(base)
    where = address(config, known, device, str(dtype))
    found = embed([text for job in jobs for text in job.texts], config, where, device, dtype, say)
    make_folder(folder)
    fitted = time.perf_counter()
    tasks = tuple(_task(job, found.store, config, say) for job in jobs)
    known |= {
        "parameters": found.about.get("parameters"), "served": False, "verified": True,
        "random_weights": config.init_seed if config.from_scratch else None,
    }  # fmt: skip
    if config.from_scratch:
        known |= {"weights_sha256": None, "trained": None}  # of weights that were not used
    result = ProbeResult(
        checkpoint=known, seeds=config.seeds, tasks=tasks, profiles=_profiles(tasks),
        settings=_settings(config, found, base.tokenizer, window),
        provenance=_provenance(config, found, device, str(dtype), {
            "seconds_extracting": round(found.seconds, 3), "seconds_fitting": round(time.perf_counter() - fitted, 3),
            "seconds": round(time.perf_counter() - began, 3),
        }),
    )  # fmt: skip
    write_result(result, folder / NAME)
    return read_result(folder)  # what is shown is what is in the file


def default_out(config: ProbeConfig) -> Path:
    """`probes/<model>/<tasks>`; random weights apart."""
    path = Path(config.model)
    local = [part for part in path.parts[-2:] if part not in {"/", "..", "."}]
    model = "-".join(local) if path.exists() else config.model
    names = "-".join(task.name for task, *_ in _chosen(config)) + ("-random" if config.from_scratch else "")
    return Path("probes") / re.sub(r"[^\w.-]+", "-", model).strip("-.") / re.sub(r"[^\w.-]+", "-", names)


def _chosen(config: ProbeConfig) -> list[tuple[probe_tasks.ProbeTask, Path | None, tuple[str | None, str | None]]]:
    """Tasks, where their files are, and the columns of these."""
    data = Path(config.data).expanduser() if config.data is not None else None
    columns = (config.text_field, config.label_field)
    if data is not None and not config.tasks:
        return [(probe_tasks.own(data.name.partition(".")[0] or "data"), data, columns)]
    tasks = [probe_tasks.get(name) for name in config.tasks or probe_tasks.DEFAULT]
    if data is None or len(tasks) == 1:
        return [(task, data, columns) for task in tasks]
    absent = [task.name for task in tasks if not (data / task.name).is_dir()]
    if absent:
        raise SpectraError(
            f"--data {data} goes with {len(tasks)} tasks, and has no folder {absent[0]}. Expected one a task, named after it: "
            f"{', '.join(f'{task.name}/' for task in tasks)}."
        )
    return [(task, data / task.name, columns) for task in tasks]


def _job(data: ProbeData, config: ProbeConfig, tokenizer: Any, window: int | None) -> _Job:
    splits = tuple(
        split(data.train.labels, seed, limit=config.limit, validation=config.validation) for seed in config.seeds
    )
    held = held_texts(data.test.labels, config.limit)
    used = sorted({int(i) for part in splits for rows in (part.train, part.validation) for i in rows})
    train = encode([data.train.texts[i] for i in used], tokenizer, window)
    test = encode([data.test.texts[int(i)] for i in held], tokenizer, window)
    return _Job(data=data, splits=splits, tested=held, train=dict(zip(used, train, strict=True)), test=tuple(test))


def _task(job: _Job, store: Store, config: ProbeConfig, say: Say) -> TaskProbe:
    data = job.data
    labels, held = np.asarray(data.train.labels), np.asarray(data.test.labels)[job.tested]
    most = int(np.argmax(np.bincount(labels)))
    layers: list[Layer] = []
    pace = Pace()
    for layer in range(store.layers):
        test = Labelled(x=store.layer(layer, [text.key for text in job.test]), y=held)
        fits = []
        for part in job.splits:
            train, validation = (
                Labelled(x=store.layer(layer, [job.train[int(i)].key for i in rows]), y=labels[rows])
                for rows in (part.train, part.validation)
            )
            fits.append(fit(train, validation, test, config.c_grid, config.max_iter))
        layers.append(summary(layer, config.seeds, fits))
        if pace.due():
            left = pace.left(layer + 1, store.layers)
            say(f"{data.task.name}: layer {layer} of {store.layers - 1} probed, about {left:.0f} s left")
    return TaskProbe(
        task=data.task.name, task_version=data.task.version, classes=data.classes,
        majority=float(np.mean(held == most)), majority_class=data.classes[most],
        n_train=len(job.splits[0].train), n_validation=len(job.splits[0].validation), n_test=len(held),
        best_layer=best_layer(layers), layers=tuple(layers), counts=_counts(job, layers, config), data=data.about,
    )  # fmt: skip


def summary(layer: int, seeds: Sequence[int], fits: Sequence[Fit]) -> Layer:
    """The probes of one layer: means, spread over seeds, and the interval of the test accuracy over test texts."""
    values: dict[str, Any] = {}
    for name in ("train_accuracy", "validation_accuracy", "test_accuracy"):
        over = [getattr(one, name) for one in fits]
        values |= {name: float(np.mean(over)), f"{name}_sd": float(np.std(over, ddof=1)) if len(over) > 1 else None}
    interval = mean_score(np.mean([one.right for one in fits], axis=0).tolist()).ci95
    assert interval is not None
    return Layer(
        layer=layer, **values, test_accuracy_ci95=interval, c=tuple(one.c for one in fits),
        status=next((one.status for one in fits if one.status != OK), OK),
        seeds=tuple(
            SeedFit(seed=seed, **{f.name: getattr(one, f.name) for f in dataclasses.fields(SeedFit) if f.name != "seed"})
            for seed, one in zip(seeds, fits, strict=True)
        ),
    )  # fmt: skip


def best_layer(layers: Sequence[Layer]) -> BestLayer:
    """By mean validation accuracy; of equal ones the lowest."""
    best = max(layers, key=lambda layer: (layer.validation_accuracy, -layer.layer))
    return BestLayer(**{field.name: getattr(best, field.name) for field in dataclasses.fields(BestLayer)})


def _profiles(tasks: Sequence[TaskProbe]) -> dict[str, dict[str, Any]]:
    names = [task.task for task in tasks]
    made: dict[str, dict[str, Any]] = {
        "default": {"value": float(np.mean([task.best_layer.test_accuracy for task in tasks])), "tasks": names}
    }
    if len(tasks) > 1:
        means = np.mean([[layer.test_accuracy for layer in task.layers] for task in tasks], axis=0)
        made["paper"] = {
            "value": float(means.max()),
            "layer": int(means.argmax()),
            "tasks": names,
            "by_layer": means.tolist(),
        }
    return made


def _counts(job: _Job, layers: Sequence[Layer], config: ProbeConfig) -> dict[str, int]:
    chosen = [c for layer in layers for c in layer.c]
    edges = {config.c_grid[0], config.c_grid[-1]}
    return {
        "texts": len(job.texts), "tokens": sum(len(text.ids) for text in job.texts),
        "truncated": sum(text.cut for text in job.texts), "probes": len(chosen) * len(config.c_grid),
        "not_converged": sum(one.not_converged for layer in layers for one in layer.seeds),
        "chosen": len(chosen), "c_at_edge": sum(c in edges for c in chosen),
    }  # fmt: skip


def _settings(config: ProbeConfig, found: Embedded, tokenizer: Any, window: int | None) -> dict[str, Any]:
    around = specials(tokenizer)
    return {
        "embedding": "last token of the text, at every hidden state of transformers: 0 is the embedding layer's output, l that of "
        "block l",
        "last_layer": {True: "after the final norm", False: "before the final norm", None: "not known"}[
            found.about.get("last_layer_is_final")
        ],
        "width": found.about.get("width"), "padding": "none" if found.about.get("equal_lengths") else "right",
        "special_tokens_before": list(around.before), "special_tokens_after": list(around.after),
        "window": window, "too_long": "the last tokens are kept, special tokens beside them",
        "standardised": "by mean and standard deviation of the training split",
        "regression": "scikit-learn LogisticRegression, lbfgs, L2, multinomial; not refitted on training and validation texts",
        "c_grid": list(config.c_grid), "max_iter": config.max_iter,
        "validation": config.validation, "limit": config.limit,
        "c_chosen_by": "validation accuracy; of equal ones the smallest",
        "layer_chosen_by": "mean validation accuracy over seeds; of equal ones the lowest",
        "interval": "95% percentile bootstrap over test texts of the mean over seeds",
        "embeddings": found.store.folder.name,
    }  # fmt: skip


def _provenance(
    config: ProbeConfig, found: Embedded, device: str, dtype: str, seconds: Mapping[str, float]
) -> dict[str, Any]:
    from spectra.provenance import now, software

    versions = software()
    for name in ("transformers", "tokenizers", "datasets", "peft", "sklearn"):
        if name in sys.modules:
            versions["libraries"][name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    return {
        **versions, "device": device, "dtype": dtype, "config": dataclasses.asdict(config), "extracted": found.extracted,
        "cached": found.cached, **seconds, "finished_at": now(),
    }  # fmt: skip
