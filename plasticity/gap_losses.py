"""Losses of a model on windows, split by the document that each predicted token stands in; kept on disk for later statistics.

Shapes: B windows of T tokens at once; P pieces, a piece being what stands of one document in one window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alphadecay.data_windows import IGNORED, Windows
from plasticity.pace import Pace
from spectra.errors import SpectraError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_LOGIT_BYTES = 2**29
_MOST = 64
_MESSAGE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Of each piece: `window` (index in its split), `document` (index in the source), `loss` (sum over its predicted tokens,
    nats), `tokens` (how many were predicted; the first token of a window is not), `last` (place in the run, in windows from 0,
    at which the window was last trained on; -1: never, or not known). Shape (P,), by window, then in order."""

    window: Ints
    document: Ints
    loss: Floats
    tokens: Ints
    last: Ints

    def only(self, chosen: npt.NDArray[np.bool_]) -> Pieces:
        """Some of the pieces."""
        return Pieces(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


def measure(
    model: Any, windows: Windows, indices: Ints, batch_size: int | None, report: Callable[[int], None]
) -> Pieces:
    """Losses on the windows `indices`, each alone in its row: neither batch size nor order changes more than roundings.

    Logits are taken to float32 a row at a time, sums to float64. `report` is told how many windows more are done.

    Raises:
        SpectraError: out of device memory, or a loss that is not finite.
    """
    import torch

    size = batch_size or fitting(model, windows.window)
    chosen = np.sort(indices)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts: list[tuple[Ints, Ints, Floats, Ints]] = []
            for at in range(0, len(chosen), size):
                batch = chosen[at : at + size].tolist()
                for i, losses in zip(batch, _token_losses(model, windows, batch), strict=True):
                    parts.append(_split(windows, i, losses))
                report(len(batch))
    except torch.OutOfMemoryError as error:
        raise SpectraError(
            f"Out of device memory with {size} windows of {windows.window} tokens at once. Use --batch-size "
            f"{max(1, size // 2)}{'' if size > 1 else ', --precision bf16 or another device'}."
        ) from error
    finally:
        model.train(was_training)
    window, document, loss, tokens = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Pieces(window=window, document=document, loss=loss, tokens=tokens, last=np.full(len(window), -1))


def fitting(model: Any, window: int) -> int:
    """Windows at once whose logits take 512 MB at most (float32), 1 to 64."""
    rows = int(model.config.get_text_config().vocab_size)
    return int(np.clip(_LOGIT_BYTES // (4 * rows * window), 1, _MOST))


def _token_losses(model: Any, windows: Windows, batch: list[int]) -> list[Floats]:
    """Loss of each predicted token of each window, padding left out: (n - 1,) of a window with n tokens."""
    import torch
    from torch.nn import functional

    items = [windows[i] for i in batch]
    inputs = {key: torch.stack([item[key] for item in items]).to(model.device) for key in items[0]}
    labels = inputs.pop("labels")
    if windows.packing == "pack":
        del inputs["attention_mask"]  # all ones, as in training
    logits = model(**inputs, use_cache=False).logits  # (B, T, V)
    found = []
    for i, row, target in zip(batch, logits, labels, strict=True):
        kept = target[1:] != IGNORED
        losses = functional.cross_entropy(row[:-1][kept].float(), target[1:][kept], reduction="none")
        made = losses.double().cpu().numpy()
        if not np.isfinite(made).all():
            raise SpectraError(
                f"The loss of window {i} is not finite. Use --precision fp32; where it stays so, the model's weights are not sound."
            )
        found.append(made)
    return found


def _split(windows: Windows, i: int, losses: Floats) -> tuple[Ints, Ints, Floats, Ints]:
    """Token losses of a window by document; a document of which only the window's first token is there has none."""
    documents, counts = windows.pieces(i)
    counts[0] -= 1
    ends = np.cumsum(counts)
    total = np.diff(np.concatenate([[0.0], np.concatenate([[0.0], np.cumsum(losses)])[ends]]))
    kept = counts > 0
    return np.full(int(kept.sum()), i), documents[kept], total[kept], counts[kept]


def reporter(say: Callable[[str], None], total: int) -> Callable[[int], None]:
    """Says every few seconds how far it is and how long it will take; to be told of every few windows done."""
    pace, done = Pace(_MESSAGE_S), 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        if done < total and pace.due():
            say(f"{done:,} of {total:,} windows, about {pace.left(done, total):.0f} s left")

    return report


def save(path: Path, sides: Mapping[str, Pieces]) -> None:
    """Write pieces of several sides as one compressed .npz, arrays named `<side>_<field>`; whole or not at all."""
    from spectra.atomic import write_whole

    arrays = {f"{side}_{f.name}": getattr(pieces, f.name) for side, pieces in sides.items() for f in fields(pieces)}

    def write(staged: Path) -> None:
        with staged.open("wb") as out:
            np.savez_compressed(out, **arrays)

    write_whole(path, write)


def load(path: Path) -> dict[str, Pieces]:
    """Pieces by side.

    Raises:
        SpectraError: not there, or not such a file.
    """
    try:
        with np.load(path) as arrays:
            sides = dict.fromkeys(name.partition("_")[0] for name in arrays.files)
            return {side: Pieces(**{f.name: arrays[f"{side}_{f.name}"] for f in fields(Pieces)}) for side in sides}
    except (OSError, ValueError, KeyError) as error:
        raise SpectraError(f"{path} holds no losses of plasticity gap ({error}). Measure the gap again.") from error
