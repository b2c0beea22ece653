"""A Ray of the tests' own, and its processes as the system sees them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from builders.run.processes import _server
from tests.crash.processes import process_ids

DEADLINE_S = 120.0
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Keep everything Ray writes in a folder of its own, so that nobody finds this cluster by chance; short, for sockets."""
    _server()  # of workers, with the variables of before: it outlives this Ray
    folder = Path(tempfile.mkdtemp(prefix="nws-ray-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (*QUIET.items(), ("RAY_TMPDIR", str(folder))):
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ray_cluster(n_cpus: int) -> Iterator[Any]:
    """Start a cluster of one node; ``add_node`` and ``remove_node`` change it."""
    from ray.cluster_utils import Cluster

    with ray_folder():
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": n_cpus, "include_dashboard": False})
        try:
            yield cluster
        finally:
            cluster.shutdown()


@contextmanager
def another_node(cluster: Any, **variables: str) -> Iterator[Any]:
    """Add a node of one CPU whose processes see these environment variables."""
    node = cluster.add_node(num_cpus=1, env_vars=variables)
    try:
        yield node
    finally:
        if node in cluster.worker_nodes:
            cluster.remove_node(node)


def workers(node: Any, title: str = "ray::run_order") -> list[int]:
    """Return the ids of a node's worker processes that are at a task or actor of this title."""
    (raylet,) = node.all_processes["raylet"]
    return [pid for pid in process_ids() if _parent(pid) == raylet.process.pid and _title(pid).startswith(title)]


def kill(pids: list[int]) -> None:
    """Kill -9 those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def stopped(node: Any) -> list[int]:
    """Stop a node's worker processes; return the ids of those that were still at a job then."""
    for pid in workers(node):
        os.kill(pid, signal.SIGSTOP)
    return workers(node)


def processes_of(folder: Path) -> list[int]:
    """Return the ids of the processes that were started with this folder as Ray's, this one left out."""
    wanted = f"RAY_TMPDIR={folder}".encode()
    found = [pid for pid in process_ids() if wanted in _read(pid, "environ").split(b"\0")]
    return [pid for pid in found if pid != os.getpid()]


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return the condition's value once it is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"no {what} in {DEADLINE_S:.0f} s"
        time.sleep(0.05)
    return value


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has just ended, or belongs to somebody else
        return b""


def _title(pid: int) -> str:
    return _read(pid, "cmdline").decode(errors="replace")


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0
