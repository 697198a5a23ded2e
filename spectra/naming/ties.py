"""Tensors that share storage, and tensors that may hold the same values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spectra.naming.names import Item


def resolve_aliases(aliases: Mapping[str, str], items: Mapping[str, Item]) -> dict[str, str]:
    """Tensor -> the one tensor of its group that is analysed in its stead.

    That one is the token embedding where embeddings and lm_heads share storage, else the target of the aliases.
    """
    groups: dict[str, list[str]] = {}
    for name in aliases:
        target = _target(name, aliases)
        if name in items and target in items and target != name:
            groups.setdefault(target, []).append(name)
    tied = {}
    for target, names in groups.items():
        members = [target, *names]
        keep = _embedding(members, items) or target
        tied.update({member: keep for member in members if member != keep})
    return tied


def _target(name: str, aliases: Mapping[str, str]) -> str:
    """End of a chain of aliases; in a circle, the smallest name of it."""
    seen = [name]
    while seen[-1] in aliases:
        following = aliases[seen[-1]]
        if following in seen:
            return min(seen[seen.index(following) :])
        seen.append(following)
    return seen[-1]


def _embedding(members: Iterable[str], items: Mapping[str, Item]) -> str | None:
    labels = {name: items[name].label for name in members}
    if "lm_head" not in labels.values():
        return None
    tokens = [name for name, label in labels.items() if label == "token_embed"]
    return next(iter(tokens), None) or next((n for n, label in labels.items() if label == "embed"), None)


def tie_candidates(items: Iterable[Item]) -> tuple[tuple[str, str], ...]:
    """Pairs (tensor, the token embedding it may repeat) of one shape and dtype, of tensors that are analysed.

    Embeddings (`encoder.embed_tokens`, those of multi-token prediction) are paired with the main one: `shared`
    where it exists, else the first that stands in no layer. An lm_head is paired with `shared` alone, where it
    exists, else with every embedding outside the layers: of encoder and decoder, it may repeat either.
    """
    groups: dict[tuple[tuple[int, ...], str], tuple[list[Item], list[Item]]] = {}
    for item in items:
        if item.label in ("token_embed", "lm_head") and len(item.shape) == 2:
            embeds, heads = groups.setdefault((item.shape, item.info.dtype), ([], []))
            (embeds if item.label == "token_embed" else heads).append(item)
    pairs = []
    for embeds, heads in groups.values():
        if not embeds:
            continue
        embeds.sort(key=lambda item: (item.own != "shared", item.layer is not None))
        main = embeds[0]
        pairs += [(item.name, main.name) for item in embeds[1:]]
        targets = [main] if main.own == "shared" else [main, *(e for e in embeds[1:] if e.layer is None)]
        pairs += [(head.name, target.name) for head in heads for target in targets]
    return tuple(pairs)
