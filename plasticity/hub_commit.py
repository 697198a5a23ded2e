"""The commit that a hub id stands for now: what a run reads of it is all read from one commit, and a result names it."""

from __future__ import annotations

from plasticity import adapters
from plasticity.loading_errors import failures


def commit_of(name: str) -> tuple[str | None, str | None]:
    """The commit, and the configuration file of an adapter; None where the hub (or its cache, offline) does not say.

    The cache's file names tell the commit: it is no longer in the configuration that transformers reads.
    """
    from transformers.utils.hub import cached_file, extract_commit_hash

    try:
        for file in (adapters.CONFIG, "config.json", "tokenizer_config.json"):
            found = cached_file(
                name, file, _raise_exceptions_for_gated_repo=False, _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )  # fmt: skip
            commit = extract_commit_hash(found, None)
            if commit is not None:
                return commit, found if file == adapters.CONFIG else None
    except failures():
        pass  # said by whatever loads it next
    return None, None
