"""lm-eval's tasks by name: the YAML files it ships, and a folder of the user's own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError, first_line

from .cloze_lm import Say

_NEAR = 5


def shipped_folder() -> Path:
    """Where lm-eval keeps the YAML files of its tasks."""
    import lm_eval.tasks  # type: ignore[import-untyped]

    return Path(lm_eval.tasks.__file__).parent


def shipped_yaml(name: str) -> Path | None:
    """The file that defines a task of lm-eval: `arc_easy` -> arc/arc_easy.yaml. None: no task of that name (a group may be).

    Found by its text, folders with like names first: reading all 14,000 as YAML takes lm-eval many seconds.
    """
    wanted = re.compile(rf"^task:\s*(['\"]?){re.escape(name)}\1\s*(#.*)?$", re.MULTILINE)
    return next((path for path in _files(name) if wanted.search(path.read_text(encoding="utf-8"))), None)


def _files(name: str) -> Iterator[Path]:
    folders = sorted(path for path in shipped_folder().iterdir() if path.is_dir())
    for folder in sorted(folders, key=lambda path: not name.startswith(path.name)):
        yield from sorted(folder.rglob("*.yaml"))


def manager(*folders: Path) -> Any:
    """lm-eval's index of the tasks in some folders; of two of one name the later counts."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=[str(folder) for folder in folders], include_defaults=False)


def manager_of(name: str, own: Path | None, say: Say) -> Any:
    """An index that has `name`, a task, group or tag; the user's own folder counts before lm-eval's.

    Raises:
        SpectraError: there is none of that name (near names are given), or `own` is not a folder.
    """
    if own is not None and not own.is_dir():
        raise SpectraError(f"{own} is not a folder. Name the folder that holds lm-eval's YAML files of yours.")
    mine = () if own is None else (own,)
    if own is not None and name in (found := manager(own)).all_subtasks:
        return found
    if (shipped := shipped_yaml(name)) is not None:
        return manager(shipped.parent)
    say("Reading lm-eval's index of tasks (about 15 s) ...")
    found = manager(shipped_folder(), *mine)
    if name in found.all_tasks:
        return found
    near = (
        difflib.get_close_matches(name, found.all_tasks, n=_NEAR)
        or sorted((task for task in found.all_tasks if name.casefold() in task.casefold()), key=len)[:_NEAR]
    )
    hint = f" Did you mean {', '.join(near)}?" if near else " `python -m lm_eval ls tasks` lists them."
    unread = "".join(f" {text}" for text in _unread(own)) if own is not None else ""
    raise SpectraError(
        f"lm-eval has no task, group or tag {name!r}{f', nor has {own}' if own is not None else ''}.{hint}{unread}"
    )


def _unread(own: Path) -> Iterator[str]:
    """The user's files that lm-eval leaves out of its index without a word."""
    import yaml  # type: ignore[import-untyped]
    from lm_eval.tasks._yaml_loader import load_yaml  # type: ignore[import-untyped]

    for path in sorted(own.rglob("*.yaml")):
        try:
            load_yaml(path, resolve_func=False)
        except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
            yield f"{path} cannot be read: {first_line(error).rstrip('.')}."
