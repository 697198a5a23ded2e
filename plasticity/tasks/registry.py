"""Tasks by name: every class with a header in this package, and in the user's own files (`--tasks-dir`)."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import get_args

from spectra.errors import SpectraError

from .base import Header, Kind, Task
from .user_code import USER_MODULE

KINDS: tuple[str, ...] = get_args(Kind)
SCORES: Mapping[str, tuple[str, ...]] = {
    "generation": ("greedy", "maj@k", "pass@k", "rm@k", "correct_ratio", "orm_score"),
    "cloze": ("acc", "acc_norm"),
    "safety": ("harmfulness",),
}  # what `plasticity evaluate` measures, by kind of task; k: a number of samples


def tasks(tasks_dir: Path | None = None, *, where: str = "--tasks-dir") -> Mapping[str, type[Task]]:
    """Name -> task, in alphabetical order: ours, and those of the `.py` files in `tasks_dir` (names with `_` first are left out).

    Args:
        where: what names `tasks_dir`, for messages.

    Raises:
        SpectraError: the folder holds no task, a file of it fails, two tasks have one name, or a header names a kind or a score
            that there is not.
    """
    package = importlib.import_module(__package__)
    own = (importlib.import_module(f"{__package__}.{found.name}") for found in pkgutil.iter_modules(package.__path__))
    known: dict[str, type[Task]] = {}
    for module in own:
        _add(known, _classes(module), str(module.__name__))
    if tasks_dir is not None:
        files = sorted(tasks_dir.expanduser().glob("[!_]*.py"))
        if not files:
            raise SpectraError(f"{where} {tasks_dir}: expected a folder with .py files that define tasks, found none.")
        for path in files:
            _add(known, _classes(_imported(path)), str(path))
    return dict(sorted(known.items()))


def get(name: str, tasks_dir: Path | None = None, *, where: str = "--tasks-dir") -> Task:
    """The task of that name; `where`: what names `tasks_dir`, for messages.

    Raises:
        SpectraError: there is none; names the nearest, and all.
    """
    from alphadecay.fields import nearest

    known = tasks(tasks_dir, where=where)
    if name not in known:
        raise SpectraError(f"Unknown task {name!r}. {nearest(name, known)} A task of yours: {where} names its folder.")
    return known[name]()


def _classes(module: ModuleType) -> Iterable[type[Task]]:
    """Tasks that a module defines itself: those it imports to build on are not counted twice."""
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, Task)
            and value.__module__ == module.__name__
            and "header" in vars(value)
        ):
            yield value


def _add(known: dict[str, type[Task]], found: Iterable[type[Task]], where: str) -> None:
    for task in found:
        if not isinstance(task.header, Header):
            raise SpectraError(
                f"{where}: the header of {task.__name__} is a {type(task.header).__name__}, expected a Header."
            )
        _check(task.header, f"{where}: the header of {task.__name__}")
        if task.header.name in known:
            raise SpectraError(f"{where}: there is a task {task.header.name!r} already. Give yours another name.")
        known[task.header.name] = task


def _check(header: Header, where: str) -> None:
    """Refuse a kind or a score that would be ignored."""
    if header.kind not in KINDS:
        raise SpectraError(f"{where} has kind={header.kind!r}, expected one of {', '.join(KINDS)}.")
    known, asked = SCORES[header.kind], header.scores
    wrong = [name for name in asked if re.sub(r"@\d+$", "@k", name) not in known] if isinstance(asked, tuple) else []
    if wrong or not asked or not isinstance(asked, tuple):
        raise SpectraError(
            f"{where} has scores={asked!r}, expected a tuple of {', '.join(known)} (of kind={header.kind!r}; k is a number, as in "
            f"maj@16){', not ' + ', '.join(wrong) if wrong else ''}."
        )


def _imported(path: Path) -> ModuleType:
    """A user's file as a module."""
    name = f"{USER_MODULE}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpectraError(f"{path} cannot be imported: expected a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SpectraError(
            f"{path} fails when imported: {type(error).__name__}: {error}. Mend it, or delete it."
        ) from error
    if not any(True for _ in _classes(module)):
        raise SpectraError(f"{path} defines no task: expected a subclass of plasticity.tasks.base.Task with a header.")
    return module
