"""What a tensor's name says by itself: module path, layer, stack, expert. No shapes, no config."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from spectra.naming.rules import classify
from spectra.types import TensorInfo

# Parts that wrappers put into a path: torch.compile, FSDP, activation checkpointing, PEFT; `module` is DDP's.
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"})
# Names of parameters, as opposed to modules. Others (`in_proj_weight`, `gate_up_proj`) stand for a module.
_PARAMETERS = frozenset({"weight", "bias", "kernel", "weight_g", "weight_v"})

_LAYER = re.compile(
    r"(?:^|\.)(?:layers|layer|h|blocks|block|blk|resblocks|albert_layers|attentions|ffns|proj_blk)\.(\d+)(?=\.|$)"
)
_EXPERT = re.compile(r"(?:^|\.)(?!shared)(?:\w*experts?)\.(?:expert_)?(\d+)(?=\.|$)")
_SIDE = re.compile(r"(?:^|\.)(enc|encoder|dec|decoder)\.")
_SIDE_WITH_LAYERS = re.compile(
    r"(?:^|\.)(?:enc|encoder|dec|decoder)\.(?:[A-Za-z_]+\.)*(?:layers|layer|h|blocks|block|blk)\.\d+\."
)
_VISION = re.compile(
    r"(?:^|\.)(?:vision_tower|vision_model|vision_encoder|vision_backbone|vision|visual|image_encoder|vpm)\."
    r"|^v\."
)
_AUDIO = re.compile(r"(?:^|\.)(?:audio_tower|audio_model|audio_encoder)\.|^a\.")
_MTP = re.compile(r"(?:^|\.)mtp\w*\.")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One tensor with all that its name says.

    `label` is a role or a label of `rules.py`; `path` the module path without wrappers and parameter name; `own`
    the part of it that names this tensor within `module`; `side` is `encoder`, `decoder` or ''.
    """

    name: str
    info: TensorInfo
    path: str
    parameter: str
    label: str
    module: str
    own: str
    layer: int | None
    expert: int | None
    stack: str
    side: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as stored."""
        return self.info.shape


def clean(name: str) -> tuple[str, str]:
    """Module path without wrappers, and the parameter's name ('' where the tensor's name is the module's).

    `module._orig_mod.h.0.attn.c_attn.weight` -> ('h.0.attn.c_attn', 'weight'). A parametrized weight
    (`conv.parametrizations.weight.original1`) belongs to the module it parametrizes.
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    while len(parts) > 1 and parts[0] == "module":
        del parts[0]
    if "parametrizations" in parts[1:-1]:
        at = parts.index("parametrizations", 1)
        return ".".join(parts[:at]), parts[at + 1]
    if len(parts) > 1 and parts[-1] in _PARAMETERS:
        return ".".join(parts[:-1]), parts[-1]
    return ".".join(parts), ""


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and len(text) < 10 else None


def _first(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return _number(found[1]) if found else None


@lru_cache(maxsize=4096)
def _side(path: str) -> str:
    found = _SIDE.search(path + ".")
    return {"e": "encoder", "d": "decoder"}[found[1][0]] if found else ""


def _stack(path: str, side: str, both_sides: bool) -> str:
    dotted = path + "."
    if _VISION.search(dotted):
        return "vision"
    if _AUDIO.search(dotted):
        return "audio"
    if _MTP.search(dotted):
        return "mtp"
    return side if both_sides else ""


def _sides_with_layers(paths: Iterable[str]) -> set[str]:
    """Which of encoder and decoder have numbered layers, outside vision and audio towers."""
    return {
        _side(path)
        for path in paths
        if _SIDE_WITH_LAYERS.search(path + ".") and not _VISION.search(path + ".") and not _AUDIO.search(path + ".")
    }


def read_names(tensors: Iterable[tuple[str, TensorInfo]]) -> dict[str, Item]:
    """Every tensor's name taken apart. `stack` is `encoder` or `decoder` only where the checkpoint has both."""
    cleaned = [(name, info, *clean(name)) for name, info in tensors]
    both = _sides_with_layers(path for _, _, path, _ in cleaned) >= {"encoder", "decoder"}
    items = {}
    for name, info, path, parameter in cleaned:
        label, module, own = classify(path)
        side = _side(path)
        items[name] = Item(
            name=name,
            info=info,
            path=path,
            parameter=parameter,
            label=label,
            module=module,
            own=own,
            layer=_first(_LAYER, path),
            expert=_first(_EXPERT, path),
            stack=_stack(path, side, both),
            side=side,
        )
    return items
