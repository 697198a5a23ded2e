"""Hub ids without a network: no minutes of retries, no noise of them; the cache is taken at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR
from urllib.parse import urlsplit
from urllib.request import getproxies


@contextmanager
def hub_session() -> Iterator[None]:
    """huggingface_hub without its warnings of retries; what `offline_without_network` switched is back afterwards."""
    from huggingface_hub import constants
    from huggingface_hub.utils import logging

    was, level = constants.HF_HUB_OFFLINE, logging.get_verbosity()
    logging.set_verbosity(ERROR)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was
        logging.set_verbosity(level)


def offline_without_network() -> str | None:
    """Switch the hub's offline mode on where its host has no address; the host then, else None. Inside `hub_session`."""
    from huggingface_hub import constants

    if (
        constants.HF_HUB_OFFLINE or {"https", "all"} & getproxies().keys()
    ):  # a proxy knows names that are not known here
        return None
    host = urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        constants.HF_HUB_OFFLINE = True
        return host
    return None
