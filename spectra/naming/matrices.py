"""From one tensor to its matrices: whole, split by rows, or a stack. Shapes are (rows, cols) = (out, in)."""

from __future__ import annotations

from dataclasses import dataclass

from spectra.naming import fused
from spectra.naming.fused import CannotSplit, Part
from spectra.naming.names import Item
from spectra.naming.notes import Notes
from spectra.naming.survey import Survey
from spectra.naming.views import view_shape
from spectra.types import ROLES, MatrixRef, MatrixView, Role, RowBlock

_LABEL_ROLES: dict[str, Role] = {
    **{role: role for role in ROLES},
    "token_embed": "embed",
    "up_gated": "up",
    "up_gated_last": "up",
    "k_heads": "k",
    "v_heads": "v",
    "qkv": "qkv_in",
    "kv": "qkv_in",
    "kv_b": "qkv_in",
}
_FEED_FORWARD = frozenset({"gate", "up", "down", "gate_up"})
_EMBEDDINGS = frozenset({"embed", "token_embed"})
# A stack of more matrices than this is no stack of experts; it is flattened instead.
_STACK_LIMIT = 8192
# Qwen-v1's w1 and w2: `a1 * silu(a2)` in modeling_qwen.py, so w2 is the gate there.
_QWEN_V1: dict[str, Role] = {"w1": "up", "w2": "gate"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Matrices of one tensor, and what they split it into ('' if it stayed whole)."""

    refs: tuple[MatrixRef, ...]
    split: str = ""


def make_ref(item: Item, role: Role, view: MatrixView, suffix: str = "", expert: int | None = None) -> MatrixRef:
    """The reference of one cut; `suffix` is what stands after the tensor's name."""
    rows, cols = view_shape(item.shape, view)
    return MatrixRef(
        name=item.name + suffix,
        tensor=item.name,
        layer=item.layer,
        role=role,
        rows=rows,
        cols=cols,
        dtype=item.info.dtype,
        view=view,
        stack=item.stack,
        module=item.module,
        expert=item.expert if expert is None else expert,
    )


def role_of(item: Item, survey: Survey) -> Role:
    """Role of a tensor that is one matrix."""
    if item.own in _QWEN_V1 and (survey.settings.model_type(item) == "qwen" or survey.has_own(item, "c_proj")):
        return _QWEN_V1[item.own]
    if item.own == "w3" and survey.has_own(item, "w12"):
        return "down"  # DINOv2's SwiGLU: w12 is fused gate and up
    role = _LABEL_ROLES.get(item.label)
    if role is not None and role != "other":
        return role
    return "embed" if item.info.kind.endswith("Embedding") and role is None else "other"


def matrices_of(item: Item, survey: Survey, notes: Notes) -> Outcome:
    """All matrices of a tensor with at least two dimensions and real numbers."""
    shape = item.shape
    if survey.is_conv(item):
        role = role_of(item, survey) if all(size == 1 for size in shape[2:]) and len(shape) > 2 else "conv"
        role = "conv" if role == "other" else role
        return _whole(item, role, MatrixView(tensor=item.name, flatten=len(shape) > 2))
    if len(shape) == 2:
        return _two_dimensional(item, survey, notes)
    stackable = len(shape) == 3 and shape[0] <= _STACK_LIMIT
    if stackable and item.label in _FEED_FORWARD:
        return _experts(item, survey, notes)
    if stackable and item.label in ("k_heads", "v_heads"):
        return _slices(item, _LABEL_ROLES[item.label], transpose=item.label == "k_heads")
    flat = _flattened(item, survey, stackable=stackable)
    return flat or _slices(item, "other", transpose=False)


def _flattened(item: Item, survey: Survey, *, stackable: bool) -> Outcome | None:
    """One matrix of a tensor of three or more dimensions that is neither a convolution nor a stack; else None."""
    if item.module.endswith("rel_attn") and len(item.shape) == 3:
        # XLNet: q, k, v and r are (d, H, Dh) = (in, out), o is (d, H, Dh) = (out, in) (modeling_xlnet.py)
        view = MatrixView(tensor=item.name, flatten=True, transpose=item.label != "o")
        return _whole(item, role_of(item, survey), view)
    leading_ones = all(size == 1 for size in item.shape[:-2])
    if not leading_ones and item.label not in _EMBEDDINGS and stackable:
        return None
    role: Role = "embed" if item.label in _EMBEDDINGS else "other"
    return _whole(item, role, MatrixView(tensor=item.name, flatten=True))


def _whole(item: Item, role: Role, view: MatrixView) -> Outcome:
    return Outcome(refs=(make_ref(item, role, view),))


def _slices(item: Item, role: Role, *, transpose: bool) -> Outcome:
    """A stack along the first dimension whose meaning is not known, or one matrix a head."""
    refs = tuple(
        make_ref(item, role, MatrixView(tensor=item.name, index=i, transpose=transpose), f"[slice {i}]")
        for i in range(item.shape[0])
    )
    return Outcome(refs=refs, split=f"{item.shape[0]} slices")


def _two_dimensional(item: Item, survey: Survey, notes: Notes) -> Outcome:
    transpose = survey.is_transposed(item)
    per_expert = _dbrx_experts(item, survey, notes)
    if per_expert is not None:
        return per_expert
    whole = MatrixView(tensor=item.name, transpose=transpose)
    try:
        parts = split_parts(item, survey)
    except CannotSplit as error:
        notes.add(f"Kept whole: {error}", item.name)
        return _whole(item, "other" if item.label == "gate_up" else "qkv_in", whole)
    if not parts:
        return _whole(item, role_of(item, survey), whole)
    refs = tuple(
        make_ref(
            item,
            part.role,
            MatrixView(tensor=item.name, transpose=transpose, blocks=part.blocks),
            f"[{part.suffix}]",
        )
        for part in parts
    )
    return Outcome(refs=refs, split=", ".join(part.suffix for part in parts))


def split_parts(item: Item, survey: Survey) -> tuple[Part, ...]:
    """Parts of a two-dimensional weight; none if it is not fused. Raises CannotSplit if it is, but does not fit."""
    settings = survey.settings
    rows, cols = survey.oriented(item)
    parts: tuple[Part, ...] = ()
    if item.label == "qkv":
        layout = fused.qkv_layout(item, settings, survey.format)
        parts = fused.split_qkv((rows, cols), layout, settings.heads(item), survey.o_cols(item))
    elif item.label == "kv":
        parts = fused.split_kv((rows, cols), settings.heads(item))
    elif item.label == "kv_b":
        dims = (settings.integer(item, (key,)) for key in ("qk_nope_head_dim", "v_head_dim"))
        parts = fused.split_kv_b(rows, settings.heads(item).heads, *dims)
    elif item.label == "q":
        parts = _output_gate(item, survey, rows)
    elif item.label == "gate_up" or survey.is_gated(item):
        parts = fused.split_gate_up(rows, survey.gate_up_order(item, transposed=False))
    return parts


def _output_gate(item: Item, survey: Survey, rows: int) -> tuple[Part, ...]:
    """Qwen3-Next's q_proj carries a gate of the attention output: 2 H Dh rows against H Dh columns of o."""
    heads = survey.settings.heads(item)
    o_cols = survey.o_cols(item)
    gated = survey.settings.flag(item, "attn_output_gate") or survey.settings.model_type(item).startswith("qwen3_")
    if not gated or heads.heads is None or o_cols is None or o_cols % heads.heads or rows != 2 * o_cols:
        return ()
    return fused.split_output_gate(heads.heads, o_cols // heads.heads)


def _experts(item: Item, survey: Survey, notes: Notes) -> Outcome:
    """One matrix an expert, or two where gate and up are fused. Stored (E, out, in) or (E, in, out)."""
    transpose = survey.stack_is_transposed(item)
    count = item.shape[0]
    parts: tuple[Part, ...] = ()
    if item.label == "gate_up":
        rows = item.shape[2] if transpose else item.shape[1]
        try:
            parts = fused.split_gate_up(rows, survey.gate_up_order(item, transposed=transpose))
        except CannotSplit as error:
            notes.add(f"Kept whole: {error}", item.name)
    refs = []
    for e in range(count):
        if not parts:
            view = MatrixView(tensor=item.name, index=e, transpose=transpose)
            refs.append(make_ref(item, role_of(item, survey), view, f"[expert {e}]", e))
        for part in parts:
            view = MatrixView(tensor=item.name, index=e, transpose=transpose, blocks=part.blocks)
            refs.append(make_ref(item, part.role, view, f"[expert {e}][{part.suffix}]", e))
    kinds = f" x {', '.join(part.suffix for part in parts)}" if parts else ""
    return Outcome(refs=tuple(refs), split=f"{count} expert{'' if count == 1 else 's'}{kinds}")


def _dbrx_experts(item: Item, survey: Survey, notes: Notes) -> Outcome | None:
    """DBRX stacks its experts by rows: w1, v1 are (E I, D) = (out, in); w2 is (E I, D) too, but (in, out).

    Columns cannot be cut by a view, so w2's experts stay (I, D): the spectrum is the same, rows and cols are
    exchanged (modeling_dbrx.py, DbrxExpertGLU).
    """
    if not item.module.endswith("experts.mlp") or item.own not in ("w1", "v1", "w2"):
        return None
    count = survey.settings.experts(item)
    if count is None or item.shape[0] % count or count > _STACK_LIMIT:
        return None
    size = item.shape[0] // count
    role: Role = {"w1": "gate", "v1": "up", "w2": "down"}[item.own]  # type: ignore[assignment]
    if role == "down":
        notes.add("DBRX stores down projections as (in, out); rows and cols are exchanged here", item.name)
    refs = tuple(
        make_ref(
            item,
            role,
            MatrixView(tensor=item.name, blocks=(RowBlock(start=e * size, stop=(e + 1) * size),)),
            f"[expert {e}]",
            e,
        )
        for e in range(count)
    )
    return Outcome(refs=refs, split=f"{count} experts")
