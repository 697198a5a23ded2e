"""The one exception that users see: what was got, what was expected, what to do."""

from __future__ import annotations


class SpectraError(Exception):
    """The user's input cannot be used. The message is one sentence or two, meant for the user as it is.

    The command line prints it without a traceback and exits with 2.
    """


class CheckpointError(SpectraError):
    """A checkpoint cannot be opened or read; the message names the file and, where there is one, the tensor."""


class OtherWorkError(SpectraError):
    """A folder holds work that was begun otherwise, so that it cannot be gone on with; the message says what differs.

    Whoever knows that nothing else is lost by it may delete the folder and begin anew.
    """


def first_line(error: BaseException) -> str:
    """The first line of what a library says, for a message of ours; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
