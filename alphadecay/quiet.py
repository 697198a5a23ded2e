"""transformers' own progress bars, off for the length of a block: loading and saving is said in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Bars are back as they were afterwards."""
    from transformers.utils import logging

    were = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if were:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
