"""What runs on the nodes of a Ray cluster: a job, after a look at whether the node fits the build.

Loads nothing heavy until it has looked, so that a node without torch can say so.
"""

from __future__ import annotations

import pickle
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builders.run.messages import Finished, Progress
from nws_data.errors import BuildError, NWSError

_PATIENCE_S = 5.0  # for a network file system to show the token


@dataclass(frozen=True)
class Unfit:
    """The node computes other bits than the build; the job was not started."""

    node_id: str
    reason: str


def run_order(
    content: bytes, staging: Path, token: str, torch_version: str, compute_path: str
) -> Iterator[Progress | Finished | BuildError | Unfit]:
    """Run a job on this node; yield its messages. An error is one, not an exception: it is no reason to try again.

    ``content`` is (job, settings), pickled: loaded once torch is known to be there. The rest is what a node must have.
    """
    import ray

    if problem := _missing(staging, token, torch_version):
        yield BuildError(problem)
        return
    from builders.compute.compute_path import enter_compute_path, path_of
    from builders.run.worker import run_job

    enter_compute_path()
    try:
        job, settings = pickle.loads(content)
        if (path := path_of(settings.backend, settings.precision)) != compute_path:
            reason = f"{_node()} computes by {path}, this build by {compute_path}"
            yield Unfit(str(ray.get_runtime_context().get_node_id()), reason)
        else:
            yield from run_job(job, settings)
    except NWSError as error:
        yield BuildError(f"{_node()}: {error}")


def _missing(staging: Path, token: str, torch_version: str) -> str | None:
    try:
        import torch

        from builders.run.worker import run_job  # noqa: F401 - whether all it needs is installed
        from builders.run.workspace import appears
    except ImportError as error:
        return (
            f"{_node()} cannot import {error.name} ({error}): install the same packages on all nodes, such as "
            "`pip install nws-data[build,ray]`, and run the same command again"
        )
    if torch.__version__ != torch_version:
        return (
            f"{_node()} has torch {torch.__version__}, this machine {torch_version}: the bits would differ; install "
            "the same version on all nodes and run the same command again"
        )
    if not appears(staging / token, _PATIENCE_S):
        return (
            f"{_node()} does not see the build's folder {staging}: --out has to lie on a file system that all nodes "
            "share and mount under the same path"
        )
    return None


def _node() -> str:
    import ray

    return f"node {ray.util.get_node_ip_address()} ({platform.node()})"
