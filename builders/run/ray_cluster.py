"""The connection to Ray: an existing cluster, or one started here; the code travels with it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from builders.run.interrupts import same_handlers
from nws_data.errors import BuildError

ROOT = Path(__file__).parents[2]

_OBJECT_STORE_BYTES = 100 * 1024**2  # of a Ray started here: messages are small
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no statistics over the network
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # nodes use the Python that they were started with
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else each worker warns of a change to come
}
_ANSWER_S = 10.0  # how long the head of a cluster may take to take a connection


@contextmanager
def connected(address: str | None, n_workers: int) -> Iterator[str]:
    """Connect to Ray and yield a line that says to which; afterwards stop what was started here, and nothing else.

    Without an address it is RAY_ADDRESS, else the cluster that `ray start` joined this machine to, else "local", which
    starts a Ray of ``n_workers`` CPUs here.

    Raises:
        BuildError: Ray is not installed, cannot be reached, or this process is connected already.
    """
    ray = import_ray()
    if ray.is_initialized():
        raise BuildError("this process is connected to Ray already; call ray.shutdown() before the build")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        # Ray puts the current folder ahead of all else where workers look for modules. Were it the checkout, they would
        # take it from there instead of what was shipped, edited meanwhile or not.
        with chdir(ROOT.anchor), same_handlers():
            started = _start_or_join(ray, address, n_workers)
        yield _describe(ray, started)
    finally:
        ray.shutdown()


def import_ray() -> Any:
    """Return the module; raises ``BuildError`` when the extra is not installed."""
    try:
        import ray
    except ImportError as error:
        raise BuildError(
            f"--engine ray needs Ray ({error}); install it with `pip install 'nws-data[ray]'`, or use --engine local"
        ) from error
    return ray


def _start_or_join(ray: Any, address: str | None, n_workers: int) -> bool:
    """Connect; return whether a Ray was started for it."""
    common: dict[str, Any] = {
        "runtime_env": runtime_env(),
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "include_dashboard": False,
    }
    start = {"num_cpus": n_workers, "object_store_memory": _OBJECT_STORE_BYTES}
    address = address or os.environ.get("RAY_ADDRESS") or None
    _check_answers(address)
    try:
        if address not in (None, "local"):
            ray.init(address=address, **common)
            return False
        try:
            ray.init(address=address, **start, **common)
            return True
        except ValueError:  # `ray start` was run on this machine: a cluster that is joined has its resources already
            if address == "local":
                raise
            ray.init(**common)
            return False
    except Exception as error:  # a node that does not start in half a minute, as on a busy machine, is a plain Exception
        raise BuildError(_no_ray(address, error)) from error


def _check_answers(address: str | None) -> None:
    """Raise ``BuildError`` unless something listens at HOST:PORT: Ray itself would try for minutes without a word."""
    if address in (None, "local", "auto"):
        return
    host, colon, port = str(address).rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise BuildError(f"--address {address}: give HOST:PORT of the cluster's head, as `ray status` shows it, or local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, UnicodeError) as error:
        raise BuildError(_no_ray(address, error)) from error


def _no_ray(address: str | None, error: Exception) -> str:
    where = f"at {address}" if address else "on this machine"
    return (
        f"cannot use Ray {where}: {str(error).strip().rstrip('.')}. `ray status` shows whether a cluster runs; "
        "`--address local` starts one for this build alone, if the machine is not too busy; --engine local does without"
    )


def runtime_env() -> dict[str, Any]:
    """Return what workers are started with: the packages of this checkout, ahead of any installed ones, and one thread."""
    return {
        "py_modules": [str(ROOT / name) for name in ("nws_data", "builders")],
        "excludes": ["__pycache__", "*.pyc", "*.so"],
        "env_vars": {"OMP_NUM_THREADS": "1"},
    }


def _describe(ray: Any, started: bool) -> str:
    nodes, resources = [node for node in ray.nodes() if node["Alive"]], ray.cluster_resources()
    what = ", ".join(f"{resources[kind]:g} {kind}s" for kind in ("CPU", "GPU") if resources.get(kind))
    where = "started one here for this build alone" if started else f"cluster at {ray.get_runtime_context().gcs_address}"
    return f"Ray: {where}, {what} on {len(nodes)} node{'' if len(nodes) == 1 else 's'}"
