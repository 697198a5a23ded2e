"""The process that runs math-verify: a line of JSON in, a line of JSON out. Started by path, by `answer_pool`, and by nothing else.

Its first line says whether it can work. Every request carries its time limit; the process ends itself when it is over (SIGALRM in
its default action, so that arithmetic on huge integers cannot outlive it, nor outlive a killed parent), and at end of input.
It imports nothing of the project.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from typing import Any

_MEMORY_BYTES = 4 * 2**30  # address space: a power tower is to fail here, not to fill the machine


def _limit_memory() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(_MEMORY_BYTES, hard)
    if soft == resource.RLIM_INFINITY or soft > limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _same(library: Any, first: str, second: str, *, box: bool) -> bool:
    """math-verify's verdict, in either direction; its own time limits are off, since they cannot stop a C function."""
    one, two = (library.parse(f"\\boxed{{{text}}}" if box else text, parsing_timeout=None) for text in (first, second))
    return any(bool(library.verify(gold, target, timeout_seconds=None)) for gold, target in ((one, two), (two, one)))


def main() -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    answers = sys.stdout
    sys.stdout = sys.stderr  # a library's print must not look like an answer
    try:
        import importlib

        library = importlib.import_module("math_verify")
        _same(library, "1/2", "0.5", box=True)  # loads what math-verify loads late
    except ImportError as error:
        print(json.dumps({"ready": False, "error": str(error)}), file=answers, flush=True)
        return
    logging.disable(logging.CRITICAL)
    _limit_memory()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        try:
            same = _same(library, request["first"], request["second"], box=request["box"])
        except Exception:  # noqa: BLE001 -- whatever a parser raises on a model's text, the text is not shown to be equal
            same = False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps({"same": same}), file=answers, flush=True)


if __name__ == "__main__":
    main()
