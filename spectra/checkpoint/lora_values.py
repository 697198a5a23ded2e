"""The values of a LoRA adapter: the updates s B A alone, or a base checkpoint with them merged in. All in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.checkpoint.base import Checkpoint
from spectra.checkpoint.lora import AdaptedModule, Adapter
from spectra.checkpoint.reading import part_of, some, tensor_label
from spectra.errors import CheckpointError
from spectra.stored import FLOAT_DTYPES, Stored
from spectra.types import TensorInfo


def update_of(adapter: Adapter, module: AdaptedModule, *, transposed: bool) -> NDArray[np.float64]:
    """s B A of one module, (out, in), or (in, out) if `transposed`; of a convolution (out, in, kernel...)."""
    a: NDArray[np.float64] = adapter.weights.read(module.a).decode()
    b: NDArray[np.float64] = adapter.weights.read(module.b).decode()
    product: NDArray[np.float64] = b.reshape(b.shape[0], -1) @ a.reshape(a.shape[0], -1)  # (out, r) @ (r, in)
    product *= module.scaling
    if module.kind == "conv":
        return product.reshape(module.shape)
    return product.T if transposed else product


def _factor_sentence(adapter: Adapter) -> dict[str, str]:
    """The absorbed tensors of an adapter: its factors."""
    absorbed = {}
    for module in adapter.modules.values():
        for factor in (module.a, module.b):
            absorbed[factor] = f"LoRA factor, part of the update of {module.weight}"
    return absorbed


class LoraCheckpoint(Checkpoint):
    """An adapter alone. Each adapted module has one tensor with the name of the base's parameter: its update s B A.

    The factors are listed too, as absorbed; so are, as themselves, biases, DoRA magnitudes and modules_to_save. For
    DoRA the update is s B A only: the merged weight also depends on the base, which `details` says.
    """

    def __init__(self, adapter: Adapter, config: Mapping[str, Any]) -> None:
        weights = adapter.weights
        self._adapter = adapter
        self._modules = {module.weight: module for module in adapter.modules.values()}
        self.source, self.format, self.config = weights.source, "lora", config
        self.aliases: Mapping[str, str] = {}
        self.absorbed = _factor_sentence(adapter)
        self.files = weights.files
        details = {**weights.details, **adapter.details}
        if any(module.magnitude for module in adapter.modules.values()):
            details["dora"] = "the update is s B A; the DoRA magnitude is not included, because it needs the base"
        self.details = details
        tensors = {
            name: TensorInfo(name=name, shape=module.shape, dtype=module.dtype, file=adapter.label)
            for name, module in self._modules.items()
        }
        self._stored = {name: stored for name, stored in adapter.replaced.items() if name not in tensors}
        kept = set(self._stored.values())
        for name, stored in self._stored.items():
            info = weights.tensors[stored]
            tensors[name] = TensorInfo(name=name, shape=info.shape, dtype=info.dtype, file=info.file)
        tensors.update({stored: info for stored, info in weights.tensors.items() if stored not in kept})
        self.tensors = tensors

    def read(self, name: str, index: int | None = None) -> Stored:
        if name in self._modules:
            module = self._modules[name]
            part_of(self.tensors[name], index, tensor_label(self._adapter.label, name))
            update = update_of(self._adapter, module, transposed=module.transposed)
            return Stored(update if index is None else update[index].copy(), "float64")
        return self._adapter.weights.read(self._stored.get(name, name), index)


class MergedCheckpoint(Checkpoint):
    """The base's tensors, adapted ones as W + s B A (DoRA: magnitude times the normalised rows of that), in float64.

    Raises:
        CheckpointError: an adapted module is not in the base, or its shape is another.
    """

    def __init__(self, adapter: Adapter, base: Checkpoint, config: Mapping[str, Any] | None) -> None:
        weights = adapter.weights
        if adapter.skipped:
            name, reason = next(iter(adapter.skipped.items()))
            raise CheckpointError(
                f"{adapter.label}: module '{name}' is {reason}, which cannot be merged here; merge it with PEFT."
            )
        self._adapter, self._base = adapter, base
        self.source, self.format = weights.source, "lora"
        self.config = config if config is not None else base.config
        self.files = {**base.files, **weights.files}
        self.details = {**base.details, **weights.details, **adapter.details, "base": base.source}
        self._modules = self._match_modules()
        self._biases = {
            found: module
            for module in adapter.modules.values()
            if module.bias and (found := _find(f"{module.name}.bias", base.tensors)) is not None
        }
        self._replaced = {_find(name, base.tensors) or name: stored for name, stored in adapter.replaced.items()}
        touched = {*self._modules, *self._biases, *self._replaced}
        self.aliases = {
            name: other for name, other in base.aliases.items() if name not in touched and other not in touched
        }
        self.absorbed = {**base.absorbed, **_factor_sentence(adapter)}
        tensors = dict(base.tensors)
        for name, stored in self._replaced.items():
            info = weights.tensors[stored]
            tensors[name] = TensorInfo(name=name, shape=info.shape, dtype=info.dtype, file=info.file)
        taken = set(adapter.replaced.values())
        for module in adapter.modules.values():
            extra = ((module.magnitude, "DoRA magnitude"), (module.bias, "LoRA bias"))
            self.absorbed.update({stored: f"{what} of {module.name}" for stored, what in extra if stored is not None})
        tensors.update({stored: info for stored, info in weights.tensors.items() if stored not in taken})
        self.tensors = tensors
        self._transposed = {name: self._orientation(name, module) for name, module in self._modules.items()}

    def _match_modules(self) -> dict[str, AdaptedModule]:
        """Base tensor -> the module that updates it."""
        matched: dict[str, AdaptedModule] = {}
        missing = []
        for module in self._adapter.modules.values():
            found = _find(module.weight, self._base.tensors)
            if found is None:
                missing.append(module.weight)
            else:
                matched[found] = module
        if missing:
            raise CheckpointError(
                f"{self._base.source}: is not the base of this adapter: {len(missing)} adapted tensors are not in it "
                f"({some(missing, 3)}; the base has {some(self._base.tensors, 3)}). The adapter names its base as "
                f"{self._adapter.config.get('base_model_name_or_path')!r}."
            )
        return matched

    def _orientation(self, name: str, module: AdaptedModule) -> bool:
        """Whether the base stores (in, out): by the config, unless only the other way fits (as PEFT corrects it)."""
        shape = self.tensors[name].shape
        if shape == module.shape:
            return module.transposed
        if module.kind == "linear" and shape == module.shape[::-1]:
            return not module.transposed
        raise CheckpointError(
            f"{tensor_label(self._base.source, name)}: has shape {shape}, the adapter's update {module.shape}; base and "
            "adapter do not belong together."
        )

    def read(self, name: str, index: int | None = None) -> Stored:
        module = self._modules.get(name)
        if module is None and name not in self._biases:
            return self._plain(name, index)
        label = tensor_label(self.tensors[name].file, name)
        part_of(self.tensors[name], index, label)
        plain = self._plain(name, None)
        if plain.dtype not in FLOAT_DTYPES:
            raise CheckpointError(f"{label}: has dtype {plain.dtype}; an adapter can be merged into floats only.")
        value = plain.decode(np.float64)
        if module is None:
            biased = self._biases[name]
            assert biased.bias is not None  # that is what put it there
            value = value + biased.scaling * self._adapter.weights.read(biased.bias).decode()
        else:
            value = self._merged(value, module, transposed=self._transposed[name])
        return Stored(value if index is None else value[index].copy(), "float64")

    def _plain(self, name: str, index: int | None) -> Stored:
        """The tensor before the update: the adapter's own copy where it brings one, else the base's."""
        if name in self._replaced:
            return self._adapter.weights.read(self._replaced[name], index)
        if name in self._base.tensors:
            return self._base.read(name, index)
        return self._adapter.weights.read(name, index)

    def _merged(self, weight: NDArray[np.float64], module: AdaptedModule, *, transposed: bool) -> NDArray[np.float64]:
        """W + s B A; for DoRA magnitude (W + s B A) / ||W + s B A||, the norm over the inputs (peft/tuners/lora/dora.py).

        PEFT's embeddings are transposed throughout, so their magnitude has one value per embedding dimension.
        """
        merged = weight + update_of(self._adapter, module, transposed=transposed)
        if module.magnitude is None:
            return merged
        magnitude = self._adapter.weights.read(module.magnitude).decode()
        outputs = 1 if transposed else 0
        axes = tuple(axis for axis in range(merged.ndim) if axis != outputs)
        if magnitude.size != merged.shape[outputs]:
            raise CheckpointError(
                f"{tensor_label(self._adapter.label, module.magnitude)}: has {magnitude.size} values, {module.weight} has "
                f"{merged.shape[outputs]} outputs."
            )
        norm = np.sqrt(np.sum(merged * merged, axis=axes))
        shape = [1] * merged.ndim
        shape[outputs] = -1
        with np.errstate(divide="ignore", invalid="ignore"):  # an all-zero output has no direction: NaN, as in PEFT
            result: NDArray[np.float64] = merged * (magnitude.reshape(-1) / norm).reshape(shape)
        return result

    def close(self) -> None:
        self._base.close()


def _find(name: str, tensors: Mapping[str, TensorInfo]) -> str | None:
    """The base's tensor for a runtime name: the same, or the same up to a prefix that one of them lacks.

    GPT-2's saved files say `h.0.attn...`, its module `transformer.h.0.attn...`.
    """
    shorter = name
    while shorter:
        if shorter in tensors and (shorter == name or shorter.count(".") >= 2):
            return shorter
        _, _, shorter = shorter.partition(".")
    longer = [other for other in tensors if other.endswith("." + name)]
    return longer[0] if len(longer) == 1 else None
