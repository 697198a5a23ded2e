"""How a Ray cluster is found: the one at an address, a running one on this machine, or one that is started for the work."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import numpy as np

import spectra
from spectra.devices import cores
from spectra.errors import SpectraError, first_line
from spectra.variables import inherited

_KNOCK_SECONDS = 5.0
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}


def join(
    address: str | None,
    workers: int | None,
    message: Callable[[str], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Any, bool, bool]:
    """The module `ray`, connected; whether a local Ray was started here (of `workers` CPUs, or all cores); whether to leave it.

    A process that is connected already stays so.

    Args:
        address: of a running cluster; None: `RAY_ADDRESS`, else one on this machine, else a new one; `local`: a new one.
        environment: variables of the workers of a Ray that is started here; those of a running one have their own.

    Raises:
        SpectraError: Ray is not installed, or no cluster answers at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise SpectraError("--engine ray needs Ray: pip install 'spectra-plasticity[ray]'.") from error
    if ray.is_initialized():
        return ray, False, False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a local Ray tells nobody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # tasks without a GPU see what they saw
    where = address or os.environ.get("RAY_ADDRESS") or None
    if where != "local":
        if where is not None:
            _knock(where)  # Ray itself tries for minutes
        try:
            ray.init(address=where or "auto", **_QUIET)
            return ray, False, True
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            if where is not None:
                raise _no_answer(where, error) from error
            if message is not None:
                message("no Ray cluster here: starting one on this machine")
    with inherited(environment or {}):
        ray.init(address="local", num_cpus=workers or cores(), include_dashboard=False, **_QUIET)
    return ray, True, True


def versions(*libraries: str) -> dict[str, str]:
    """What must be the same on every node for results to be the same; `libraries`: beside ours and NumPy's."""
    found = {"spectra-plasticity": spectra.__version__, "numpy": np.__version__}
    for name in libraries:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def check_versions(driver: Mapping[str, str]) -> None:
    """In a task: refuse other versions than the driver's.

    Raises:
        SpectraError: names what differs.
    """
    here = versions(*(name for name in driver if name not in versions()))
    if here != driver:
        told = "; ".join(
            f"{name} {driver[name]} here and {here[name]} on a worker" for name in driver if driver[name] != here[name]
        )
        raise SpectraError(f"The Ray cluster has other versions: {told}. Install the same on every node.")


def _knock(address: str) -> None:
    """Refuse an address at which nothing listens. Names such as `auto` are left to Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(address, error) from error


def _no_answer(address: str, error: BaseException) -> SpectraError:
    return SpectraError(
        f"No Ray cluster answers at {address} ({first_line(error).rstrip('.')}). Give --address (or RAY_ADDRESS) of a running one, "
        "or neither to start Ray on this machine."
    )
