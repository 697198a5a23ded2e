"""What a tensor's name says by itself: module path, layer, stack, expert. No shapes, no config."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from spectra.naming.rules import match, pattern_of
from spectra.types import TensorInfo

# Parts that wrappers put into a path: torch.compile, FSDP, activation checkpointing, PEFT; `module` is DDP's.
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"})
# Names of parameters, as opposed to modules. Others (`in_proj_weight`, `gate_up_proj`) stand for a module.
_PARAMETERS = frozenset({"weight", "bias", "kernel", "weight_g", "weight_v"})

_LAYER = re.compile(
    r"(?:^|\.)(?:layers|layer|h|blocks|block|blk|resblocks|albert_layers|attentions|ffns|proj_blk)\.(N)(?=\.|$)"
)
_EXPERT = re.compile(r"(?:^|\.)(?!shared)\w*experts?\.(N|expert_N)(?=\.|$)")
_SIDE = re.compile(r"(?:^|\.)(enc|encoder|dec|decoder)\.")
_SIDE_WITH_LAYERS = re.compile(
    r"(?:^|\.)(?:enc|encoder|dec|decoder)\.(?:[A-Za-z_]+\.)*(?:layers|layer|h|blocks|block|blk)\.N\."
)
_VISION = re.compile(
    r"(?:^|\.)(?:vision_tower|vision_model|vision_encoder|vision_backbone|vision|visual|image_encoder|image_embed|vpm)\."
    r"|^v\."
)
_AUDIO = re.compile(r"(?:^|\.)(?:audio_tower|audio_model|audio_encoder|audio_embed)\.|^a\.")
_QFORMER = re.compile(r"(?:^|\.)qformer\.")
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


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What holds for all paths of one pattern. `layer_at` and `expert_at` are the parts that hold the numbers."""

    label: str
    own_parts: int
    suffix: str
    layer_at: int | None
    expert_at: int | None
    tower: str
    side: str
    side_has_layers: bool


@lru_cache(maxsize=16384)  # a checkpoint has as many patterns as kinds of tensors, not as tensors
def _facts(pattern: str) -> _Facts:
    dotted = pattern + "."
    label, own_parts, suffix = match(pattern)
    towers = (("vision", _VISION), ("audio", _AUDIO), ("qformer", _QFORMER), ("mtp", _MTP))
    side = _SIDE.search(dotted)
    return _Facts(
        label=label,
        own_parts=own_parts,
        suffix=suffix,
        layer_at=_part(_LAYER, pattern),
        expert_at=_part(_EXPERT, pattern),
        tower=next((tower for tower, words in towers if words.search(dotted)), ""),
        side={"e": "encoder", "d": "decoder"}[side[1][0]] if side else "",
        side_has_layers=_SIDE_WITH_LAYERS.search(dotted) is not None,
    )


def _part(words: re.Pattern[str], pattern: str) -> int | None:
    found = words.search(pattern)
    return pattern.count(".", 0, found.start(1)) if found else None


def _number(parts: list[str], at: int | None) -> int | None:
    """The number in one part (`7`, `expert_7`). Ten digits or more are no index, and not all digits are ASCII."""
    if at is None:
        return None
    text = parts[at].removeprefix("expert_")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def read_names(tensors: Iterable[tuple[str, TensorInfo]]) -> dict[str, Item]:
    """Every tensor's name taken apart. `stack` is `encoder` or `decoder` only where the checkpoint has both."""
    cleaned = []
    sides_with_layers = set()
    for name, info in tensors:
        path, parameter = clean(name)
        facts = _facts(pattern_of(path))
        cleaned.append((name, info, path, parameter, facts))
        if facts.side_has_layers and not facts.tower:
            sides_with_layers.add(facts.side)
    both = sides_with_layers >= {"encoder", "decoder"}
    items = {}
    for name, info, path, parameter, facts in cleaned:
        parts = path.split(".")
        module = ".".join(parts[: -facts.own_parts]) + facts.suffix
        items[name] = Item(
            name=name,
            info=info,
            path=path,
            parameter=parameter,
            label=facts.label,
            module=module.removeprefix("."),
            own=".".join(parts[-facts.own_parts :]),
            layer=_number(parts, facts.layer_at),
            expert=_number(parts, facts.expert_at),
            stack=facts.tower or (facts.side if both else ""),
            side=facts.side,
        )
    return items
