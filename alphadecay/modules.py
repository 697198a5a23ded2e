"""Which modules of a model get a weight decay of their own, by parameter name.

A module is one weight parameter inside a transformer layer, as `spectra.naming` places it: attention and MLP projections, fused
and stacked ones included. Embeddings, norms, biases, routers, convolutions and the head are not modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spectra.checkpoint.memory import module_part
from spectra.errors import SpectraError
from spectra.naming import plan
from spectra.types import MatrixRef

if TYPE_CHECKING:
    import torch

_NOT_TUNED = frozenset({"embed", "lm_head", "router", "conv"})


@dataclass(frozen=True, kw_only=True)
class Module:
    """One weight parameter with a decay of its own.

    Attributes:
        name: of its weight, as in `model.named_parameters()` of the unwrapped model.
        layer, stack: the transformer layer it stands in (`stack` tells encoder from decoder).
        role: `q`, `down`, ...; `q+k+v` and the like where the parameter holds several matrices.
        matrices: how to cut it into (out, in) matrices; more than one for fused and stacked parameters.
        bias: name of its bias, or None.
    """

    name: str
    layer: int
    stack: str
    role: str
    matrices: tuple[MatrixRef, ...]
    bias: str | None


def unwrap(model: Any) -> Any:
    """The model inside DistributedDataParallel and torch.compile: its parameter names have no prefix."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None:
            wraps = type(model).__name__ in ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel")
            inner = model.module if wraps else None
        if inner is None:
            return model
        model = inner


def find_modules(model: torch.nn.Module) -> tuple[Module, ...]:
    """The modules of a model, in the order of its parameters; those whose weight is frozen are left out.

    Args:
        model: unwrapped (`unwrap`). Its config tells head counts, which cut fused projections; sharded parameters
            (FSDP2) are fine, flattened ones (FSDP1) have lost their shapes.

    Raises:
        SpectraError: there is none (another architecture, or everything is frozen).
    """
    part, config = module_part(model)
    planned = plan(part.tensors, config, format="module", aliases=part.aliases)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if any(".lora_" in name for name in trained):
        raise SpectraError(
            "The trainable weights are factors of a LoRA adapter, whose spectra say nothing of the modules. Use a uniform decay, "
            "or train the weights themselves."
        )
    held: dict[str, list[MatrixRef]] = {}
    for ref in planned.matrices:
        kind = part.tensors[ref.tensor].kind
        linear = kind.endswith(("Linear", "Conv1D"))  # what has no known role counts only there (not Mamba's A_log)
        tuned = ref.role not in _NOT_TUNED and kind != "Embedding" and (ref.role != "other" or linear)
        if ref.layer is not None and tuned and ref.tensor in trained:
            held.setdefault(ref.tensor, []).append(ref)
    if not held:
        raise SpectraError(
            f"Found no trainable weight matrix inside the layers of {type(model).__name__} "
            f"({len(trained)} of {sum(1 for _ in model.parameters())} parameters are trainable). Module-wise decay needs the "
            "weights of a transformer to be trained; use a uniform decay."
        )
    return tuple(_module(name, refs, trained) for name, refs in held.items())


def _module(name: str, refs: Sequence[MatrixRef], trained: set[str]) -> Module:
    first = refs[0]
    assert first.layer is not None
    bias = name.removesuffix("weight") + "bias" if name.endswith("weight") else None
    return Module(
        name=name,
        layer=first.layer,
        stack=first.stack,
        role="+".join(dict.fromkeys(ref.role for ref in refs)),
        matrices=tuple(refs),
        bias=bias if bias in trained else None,
    )


def without_ends(modules: Sequence[Module], model: torch.nn.Module) -> tuple[Module, ...]:
    """Leave out the first and the last `nn.Linear` of the model by position, as AlphaDecay's code does.

    In a LLaMA those are `layers.0.self_attn.q_proj` and the head.
    """
    from torch import nn

    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    ends = {f"{name}.weight" for name in (linear[:1] + linear[-1:])}
    return tuple(module for module in modules if module.name not in ends)


def parameters_by_group(
    model: torch.nn.Module, modules: Sequence[Module], exempt: Sequence[str], biases: str
) -> dict[str, list[tuple[str, torch.nn.Parameter]]]:
    """Group name -> (parameter name, parameter): one group a module, then `base` and `exempt`; empty ones left out.

    Args:
        exempt: globs on parameter names that get no decay at all.
        biases: `module`: a module's bias has its decay; `base`: the base decay.

    Raises:
        SpectraError: a glob matches nothing, or every parameter is exempt.
    """
    owner = {module.name: module.name for module in modules}
    if biases == "module":
        owner |= {module.bias: module.name for module in modules if module.bias is not None}
    spared = _matched(model, exempt)
    groups: dict[str, list[tuple[str, torch.nn.Parameter]]] = {module.name: [] for module in modules}
    groups |= {"base": [], "exempt": []}
    for name, parameter in _trained(model):
        groups["exempt" if name in spared else owner.get(name, "base")].append((name, parameter))
    found = {name: held for name, held in groups.items() if held}
    if set(found) <= {"exempt"}:
        raise SpectraError(f"exempt {list(exempt)} leaves no parameter to decay. Use the policy none instead.")
    return found


def _trained(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Trainable parameters, tied ones once."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def _matched(model: torch.nn.Module, globs: Sequence[str]) -> set[str]:
    from fnmatch import fnmatchcase

    names = [name for name, _ in _trained(model)]
    found: set[str] = set()
    for glob in globs:
        matched = [name for name in names if fnmatchcase(name, glob)]
        if not matched:
            raise SpectraError(f"exempt: no trainable parameter is called {glob!r}; there are {names[0]}, ...")
        found.update(matched)
    return found


def layers_of(modules: Sequence[Module]) -> Mapping[str, tuple[str, int]]:
    """Module name -> the transformer layer it stands in."""
    return {module.name: (module.stack, module.layer) for module in modules}
