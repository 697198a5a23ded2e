"""Weights of a checkpoint back into a model, under the names that it was saved with.

transformers saves some architectures under older names than its modules have now (ViT's `vit.layers.0.attention.q_proj` as
`vit.encoder.layer.0.attention.attention.query`). `from_pretrained` maps them; the Trainer's own resume (5.23) does not, and
goes on with whatever weights the model had.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alphadecay.quiet import no_progress_bars
from spectra.errors import SpectraError, first_line


def saved_names(folder: Path) -> set[str]:
    """Names of the tensors in a checkpoint's safetensors files, one or several; empty: there are none."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    path = folder / "model.safetensors"
    if not path.is_file():
        return set()
    with safe_open(path, framework="np") as f:
        return set(f.keys())


def renamed(model: Any, folder: Path) -> bool:
    """Whether a checkpoint holds tensors under names that the model does not have."""
    return not saved_names(folder) <= set(model.state_dict())


def saved_state(model: Any, folder: Path, dtype: Any) -> dict[str, Any]:
    """The tensors of a checkpoint on the CPU, by the model's own names.

    Raises:
        SpectraError: a tensor is missing, has no place in the model, or another shape.
    """
    try:
        with no_progress_bars():
            loaded, notes = type(model).from_pretrained(
                folder, dtype=dtype, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError) as error:
        reason = first_line(error)
        raise SpectraError(
            f"The weights of {folder} cannot be loaded ({reason}). Resume from another checkpoint."
        ) from error
    wrong = sorted(str(name) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in notes[kind])
    if wrong:
        raise SpectraError(
            f"The weights of {folder} do not fit the model: {wrong[0]} and {len(wrong) - 1} more are missing, left over or of "
            "another shape. Resume from a checkpoint of this run."
        )
    state: dict[str, Any] = loaded.state_dict()
    return state
