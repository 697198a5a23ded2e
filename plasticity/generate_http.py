"""One JSON request to a server, tried again where that can help; the standard library's client: nothing to install."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spectra.errors import SpectraError

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_SHOWN = 300  # characters of a server's answer in a message


class RejectedError(SpectraError):
    """The server says that the request itself is wrong (a 4xx status)."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, and how often to try.

    Attributes:
        timeout_seconds: without a byte from the server.
        tries: requests in all, for connection errors, timeouts and the statuses 408, 425, 429 and 5xx.
        pause_seconds: before the second try; doubled each time, up to 30 seconds. A server's Retry-After goes before it.
    """

    timeout_seconds: float = 600.0
    tries: int = 6
    pause_seconds: float = 0.5

    def __post_init__(self) -> None:
        if self.timeout_seconds <= 0 or self.tries < 1 or self.pause_seconds < 0:
            raise SpectraError(
                f"Timeout {self.timeout_seconds} s, {self.tries} tries, pause {self.pause_seconds} s; expected a timeout above 0, "
                "at least 1 try and no negative pause."
            )


def post(
    url: str, body: Mapping[str, Any], headers: Mapping[str, str], patience: Patience, stopped: threading.Event
) -> dict[str, Any]:
    """The JSON object that the server answers with.

    Args:
        stopped: once set, nothing is tried again.

    Raises:
        RejectedError: a status that trying again does not change.
        SpectraError: no server, no answer in time, or an answer that is no JSON object.
    """
    pause = patience.pause_seconds
    data = json.dumps(body).encode()
    for number in range(1, patience.tries + 1):
        request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method="POST")
        wait = pause
        try:
            with urllib.request.urlopen(request, timeout=patience.timeout_seconds) as answer:
                raw: bytes = answer.read()
            return _object(url, raw)
        except urllib.error.HTTPError as error:
            said = _words(error)
            if error.code not in _AGAIN:
                raise RejectedError(f"POST {url} was refused with status {error.code}: {said}.") from error
            reason, wait = f"status {error.code}: {said}", _retry_after(error, pause)
        except TimeoutError:
            reason = f"no answer within {patience.timeout_seconds:g} s"
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            cause = getattr(error, "reason", error)
            late = isinstance(cause, TimeoutError)
            reason = f"no answer within {patience.timeout_seconds:g} s" if late else f"{type(cause).__name__}: {cause}"
        if number == patience.tries or stopped.wait(wait):
            break
        pause = min(2 * pause, 30.0)
    raise SpectraError(
        f"POST {url} failed {number} times, last with {reason}. Look whether the server is up and at this address, then resume."
    )


def _object(url: str, raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        shown = raw[:_SHOWN].decode("utf-8", "replace")
        raise SpectraError(
            f"POST {url} answered {shown!r}; expected a JSON object. Look whether it is an OpenAI-compatible server."
        )
    return found


def _words(error: urllib.error.HTTPError) -> str:
    """What the body of an error says."""
    try:
        return " ".join(error.read().decode("utf-8", "replace").split())[:_SHOWN] or "(no words)"
    except (OSError, http.client.HTTPException):
        return "(no words)"


def _retry_after(error: urllib.error.HTTPError, pause: float) -> float:
    """Seconds that the server asks to wait, at most 60; dates are not read."""
    said = error.headers.get("Retry-After", "")
    return min(float(said), 60.0) if said.isdigit() else pause
