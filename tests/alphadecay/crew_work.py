"""What workers of the tests do; imports nothing heavy, for each worker imports it anew."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spectra import provenance


def work(job: str, say: Callable[[str], None]) -> dict[str, Any]:
    """`die`: as the kernel kills what takes too much memory; `raise`; `child`: start a process; a variable of the environment;
    anything else: itself.
    """
    if job == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "raise":
        raise ValueError("no such thing")
    if job == "child":
        child = multiprocessing.get_context("fork").Process(target=print)
        child.start()
        child.join()
    say(f"at {job}")
    return {"job": job, "pid": os.getpid(), "seen": os.environ.get(job), "noted": provenance.code()}


def no_start(package: Path, *, times: int) -> None:
    """A package that kills the first so many processes that import it."""
    package.mkdir()
    (package / "__init__.py").write_text(
        "import os, pathlib, signal\n"
        f"tally = pathlib.Path({str(package / 'tally')!r})\n"
        f"if os.environ.get('DEADLY') and (not tally.exists() or tally.stat().st_size < {times}):\n"
        "    tally.open('a').write('x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    sys.path.insert(0, str(package.parent))
