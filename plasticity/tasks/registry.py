"""Tasks by name: every class with a header in this package, and in the user's own files (`--tasks-dir`)."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from spectra.errors import SpectraError

from .base import Header, Task
from .user_code import USER_MODULE


def tasks(tasks_dir: Path | None = None) -> Mapping[str, type[Task]]:
    """Name -> task, in alphabetical order: ours, and those of the `.py` files in `tasks_dir` (names with `_` first are left out).

    Raises:
        SpectraError: the folder holds no task, a file of it fails, or two tasks have one name.
    """
    package = importlib.import_module(__package__)
    own = (importlib.import_module(f"{__package__}.{found.name}") for found in pkgutil.iter_modules(package.__path__))
    known: dict[str, type[Task]] = {}
    for module in own:
        _add(known, _classes(module), str(module.__name__))
    if tasks_dir is not None:
        files = sorted(tasks_dir.expanduser().glob("[!_]*.py"))
        if not files:
            raise SpectraError(
                f"--tasks-dir {tasks_dir}: expected a folder with .py files that define tasks, found none."
            )
        for path in files:
            _add(known, _classes(_imported(path)), str(path))
    return dict(sorted(known.items()))


def get(name: str, tasks_dir: Path | None = None) -> Task:
    """The task of that name.

    Raises:
        SpectraError: there is none; names the nearest, and all.
    """
    from alphadecay.fields import nearest

    known = tasks(tasks_dir)
    if name not in known:
        raise SpectraError(
            f"Unknown task {name!r}. {nearest(name, known)} A task of yours: --tasks-dir names its folder."
        )
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
        if task.header.name in known:
            raise SpectraError(f"{where}: there is a task {task.header.name!r} already. Give yours another name.")
        known[task.header.name] = task


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
            f"{path} fails when imported: {type(error).__name__}: {error}. Mend it, or take it away."
        ) from error
    if not any(True for _ in _classes(module)):
        raise SpectraError(f"{path} defines no task: expected a subclass of plasticity.tasks.base.Task with a header.")
    return module
