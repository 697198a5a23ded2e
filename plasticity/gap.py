"""The train-val gap: mean token loss of a checkpoint on windows that were held out minus that on windows that it was trained on.

    gap(GapConfig(model="runs/a/checkpoint-250"))                      # the windows that the run recorded
    gap(GapConfig(model="org/base", train="a.jsonl", val="b.jsonl"))   # two files, packed alike

Equation 3 of the plasticity paper, section 4. What is resampled and why: docs/gap.md.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plasticity import gap_data, gap_losses, gap_paired, gap_stats
from plasticity.gap_config import GapConfig
from plasticity.gap_losses import Pieces
from plasticity.gap_result import LOSSES, NAME, Bin, GapResult, Recency, Side, read_gap, write_gap
from plasticity.task_result import make_folder
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.gap_data import Data

__all__ = ["GapConfig", "GapResult", "default_out", "gap", "summarise"]

Say = Callable[[str], None]
_WIDER = 1.25  # how much larger the error over windows may be than that over documents without a word
_FEW = 30


def gap(
    config: GapConfig,
    out: Path | None = None,
    *,
    against: Path | None = None,
    replace: bool = False,
    message: Say | None = None,
) -> GapResult:
    """Measure, and write `gap.json` and the losses it is made of into the folder `out` (None: `default_out`).

    Args:
        against: folder of another checkpoint's gap on the same corpus or files: the two are compared too, window by window.
        replace: an earlier gap in that folder is written over.

    Raises:
        SpectraError: no run around the checkpoint, its data gone or changed, files that cannot be used, a tokenizer that does
            not fit, a folder that holds a gap already or cannot be written, an `against` that is no gap, or
            one on other windows (the gap itself is written then).
    """
    from plasticity.base_model import load_base
    from plasticity.devices import chosen
    from plasticity.identity import identity

    began = time.perf_counter()
    say = message or (lambda _: None)
    if against is not None:
        read_gap(against)
    device, dtype = chosen(config.device, config.precision)
    with tempfile.TemporaryDirectory(prefix="plasticity-gap-") as scratch:
        found = gap_data.open_data(config, Path(scratch), say)
        folder = out if out is not None else default_out(config, str(found.checkpoint))
        if not replace and (folder / NAME).exists():
            raise SpectraError(f"{folder} already holds a {NAME}. Name another folder with --out, or delete it.")
        base = load_base(str(found.checkpoint))
        data = found.read(base)
        make_folder(folder)
        known = identity(base)
        base.model.to(device=device, dtype=dtype)
        sides = _measure(base.model, data, config, say)
        result = summarise(sides, data, config)
        provenance = _provenance(base.model, time.perf_counter() - began)
    gap_losses.save(folder / LOSSES, sides)
    result = dataclasses.replace(result, checkpoint=known, files=(LOSSES,), provenance=provenance)
    write_gap(result, folder / NAME)
    if against is not None:
        compared = {"folder": str(against), **dataclasses.asdict(gap_paired.paired(against, folder, seed=config.seed))}
        write_gap(dataclasses.replace(result, against=compared), folder / NAME)
    return read_gap(folder)  # what is shown is what is in the file


def default_out(config: GapConfig, checkpoint: str) -> Path:
    """`evaluations/<checkpoint>/gap`, with the seed where it is not the usual one, and the files' names where there are files."""
    path = Path(checkpoint)
    local = [part for part in path.parts[-2:] if part not in {"/", "..", "."}]
    model = "-".join(local) if path.exists() else checkpoint
    name = (
        "gap"
        if config.train is None or config.val is None
        else f"gap-{Path(config.train).stem}-{Path(config.val).stem}"
    )
    name += f"-seed{config.seed}" if config.seed else ""
    return Path("evaluations") / re.sub(r"[^\w.-]+", "-", model).strip("-.") / re.sub(r"[^\w.-]+", "-", name)


def _measure(model: Any, data: Data, config: GapConfig, say: Say) -> dict[str, Pieces]:
    """Losses of the windows drawn, by side."""
    drawn = data.draw(config.windows, config.seed)
    total = sum(len(indices) for indices in drawn.values())
    say(f"{len(drawn['train']):,} training and {len(drawn['val']):,} validation windows of {data.train.window} tokens")
    report, sides = gap_losses.reporter(say, total), {}
    for side, windows in (("train", data.train), ("val", data.val)):
        sides[side] = gap_losses.measure(model, windows, drawn[side], config.batch_size, report)
    sides["train"] = dataclasses.replace(sides["train"], last=data.last(sides["train"].window))
    return sides


def summarise(sides: dict[str, Pieces], data: Data, config: GapConfig) -> GapResult:
    """All statistics from the losses of the windows; `checkpoint`, `files` and `provenance` are left open."""
    train, val = (_by_document(sides[side]) for side in ("train", "val"))
    against = gap_stats.draws(val, (config.seed, 1))
    value = val.mean - train.mean
    found = gap_stats.difference(against, gap_stats.draws(train, (config.seed, 0)), value)
    available = {"train": data.n_train, "val": len(data.val)}
    made = {
        side: Side(
            loss=sums.mean, windows=len(np.unique(sides[side].window)), windows_available=available[side],
            tokens=int(sides[side].tokens.sum()), documents=len(sums.loss),
        )
        for side, sums in (("train", train), ("val", val))
    }  # fmt: skip
    result = GapResult(
        checkpoint={}, source=data.source, step=data.step, train_loss=train.mean, val_loss=val.mean, gap=value,
        se=found.se, ci95=found.ci95, n_documents=len(train.loss) + len(val.loss), resampled="documents",
        draws=gap_stats.DRAWS, se_windows=_over_windows(sides), train=made["train"], val=made["val"],
        bins=_bins(sides["train"], val, against, data, config), recency=_recency(sides["train"], data, config),
        seen=data.seen_facts(), data=data.facts, settings=dataclasses.asdict(config),
    )  # fmt: skip
    return dataclasses.replace(result, remarks=(*data.remarks, *_remarks(result)))


def _by_document(pieces: Pieces) -> gap_stats.Sums:
    return gap_stats.by_unit(pieces.document, pieces.loss, pieces.tokens)


def _over_windows(sides: dict[str, Pieces]) -> float | None:
    """Standard error of the gap if windows were independent; None with too few."""
    sums = [gap_stats.by_unit(side.window, side.loss, side.tokens) for side in sides.values()]
    if min(len(side.loss) for side in sums) < gap_stats.LEAST_DOCUMENTS:
        return None
    return math.sqrt(sum(gap_stats.standard_error(side) ** 2 for side in sums))


def _bins(
    train: Pieces, val: gap_stats.Sums, against: gap_stats.Draws | None, data: Data, config: GapConfig
) -> tuple[Bin, ...]:
    """As many windows that the run had seen in each, by when they were last seen."""
    if data.seen is None:
        return ()
    count = min(config.bins, data.n_train)
    place = np.searchsorted(data.seen.last, train.last)  # rank among all that were seen, 0 the oldest
    made = []
    for number in range(count):
        first, last = -(-number * data.n_train // count), -(-(number + 1) * data.n_train // count)
        inside = train.only((place >= first) & (place < last))
        sums = _by_document(inside)
        empty = len(sums.loss) == 0
        draws = gap_stats.draws(sums, (config.seed, 2 + number))
        found = gap_stats.difference(against, draws, val.mean - sums.mean)
        made.append(
            Bin(
                first_step=data.step_at(first), last_step=data.step_at(last - 1), windows=len(np.unique(inside.window)),
                tokens=int(inside.tokens.sum()), documents=len(sums.loss), train_loss=None if empty else sums.mean,
                gap=None if empty else found.value, se=found.se, ci95=found.ci95,
            )
        )  # fmt: skip
    return tuple(made)


def _recency(train: Pieces, data: Data, config: GapConfig) -> Recency | None:
    if data.seen is None:
        return None
    place = np.searchsorted(data.seen.last, train.last)  # rank among all that were seen, 0 the oldest
    older, newer = (_by_document(train.only(half)) for half in (place < data.n_train / 2, place >= data.n_train / 2))
    if not len(older.loss) or not len(newer.loss):
        return None
    found = gap_stats.estimate(older, newer, config.seed)
    return Recency(difference=found.value, se=found.se, ci95=found.ci95)


def _remarks(result: GapResult) -> list[str]:
    said = []
    if result.se is None:
        said.append(
            f"No interval: either side needs {gap_stats.LEAST_DOCUMENTS} documents, and not most of the tokens in one or two; "
            f"there are {result.train.documents:,} training and {result.val.documents:,} validation documents."
        )
    for name, side in (("training", result.train), ("validation", result.val)):
        if result.se is not None and side.documents < _FEW:
            said.append(f"Only {side.documents} {name} documents: the level of the interval is approximate.")
    if result.se is not None and result.se_windows is not None and result.se_windows > _WIDER * result.se:
        said.append(
            f"Losses in one window go together: over windows the standard error is {result.se_windows:.4g}, over documents "
            f"{result.se:.4g}. The interval is too narrow by about that ratio."
        )
    return said


def _provenance(model: Any, seconds: float) -> dict[str, Any]:
    import sys

    import torch

    from spectra.provenance import now, software

    versions = software()
    for name in ("transformers", "tokenizers"):
        if name in sys.modules:
            versions["libraries"][name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    device = model.device
    return {
        **versions, "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "precision": str(next(model.parameters()).dtype).removeprefix("torch."), "threads": torch.get_num_threads(),
        "seconds": round(seconds, 3), "finished_at": now(),
    }  # fmt: skip
