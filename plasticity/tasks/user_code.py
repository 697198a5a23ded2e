"""A user's own task (`--tasks-dir`) that fails, as one message that names the file, the method and the question."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from spectra.errors import SpectraError

from .base import Drop, Example, Question, Task

USER_MODULE = "plasticity_user_tasks_"  # how the registry calls the modules that it makes of a user's files


def user_file(task: Task) -> Path | None:
    """The user's file that a task is from; None: it is one of ours."""
    name = type(task).__module__
    found = getattr(sys.modules.get(name), "__file__", None)
    return Path(found) if name.startswith(USER_MODULE) and found else None


@contextlib.contextmanager
def named(task: Task, method: str, what: str) -> Iterator[None]:
    """Around a call of a task's `method` on `what`: errors of the user's code become `SpectraError`; ours are left alone."""
    try:
        yield
    except (SpectraError, Drop):
        raise
    except Exception as error:
        file = user_file(task)
        if file is None:
            raise
        raise SpectraError(
            f"{file}: {method}() of {task.header.name} fails on {what} ({type(error).__name__}: {error}). Mend it there."
        ) from error


def expect(task: Task, method: str, what: str, found: object, kind: type | tuple[type, ...], words: str) -> None:
    """Refuse what a task's `method` gave for `what` where it is of another type.

    Raises:
        SpectraError: it is; names the user's file.
    """
    if not isinstance(found, kind):
        raise SpectraError(
            f"{user_file(task) or type(task).__module__}: {method}() of {task.header.name} gave {found!r} "
            f"({type(found).__name__}) for {what}; expected {words}."
        )


def check_item(task: Task, item: object, where: str) -> None:
    """Refuse an example or a question whose fields are no text, or text that cannot be written (half a surrogate pair).

    Raises:
        SpectraError: names the row, the field, and of a user's task the file.
    """
    if isinstance(item, Example):
        fields: dict[str, object] = {"id": item.id, "question": item.question, "response": item.response}
    elif isinstance(item, Question):
        fields = {"id": item.id, "question": item.question, "gold": item.gold}
        fields |= {f"choices[{number}]": choice for number, choice in enumerate(item.choices)}
    else:
        words = "an Example (from example) or a Question (from question)"
        return expect(task, "example or question", where, item, (Example, Question), words)
    for name, value in fields.items():
        expect(task, type(item).__name__, f"{name} of {where}", value, str, "a text (str)")
        try:
            str(value).encode()
        except UnicodeEncodeError as error:
            raise SpectraError(
                f"{where}: the {name} has {error.object[error.start]!a} at character {error.start + 1}, half of a surrogate "
                "pair, which is no text. Repair or remove the row."
            ) from error
    return None
