"""Exit codes and error messages, the same for both programs.

0 done; 1 done, but something the user asked to be strict about fell short; 2 the input is wrong (one message, no traceback);
70 a bug of ours (traceback); 130 interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, ParamSpec

import typer

from spectra.errors import SpectraError

P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a command's exceptions into exit codes, before Typer does (it knows neither our errors nor broken pipes)."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except SpectraError as error:
            if "--debug" in sys.argv:
                traceback.print_exc()
            sys.stderr.write(f"error: {error}\n")
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            _leave(130)
        except BrokenPipeError:  # `spectra ... | head`: nobody reads on
            _leave(0)
        except typer.Exit:
            raise
        except Exception:  # noqa: BLE001 -- whatever it is, it must not look like a --strict that fell short
            traceback.print_exc()
            sys.stderr.write(
                "error: this is a bug in spectra, not in your input; please report it with the lines above.\n"
            )
            raise typer.Exit(70) from None

    return run


def integers(text: str, option: str) -> list[int]:
    """`5,15` -> [5, 15].

    Raises:
        SpectraError: a part is not a whole number.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise SpectraError(f"{option} {text!r}: expected whole numbers separated by commas, such as 100,200.") from None


def _leave(code: int) -> NoReturn:
    """Exit at once: worker threads may be minutes deep in LAPACK, and everything worth keeping is on disk."""
    for stream in (sys.stderr, sys.stdout):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
