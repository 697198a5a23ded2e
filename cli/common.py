"""Exit codes and error messages, the same for both programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from spectra.errors import SpectraError


def run(app: Callable[[], object]) -> None:
    """Run a Typer app: 0 done, 1 strictness fell short, 2 the input is wrong (one message, no traceback), 130 interrupted.

    With `--debug` anywhere on the command line errors keep their traceback.
    """
    debug = "--debug" in sys.argv
    try:
        app()
    except SpectraError as error:
        if debug:
            raise
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.stderr.flush()
        sys.stdout.flush()
        # Worker threads may be minutes deep in LAPACK; a normal exit would wait for them. Everything worth keeping is on disk.
        os._exit(130)
    except BrokenPipeError:
        os._exit(0)  # `spectra ... | head`: nobody reads on, and a flush at exit would fail again
