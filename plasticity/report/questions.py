"""The text of questions that a folder keeps only the hashes of: from the task again, where that needs no network."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from spectra.errors import SpectraError


def question_texts(folder: Path, task: str, hashes: Collection[str]) -> dict[str, str]:
    """Hash -> text of the questions of a shipped task that makes its own data, or whose data the recipe of the folder names.

    Empty where they are not at hand. Tasks in a user's file are not run: a page is made from results, not from code.
    """
    from plasticity.tasks.loading import load
    from plasticity.tasks.registry import get, tasks
    from plasticity.tasks.report import question_key

    if task not in tasks():
        return {}
    chosen = get(task)
    data = _data(folder, task)
    own = not any(source.hub for source in chosen.header.test)
    if data is None and not own:
        return {}
    try:
        questions = load(chosen, "test", data).items
    except SpectraError:  # moved or changed since
        return {}
    keyed = ((question_key(one), one.question) for one in questions)
    return {key: text for key, text in keyed if key in hashes}


def _data(folder: Path, task: str) -> Path | None:
    """The local file or folder that the recipe names for the task."""
    from plasticity.experiment_run import experiment_of

    try:
        named = experiment_of(folder).tasks.get(task)
    except SpectraError:
        return None
    path = Path(named.data).expanduser() if named is not None and named.data else None
    return path if path is not None and path.exists() else None
