"""PEFT LoRA adapters: which module each factor belongs to, and how it is scaled.

W' = W + s B A with A (r, in), B (out, r), s = alpha / r, or alpha / sqrt(r) with use_rslora (Hu et al. 2021;
Kalajdzievski 2023). Read from adapter_config.json exactly as PEFT does: `rank_pattern` and `alpha_pattern` by its
get_pattern_key, embeddings as (B A)^T, fan_in_fan_out transposed as the base stores it. What is done with the
factors is in lora_values.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spectra.checkpoint.base import Checkpoint
from spectra.checkpoint.folder import Folder
from spectra.checkpoint.parts import Description, PartsCheckpoint
from spectra.checkpoint.reading import load_json, some, tensor_label
from spectra.checkpoint.sharded import open_parts
from spectra.errors import CheckpointError
from spectra.types import TensorInfo

_FACTOR = re.compile(
    r"^(?P<module>.+)\.(?P<factor>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(?:\.default)?(?P<leaf>\.weight|\.bias)?$"
)
# Variants whose weights are not base + s B A. With a base they cannot be merged; the first ones mean nothing without.
_UNSUPPORTED = ("target_parameters", "use_qalora", "use_bdlora", "kasa_config", "monteclora_config", "arrow_config")
_NOT_MERGED = ("layer_replication", "alora_invocation_tokens", "trainable_token_indices")
# Initialisations that also change the base weights, so that W + s B A is not the model that was trained.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")

ModuleKind = Literal["linear", "embedding", "conv"]


@dataclass(frozen=True, kw_only=True)
class AdaptedModule:
    """One adapted module. `a`, `b`, `magnitude`, `bias` are names of the adapter's tensors; `shape` that of the update.

    `transposed`: the base stores (in, out), as Conv1D and embeddings do.
    """

    name: str
    kind: ModuleKind
    a: str
    b: str
    scaling: float
    shape: tuple[int, ...]
    dtype: str
    transposed: bool = False
    magnitude: str | None = None
    bias: str | None = None

    @property
    def weight(self) -> str:
        """The parameter of the base model that is updated."""
        return f"{self.name}.weight"


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An adapter: its modules by name, the tensors that replace base tensors, and what cannot be expressed."""

    weights: Checkpoint
    modules: Mapping[str, AdaptedModule]
    replaced: Mapping[str, str]
    skipped: Mapping[str, str]
    details: Mapping[str, Any]
    config: Mapping[str, Any]
    label: str


@dataclass
class _Factors:
    names: dict[str, str] = field(default_factory=dict)


def open_lora(folder: Folder, weights: str, base: Checkpoint | None, config: Mapping[str, Any] | None) -> Checkpoint:
    """An adapter folder; with `base`, the base's tensors with the adapter merged in.

    Raises:
        CheckpointError: another kind of adapter, or one that does not fit its config or its base.
    """
    from spectra.checkpoint.lora_values import LoraCheckpoint, MergedCheckpoint
    from spectra.checkpoint.opening import folder_config

    label = folder.file_label("adapter_config.json")
    settings = load_json(folder.fetch("adapter_config.json"), label)
    _check_supported(settings, label, merging=base is not None)
    kind = "safetensors" if weights.endswith(".safetensors") else "torch"
    description = Description(source=folder.label, format="lora", details=folder.details)
    stored = PartsCheckpoint(description, open_parts(folder, [weights], kind, None))
    adapter = parse_adapter(stored, settings, folder.file_label(weights), label)
    if base is None:
        return LoraCheckpoint(adapter, config if config is not None else folder_config(folder))
    return MergedCheckpoint(adapter, base, config)


def _check_supported(settings: Mapping[str, Any], label: str, *, merging: bool) -> None:
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(
            f"{label}: is a PEFT adapter of type {kind!r}, expected 'LORA'; merge it into its base with PEFT's "
            "merge_and_unload (where it has one) and analyse the merged model."
        )
    used = [name for name in _UNSUPPORTED if settings.get(name)]
    if used:
        raise CheckpointError(
            f"{label}: uses {some(used)}, which this version cannot read; merge the adapter with PEFT's merge_and_unload."
        )
    if not merging:
        return
    used = [name for name in _NOT_MERGED if settings.get(name)]
    if str(settings.get("init_lora_weights")).startswith(_CHANGES_BASE):
        used.append(f"init_lora_weights={settings['init_lora_weights']}")
    if used:
        raise CheckpointError(
            f"{label}: uses {some(used)}, which changes more than W + s B A, so it cannot be merged here; merge it with PEFT "
            "and analyse the merged model, or leave out the base to see the update alone."
        )


def parse_adapter(weights: Checkpoint, settings: Mapping[str, Any], label: str, config_label: str) -> Adapter:
    """Sort the tensors of an adapter file into modules and replacements.

    Raises:
        CheckpointError: a factor without its partner, ranks that contradict the config, malformed settings.
    """
    factors: dict[str, _Factors] = {}
    replaced: dict[str, str] = {}
    for stored in weights.tensors:
        match = _FACTOR.match(stored)
        if match is None:
            replaced[_base_name(stored).replace(".base_layer.", ".")] = stored
            continue
        part = match["factor"] + (".bias" if match["leaf"] == ".bias" else "")
        factors.setdefault(_base_name(match["module"]), _Factors()).names[part] = stored
    scale = _Scaling(settings, config_label)
    modules: dict[str, AdaptedModule] = {}
    skipped: dict[str, str] = {}
    for name, found in factors.items():
        module = _module(name, found.names, weights, scale, label)
        if isinstance(module, str):
            skipped[name] = module
        else:
            modules[name] = module
    if not modules:
        raise CheckpointError(f"{label}: holds no pair of lora_A and lora_B; expected the weights of a LoRA adapter.")
    return Adapter(
        weights=weights,
        modules=modules,
        replaced=replaced,
        skipped=skipped,
        details=_details(settings, modules, skipped),
        config=settings,
        label=label,
    )


def _base_name(name: str) -> str:
    """The base model's name of something PEFT saved."""
    return name.removeprefix("base_model.").removeprefix("model.") if name.startswith("base_model.model.") else name


def _module(
    name: str, names: Mapping[str, str], weights: Checkpoint, scale: _Scaling, label: str
) -> AdaptedModule | str:
    """One module from the names of its factors, or why it cannot be expressed as one update."""
    embedding = "lora_embedding_A" in names or "lora_embedding_B" in names
    keys = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A", "lora_B")
    for key in keys:
        if key not in names:
            raise CheckpointError(f"{label}: module '{name}' has no {key}; save or download the adapter again.")
    a, b = (weights.tensors[names[key]] for key in keys)
    if len(a.shape) < 2 or len(b.shape) != len(a.shape) or a.shape[0] == 0:
        raise CheckpointError(
            f"{tensor_label(label, a.name)}: shapes {a.shape} and {b.shape} of the factors are no (r, in) and (out, r); the "
            "adapter was saved before its shards were gathered: save it again."
        )
    kind: ModuleKind = "embedding" if embedding else "linear" if len(a.shape) == 2 else "conv"
    rank, scaling = scale.of(name)
    if a.shape[0] != rank or b.shape[1] != rank:
        if kind == "conv":
            return "a grouped convolution"
        raise CheckpointError(
            f"{tensor_label(label, a.name)}: factors of shape {a.shape} and {b.shape}, but the config gives rank {rank}; "
            "config and weights do not belong together."
        )
    if kind == "conv" and math.prod(b.shape[2:]) != 1:
        return "a convolution whose lora_B has a kernel"
    shape, transposed = _update_shape(kind, a, b, scale.fan_in_fan_out)
    return AdaptedModule(
        name=name,
        kind=kind,
        a=a.name,
        b=b.name,
        scaling=scaling,
        shape=shape,
        dtype=a.dtype,
        transposed=transposed,
        magnitude=names.get("lora_magnitude_vector"),
        bias=names.get("lora_B.bias"),
    )


def _update_shape(kind: ModuleKind, a: TensorInfo, b: TensorInfo, fan_in_fan_out: bool) -> tuple[tuple[int, ...], bool]:
    """Shape of the update as the base stores it, and whether that is (in, out)."""
    if kind == "conv":
        return (b.shape[0], *a.shape[1:]), False
    transposed = fan_in_fan_out or kind == "embedding"
    plain = (b.shape[0], a.shape[1])
    return (plain[::-1] if transposed else plain), transposed


class _Scaling:
    """Rank and scaling of a module, as PEFT finds them (peft.utils.other.get_pattern_key, LoraLayer.update_layer)."""

    def __init__(self, settings: Mapping[str, Any], label: str) -> None:
        self.label = label
        self.rank = self._number("r", settings.get("r", 8))
        self.alpha = self._number("lora_alpha", settings.get("lora_alpha", 8), lowest=None)
        self.ranks = self._pattern("rank_pattern", settings)
        self.alphas = self._pattern("alpha_pattern", settings)
        self.rslora = bool(settings.get("use_rslora"))
        self.fan_in_fan_out = bool(settings.get("fan_in_fan_out"))

    def of(self, module: str) -> tuple[int, float]:
        """(rank, scaling) of one module."""
        rank = self.ranks.get(self._key(self.ranks, module), self.rank)
        alpha = self.alphas.get(self._key(self.alphas, module), self.alpha)
        return int(rank), alpha / (math.sqrt(rank) if self.rslora else rank)

    def _key(self, pattern: Mapping[str, float], module: str) -> str:
        for key in pattern:
            try:
                if re.match(rf"(.*\.)?({key})$", module):
                    return key
            except re.error as error:
                raise CheckpointError(
                    f"{self.label}: the pattern {key!r} is no regular expression ({error})."
                ) from None
        return module

    def _pattern(self, name: str, settings: Mapping[str, Any]) -> dict[str, float]:
        pattern = settings.get(name) or {}
        if not isinstance(pattern, Mapping):
            raise CheckpointError(
                f"{self.label}: '{name}' is {pattern!r:.100}, expected a mapping of names to numbers."
            )
        lowest = 1 if name == "rank_pattern" else None
        return {key: self._number(f"{name}[{key}]", value, lowest) for key, value in pattern.items()}

    def _number(self, name: str, value: Any, lowest: int | None = 1) -> float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not good or (lowest is not None and value < lowest):
            raise CheckpointError(f"{self.label}: '{name}' is {value!r:.100}, expected a positive number.")
        return float(value)


def _details(
    settings: Mapping[str, Any], modules: Mapping[str, AdaptedModule], skipped: Mapping[str, str]
) -> dict[str, Any]:
    """What provenance keeps of an adapter."""
    lora: dict[str, Any] = {
        name: settings.get(name)
        for name in ("r", "lora_alpha", "use_rslora", "use_dora", "fan_in_fan_out", "init_lora_weights",
                     "base_model_name_or_path")
    }  # fmt: skip
    lora["scaling"] = sorted({module.scaling for module in modules.values()})
    lora["modules"] = len(modules)
    details: dict[str, Any] = {"lora": lora}
    if skipped:
        details["lora_skipped"] = dict(skipped)
    if str(settings.get("init_lora_weights")).startswith(_CHANGES_BASE):
        details["lora_note"] = (
            f"initialised by {settings['init_lora_weights']}, which also changes the base weights: s B A is not the whole "
            "difference to the base"
        )
    return details
