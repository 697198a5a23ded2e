"""What probing ends with: one JSON. Names in it are part of the interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plasticity.result_file import ResultFile

NAME = "probe.json"
FILE = ResultFile(
    name=NAME, format="plasticity.probe", version=1, command="plasticity probe",
    remake="Probe again: embeddings that are in the cache are not extracted again",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SeedFit:
    """The probe of one seed at one layer; accuracies in [0, 1]; `status` and counts as in `probe_fit.Fit`."""

    seed: int
    c: float
    train_accuracy: float
    validation_accuracy: float
    test_accuracy: float
    status: str
    iterations: int
    not_converged: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The probes of one layer.

    Attributes:
        layer: 0 is the embedding layer, L the last block's output.
        train_accuracy, validation_accuracy, test_accuracy: means over seeds.
        train_accuracy_sd, validation_accuracy_sd, test_accuracy_sd: standard deviations over seeds (n - 1); None with one seed.
        test_accuracy_ci95: percentile bootstrap over test texts of the share of seeds that are right.
        c: the chosen strength, a seed.
        status: `ok`, or `not_converged` where a chosen probe did not converge.
    """

    layer: int
    train_accuracy: float
    train_accuracy_sd: float | None
    validation_accuracy: float
    validation_accuracy_sd: float | None
    test_accuracy: float
    test_accuracy_sd: float | None
    test_accuracy_ci95: tuple[float, float]
    c: tuple[float, ...]
    status: str
    seeds: tuple[SeedFit, ...]


@dataclass(frozen=True, kw_only=True)
class BestLayer:
    """The layer of the highest mean validation accuracy (of equal ones the lowest), and its test accuracy."""

    layer: int
    validation_accuracy: float
    test_accuracy: float
    test_accuracy_sd: float | None
    test_accuracy_ci95: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class TaskProbe:
    """All layers on one task.

    Attributes:
        classes: names of the classes.
        majority: test accuracy of always naming the most frequent training class, which is `majority_class`.
        n_train, n_validation, n_test: texts; the first two a seed.
        counts: `tokens` (training and test texts together), `truncated` (texts cut to the window), `not_converged` (probes),
            `probes`, `c_at_edge` (chosen C at an end of the grid).
        data: where the texts came from and what became of them.
    """

    task: str
    task_version: int
    classes: tuple[str, ...]
    majority: float
    majority_class: str
    n_train: int
    n_validation: int
    n_test: int
    best_layer: BestLayer
    layers: tuple[Layer, ...]
    counts: Mapping[str, int]
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """Probes of a checkpoint on one or more tasks, and all that is needed to trust and repeat them.

    Attributes:
        checkpoint: as in a task result (`plasticity.identity`).
        seeds: of every task.
        profiles: over all tasks. `default`: mean of the test accuracies of each task's best layer. `paper`, with two tasks or more:
            the highest mean over tasks of test accuracy of one layer, and that `layer` (figure 25). It is chosen on the
            test texts, and so a little high.
        settings: what was fitted and how embeddings were taken.
        provenance: versions, device, precision, texts that were read from the cache, seconds, time.
    """

    checkpoint: Mapping[str, Any]
    seeds: tuple[int, ...]
    tasks: tuple[TaskProbe, ...]
    profiles: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_result(result: ProbeResult, path: Path) -> None:
    """Write it whole, or not at all; raises `SpectraError` where it cannot be written."""
    FILE.write(result, path)


def read_result(path: Path) -> ProbeResult:
    """The result in a file, or in the folder of `plasticity probe`.

    Raises:
        SpectraError: not there, not a result, of another schema version, or damaged.
    """
    made = FILE.read(path)
    with FILE.shaped(path):
        made["tasks"] = tuple(_task(task) for task in made["tasks"])
        made["seeds"] = tuple(made["seeds"])
        return ProbeResult(**made)


def _task(made: dict[str, Any]) -> TaskProbe:
    best = {**made["best_layer"], "test_accuracy_ci95": tuple(made["best_layer"]["test_accuracy_ci95"])}
    layers = tuple(
        Layer(
            **{
                **layer,
                "test_accuracy_ci95": tuple(layer["test_accuracy_ci95"]),
                "c": tuple(layer["c"]),
                "seeds": tuple(SeedFit(**seed) for seed in layer["seeds"]),
            }
        )
        for layer in made["layers"]
    )
    return TaskProbe(**{**made, "best_layer": BestLayer(**best), "layers": layers, "classes": tuple(made["classes"])})
