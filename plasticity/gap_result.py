"""What `plasticity gap` ends with: one JSON a checkpoint. Names in it are part of the interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plasticity.result_file import ResultFile

NAME, LOSSES = "gap.json", "losses.npz"
FILE = ResultFile(
    name=NAME, format="plasticity.gap", version=1, command="plasticity gap", remake="Measure the gap again"
)
Interval = tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of the gap: mean loss in nats a predicted token, over so many windows, tokens and documents of those there are."""

    loss: float
    windows: int
    windows_available: int
    tokens: int
    documents: int


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Training windows last seen in the optimizer steps `first_step` to `last_step` (counted from 1); gap = val - train loss.

    `train_loss` and `gap` are None where no window was drawn, `se` and `ci95` with too few documents.
    """

    first_step: int
    last_step: int
    windows: int
    tokens: int
    documents: int
    train_loss: float | None
    gap: float | None
    se: float | None
    ci95: Interval


@dataclass(frozen=True, kw_only=True)
class Recency:
    """Mean loss of the windows last seen in the older half of the training minus that of the newer half, nats a token."""

    difference: float
    se: float | None
    ci95: Interval


@dataclass(frozen=True, kw_only=True)
class GapResult:
    """Equation 3 on one checkpoint, and all that is needed to trust and repeat it.

    Attributes:
        checkpoint: as `plasticity.identity.identity` has it: `source`, `weights_sha256`, `tokenizer_sha256`, `parameters`, ...
        source: `run` (its recorded windows) or `files`.
        step: optimizer steps behind the checkpoint; None of files.
        train_loss, val_loss: mean losses of the checkpoint, nats a predicted token.
        gap: val_loss - train_loss.
        se: its standard error over documents; ci95: its 95% interval; None where a side has under 8 documents, or one or two
            of them most of the tokens.
        n_documents: documents of both sides together.
        resampled: what the interval is over; draws: how often.
        se_windows: the standard error if windows were the independent units: a check; None with under 8 windows on a side.
        train, val: either side.
        bins: by the time training windows were last seen, oldest first; none of files.
        recency: whether the newer half is fitted better; None of files.
        seen: `steps`, `epochs`, `windows` (distinct), `times` (how often -> how many windows); None of files.
        data: window, packing, documents on both sides (`shared_documents`), hashes of what was read.
        against: this gap minus another checkpoint's on the windows of both, where that was asked for: `folder` and what
            `plasticity.gap_paired.PairedGap` has.
        settings: what was asked.
        remarks: what a reader must know, in sentences.
        files: what else lies beside the result.
        provenance: versions, commit, device, precision, threads, seconds, time.
    """

    checkpoint: Mapping[str, Any]
    source: str
    step: int | None
    train_loss: float
    val_loss: float
    gap: float
    se: float | None
    ci95: Interval
    n_documents: int
    resampled: str
    draws: int
    se_windows: float | None
    train: Side
    val: Side
    bins: tuple[Bin, ...] = ()
    recency: Recency | None = None
    seen: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    against: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_gap(result: GapResult, path: Path) -> None:
    """Write it whole, or not at all; raises `SpectraError` where it cannot be written."""
    FILE.write(result, path)


def read_gap(path: Path) -> GapResult:
    """The result in a file, or in its folder.

    Raises:
        SpectraError: not there, not a result, of another schema version, or damaged.
    """
    made = FILE.read(path)
    with FILE.shaped(path):
        made["train"], made["val"] = Side(**made["train"]), Side(**made["val"])
        made["bins"] = tuple(Bin(**_with_interval(one)) for one in made["bins"])
        made["recency"] = None if made["recency"] is None else Recency(**_with_interval(made["recency"]))
        made["remarks"], made["files"] = tuple(made["remarks"]), tuple(made["files"])
        return GapResult(**_with_interval(made))


def _with_interval(made: Mapping[str, Any]) -> dict[str, Any]:
    return {**made, "ci95": None if made["ci95"] is None else tuple(made["ci95"])}
