"""`plan`: what will be done with every tensor of a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from spectra.naming.attention import find_attention
from spectra.naming.matrices import matrices_of
from spectra.naming.names import Item
from spectra.naming.notes import Notes
from spectra.naming.skips import skip_reason
from spectra.naming.survey import Survey
from spectra.naming.ties import resolve_aliases, tie_candidates
from spectra.types import Coverage, Disposition, MatrixRef, Plan, TensorInfo

_NONE: Mapping[str, str] = MappingProxyType({})


def plan(
    tensors: Mapping[str, TensorInfo],
    config: Mapping[str, Any],
    *,
    format: str = "",  # noqa: A002 -- named as in Checkpoint.format
    absorbed: Mapping[str, str] = _NONE,
    aliases: Mapping[str, str] = _NONE,
) -> Plan:
    """Decides from names, shapes, dtypes and the config alone what becomes of every tensor.

    Args:
        tensors: by name, in file order; shapes as stored.
        config: the model's config.json, possibly empty. Values of the wrong type count as absent.
        format: that of the checkpoint; `gguf` means its naming and its de-interleaved QKV.
        absorbed: tensor -> sentence, for tensors folded into others by the reader; skipped with that sentence.
        aliases: tensor -> tensor whose storage it shares; one of each group is analysed, the others are tied.

    Returns:
        The matrices in the order of the tensors, the attention modules, one ledger line a tensor, and notes.
        A tensor it cannot place is analysed as `other`; a fused one it cannot split stays whole, with a note.
    """
    survey = Survey(tensors, config, format)
    tied = resolve_aliases({k: v for k, v in aliases.items() if k not in absorbed}, survey.items)
    notes = Notes()
    refs: list[MatrixRef] = []
    ledger: list[Coverage] = []
    analysed: list[Item] = []
    for name, item in survey.items.items():
        disposition: Disposition = "skipped"
        if name in absorbed:
            reason = absorbed[name]
        elif name in tied:
            disposition, reason = "tied", f"shares storage with {tied[name]}"
        elif (why := skip_reason(item)) is not None:
            reason = why
        else:
            outcome = matrices_of(item, survey, notes)
            refs += outcome.refs
            analysed.append(item)
            disposition = "split" if outcome.split else "analysed"
            reason = outcome.split or f"one matrix, role {outcome.refs[0].role}"
        ledger.append(Coverage(tensor=name, disposition=disposition, reason=reason, parameters=item.info.parameters))
    refs = _unique(refs)
    return Plan(
        matrices=tuple(refs),
        attention=find_attention(refs, survey, notes),
        coverage=tuple(ledger),
        tie_candidates=tie_candidates(analysed),
        notes=notes.render(),
    )


def _unique(refs: list[MatrixRef]) -> list[MatrixRef]:
    """The refs with unique names. A clash takes a tensor that is itself called `x[q]` beside a fused `x`."""
    counts = Counter(ref.name for ref in refs)
    if len(counts) == len(refs):
        return refs
    taken = {ref.name for ref in refs if ref.name == ref.tensor}
    renamed = []
    for ref in refs:
        name = ref.name
        while name != ref.tensor and name in taken:
            name += "'"
        taken.add(name)
        renamed.append(replace(ref, name=name))
    assert len({ref.name for ref in renamed}) == len(renamed), "names of matrices must be unique"
    return renamed
