"""Which q, k, v, o belong to one attention module, and how many heads they have, checked against their shapes.

H heads, K key/value heads, Dh = dimension of one query or key head, Dv = of one value head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spectra.naming.notes import Notes
from spectra.naming.settings import Heads
from spectra.naming.survey import Survey
from spectra.types import AttentionRef, MatrixRef

_LATENT = frozenset({"kv_b", "k_heads", "v_heads"})


@dataclass(frozen=True, kw_only=True)
class _Module:
    """The four matrices of one attention module."""

    q: MatrixRef
    k: MatrixRef
    v: MatrixRef
    o: MatrixRef


def find_attention(refs: Iterable[MatrixRef], survey: Survey, notes: Notes) -> tuple[AttentionRef, ...]:
    """Every module with one q, k, v and o each whose sizes fit the config's heads. Notes say what is missing."""
    modules = _complete_modules(refs, survey, notes)
    fits: list[tuple[AttentionRef, Heads]] = []
    for name, module in modules.items():
        heads = survey.settings.heads(survey.items[module.q.tensor])
        found = _fit(name, module, heads)
        if isinstance(found, str):
            notes.add(f"No attention circuits: {found}", name)
        else:
            fits.append((found, heads))
    return tuple(_drop_doubtful(fits, notes))


def _complete_modules(refs: Iterable[MatrixRef], survey: Survey, notes: Notes) -> dict[str, _Module]:
    roles: dict[str, dict[str, list[MatrixRef]]] = {}
    for ref in refs:
        if ref.role in ("q", "k", "v", "o") and ref.view.index is None and ref.expert is None:
            roles.setdefault(ref.module, {}).setdefault(ref.role, []).append(ref)
    latent = {item.module for item in survey.items.values() if item.label in _LATENT}
    complete = {}
    for name, found in roles.items():
        if name in latent:
            notes.add(
                "No attention circuits: layers use multi-head latent attention, whose queries and keys share a "
                "rotary part that is not in W_K",
                name,
            )
        elif len(found) == 4 and all(len(group) == 1 for group in found.values()):
            complete[name] = _Module(**{role: group[0] for role, group in found.items()})
    return complete


def _fit(name: str, module: _Module, heads: Heads) -> AttentionRef | str:
    """Head counts that agree with all four shapes, or what does not."""
    H = heads.heads
    if H is None:
        return "the config does not give the number of attention heads"
    q, k, v, o = module.q, module.k, module.v, module.o
    dims = [d for d in heads.head_dims if d * H == q.rows]
    if q.rows % H or (heads.head_dims and not dims):
        known = f" of dimension {' or '.join(map(str, heads.head_dims))}" if heads.head_dims else ""
        return f"the config's {H} attention heads{known} do not fit q's {q.rows} rows"
    head_dim = q.rows // H
    if k.rows % head_dim:
        return f"k's {k.rows} rows are no multiple of the head dimension {head_dim}"
    K = k.rows // head_dim
    if H % K or v.rows % K:
        return f"{K} key/value heads do not fit {H} query heads and v's {v.rows} rows"
    value_dim = v.rows // K
    if o.cols != H * value_dim:
        return f"o was expected to have {H} x {value_dim} columns, got {o.cols}"
    return AttentionRef(
        module=name,
        layer=q.layer,
        q=q.name,
        k=k.name,
        v=v.name,
        o=o.name,
        heads=H,
        kv_heads=K,
        head_dim=head_dim,
        value_dim=value_dim,
        stack=q.stack,
    )


def _drop_doubtful(fits: list[tuple[AttentionRef, Heads]], notes: Notes) -> Iterable[AttentionRef]:
    """Leaves out stacks where no layer has the number of key/value heads that the config gives.

    Layers may differ from one another (DeciLM, Gemma's global layers). But if none agrees, and the config has no
    head_dim to anchor the shapes, the number of heads is as likely wrong.
    """
    agree = {ref.stack for ref, heads in fits if heads.head_dims or heads.kv_heads in (None, ref.kv_heads)}
    for ref, heads in fits:
        if ref.stack in agree:
            yield ref
        else:
            notes.add(
                f"No attention circuits: the config's {heads.heads} heads and {heads.kv_heads} key/value heads do "
                f"not fit the shapes, which give {ref.kv_heads} key/value heads of dimension {ref.head_dim}",
                ref.module,
            )
