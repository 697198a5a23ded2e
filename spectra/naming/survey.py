"""All names of a checkpoint read once, and the questions one tensor asks about its neighbours.

Shapes are oriented as (out, in) unless said otherwise; E experts, D = width of the residual stream.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from spectra.naming.names import Item, read_names
from spectra.naming.settings import Settings
from spectra.types import TensorInfo

# Layers of GPT-2 and its kin that store (in, out), and the models that do (transformers.pytorch_utils.Conv1D).
_CONV1D_OWN = frozenset({"c_attn", "c_proj", "c_fc", "q_attn"})
_CONV1D_MODELS = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp", "jais"})
# Expert stacks stored (E, in, out): `is_transposed=True` in transformers 5.23, and Llama 4.
_TRANSPOSED_STACKS = frozenset({"gpt_oss", "llama4", "llama4_text", "aria", "aria_text", "openai_privacy_filter"})
_CONV_KIND = re.compile(r"\w*Conv(?:Transpose)?[123]d\w*")
_CONV_OWN = re.compile(r"(?:\w*_)?(?:dw|pw|ds|short)?conv(?:_?[123]d)?_?(?:dw|pw)?\d*(?:_weight)?")
_CONV_PATH = re.compile(r"(?:^|[._])(?:\w*conv\w*|projection|proj|stem)(?:[._]|$)", re.IGNORECASE)
_KERNEL_LIMIT = 64  # no kernel is wider; a `weight` of four dimensions beyond that is something else


class Survey:
    """The items of a checkpoint with its config."""

    def __init__(self, tensors: Mapping[str, TensorInfo], config: Mapping[str, Any], source_format: str) -> None:
        self.items = read_names(tensors.items())
        self.format = source_format
        stacks = {item.stack for item in self.items.values() if item.layer is not None}
        self.settings = Settings(config, towers_only=len(stacks) == 1 and stacks <= {"vision", "audio"})
        self._siblings: dict[tuple[str, str], Item] = {}
        self._own: dict[tuple[str, str], Item] = {}
        for item in self.items.values():
            if len(item.shape) >= 2:
                self._siblings.setdefault((item.module, item.label), item)
                self._own.setdefault((item.module, item.own), item)
        self._conv1d = self._stores_conv1d()

    def sibling(self, item: Item, *labels: str) -> Item | None:
        """The first tensor in the same module with one of these labels."""
        return next((s for label in labels if (s := self._siblings.get((item.module, label)))), None)

    def has_own(self, item: Item, own: str) -> bool:
        """Whether the same module has a tensor (of two dimensions or more) of this own name."""
        return (item.module, own) in self._own

    def _stores_conv1d(self) -> bool:
        """Whether c_attn, c_proj, c_fc are (in, out) in this checkpoint, where no module kind says so.

        The shape of the first c_attn decides, (d, 3 d) against (3 d, d); then the config; then c_fc, which widens.
        """
        if self.format == "gguf":
            return False
        shapes: dict[str, tuple[int, ...]] = {}
        model_type = ""
        for item in self.items.values():
            if item.own in _CONV1D_OWN and len(item.shape) == 2 and item.own not in shapes:
                shapes[item.own] = item.shape
                model_type = model_type or self.settings.model_type(item)
        rows, cols = (shapes.get("c_attn") or (0, 0))[:2]
        if rows and rows in (3 * cols, cols // 3) and (rows == 3 * cols or cols == 3 * rows):
            return cols > rows
        if model_type:
            return model_type in _CONV1D_MODELS
        rows, cols = (shapes.get("c_fc") or (0, 0))[:2]
        return cols > rows

    def is_transposed(self, item: Item) -> bool:
        """Whether a two-dimensional weight is stored (in, out)."""
        if item.info.kind:
            return item.info.kind == "Conv1D"
        return self._conv1d and item.own in _CONV1D_OWN

    def oriented(self, item: Item) -> tuple[int, int]:
        """(rows, cols) = (out, in) of a two-dimensional weight."""
        rows, cols = item.shape
        return (cols, rows) if self.is_transposed(item) else (rows, cols)

    def o_cols(self, item: Item) -> int | None:
        """Columns of the output projection in the same module, where it is a matrix."""
        o = self.sibling(item, "o")
        return self.oriented(o)[1] if o is not None and len(o.shape) == 2 else None

    def is_gated(self, item: Item) -> bool:
        """Whether an up projection holds gate and up: twice as tall as `down` is wide, and no gate beside it."""
        if item.label not in ("up_gated", "up_gated_last"):
            return False
        down = self.sibling(item, "down")
        if down is None or len(down.shape) != 2 or self.sibling(item, "gate") is not None:
            return False
        return self.oriented(item)[0] == 2 * self.oriented(down)[1]

    def is_conv(self, item: Item) -> bool:
        """Whether a tensor is a convolution's kernel, by its module's kind, by name, or by four small dimensions."""
        shape, kind = item.shape, item.info.kind
        if _CONV_KIND.fullmatch(kind):
            return True
        last = item.own.rsplit(".", 1)[-1]
        if len(shape) == 2:  # GGUF keeps Mamba's depthwise kernel as (channels, width)
            return not kind and _CONV_OWN.fullmatch(last) is not None
        if item.label == "patch":
            return True
        tail = ".".join(item.path.split(".")[-2:])
        if item.label == "" and _CONV_PATH.search(tail) is not None:
            return True
        is_weight = item.parameter in ("weight", "weight_v")
        return len(shape) == 4 and is_weight and max(shape[2:]) <= _KERNEL_LIMIT and not kind

    def stack_is_transposed(self, item: Item) -> bool:
        """Whether an expert stack is (E, in, out), not (E, out, in).

        gate_up against down settles it: (E, 2 I, D) goes with (E, D, I), (E, D, 2 I) with (E, I, D). Else the
        config's hidden size where only one of the two dimensions equals it, else its model_type.
        """
        if self.format == "gguf":
            return False
        partner = self.sibling(item, "down" if item.label == "gate_up" else "gate_up")
        if partner is not None and len(partner.shape) == 3:
            gate_up, down = (item, partner) if item.label == "gate_up" else (partner, item)
            _, a, b = gate_up.shape
            _, c, d = down.shape
            if (a == 2 * d and b == c) != (b == 2 * c and a == d):
                return b == 2 * c
        hidden = self.settings.hidden_size(item)
        _, rows, cols = item.shape
        if hidden is not None and (rows == hidden) != (cols == hidden):
            return (rows == hidden) != (item.label == "down")
        return self.settings.model_type(item) in _TRANSPOSED_STACKS

    def gate_up_order(self, item: Item, transposed: bool) -> Literal["gate_up", "up_gate", "interleaved"]:
        """How gate and up share the rows of a fused weight."""
        if item.label == "up_gated_last":
            return "up_gate"  # OLMo's SwiGLU: `x, gate = x.chunk(2)`
        model_type = self.settings.model_type(item)
        if model_type == "gpt_oss" and transposed:
            return "interleaved"
        if not model_type and transposed and (item.name + "_bias") in self.items:
            return "interleaved"  # without a config: of the stacks stored (in, out), gpt-oss's have biases
        return "gate_up"
