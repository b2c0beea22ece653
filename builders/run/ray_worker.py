"""What runs on the nodes of a Ray cluster: a job, after a look at whether the node fits the build, and the message board.

Loads nothing but the standard library until it has looked, so that a node without torch can say so.
"""

from __future__ import annotations

import pickle
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.run.messages import Finished, Progress

if TYPE_CHECKING:
    from builders.run.queue import Run

_PATIENCE_S = 5.0  # for a network file system to show the token


@dataclass(frozen=True)
class Order:
    """A run of a job, and what a node must have for it."""

    run: int
    content: bytes  # of (job, settings); unpickled once torch is known to be there
    staging: str
    token: str
    torch_version: str
    compute_path: str

    @classmethod
    def of(cls, run: Run, settings: Any, torch_version: str, compute_path: str) -> Order:
        """Pack a run."""
        content = pickle.dumps((run.job, settings))
        return cls(run.number, content, str(settings.staging), settings.token, torch_version, compute_path)


@dataclass(frozen=True)
class Done:
    """The job is staged."""

    finished: tuple[Finished, ...]
    n_images: int  # images x models of the run, whatever became of its messages


@dataclass(frozen=True)
class Failed:
    """The build cannot go on."""

    message: str


@dataclass(frozen=True)
class Unfit:
    """The node computes other bits than the build; the job was not started."""

    node_id: str
    reason: str


def run_order(order: Order, board: Any) -> Done | Failed | Unfit:
    """Run a job on this node. An ``NWSError`` is an answer, not an exception: it is no reason to try again."""
    if problem := _missing(order):
        return Failed(problem)
    from builders.compute.compute_path import enter_compute_path
    from builders.compute.trainer import Interrupted
    from builders.run.environment import compute_path_of
    from builders.run.worker import Reporter, run_job
    from nws_data.errors import NWSError

    enter_compute_path()
    try:
        job, settings = pickle.loads(order.content)
        if (path := compute_path_of(settings)) != order.compute_path:
            return Unfit(_node_id(), f"{_node()} computes by {path}, this build by {order.compute_path}")
        outbox = Outbox(lambda messages: board.post.remote(messages), _has_arrived)
        run_job(job, settings, Reporter(outbox.send, lambda: False, order.run))
        return Done(tuple(outbox.finished), outbox.n_images)
    except NWSError as error:
        return Failed(f"{_node()}: {error}")
    except Interrupted:
        return Failed(f"{_node()}: the build's folder {order.staging} belongs to another build now")


def _missing(order: Order) -> str | None:
    """Return what the node lacks for the build, in words."""
    try:
        import torch

        from builders.run.token import sees_token
        from builders.run.worker import run_job  # noqa: F401 - whether all it needs is installed
    except ImportError as error:
        return (
            f"{_node()} cannot import {error.name} ({error}): install the same packages on all nodes, such as "
            "`pip install nws-data[build,ray]`, and run the same command again"
        )
    if torch.__version__ != order.torch_version:
        return (
            f"{_node()} has torch {torch.__version__}, this machine {order.torch_version}: the bits would differ; install "
            "the same version on all nodes and run the same command again"
        )
    if not sees_token(Path(order.staging), order.token, _PATIENCE_S):
        return (
            f"{_node()} does not see the build's folder {order.staging}: --out has to lie on a file system that all nodes "
            "share and mount under the same path"
        )
    return None


class Outbox:
    """Posts messages to the board without waiting, one parcel at a time, so that a slow or dead board costs nothing.

    The sums are kept as well: the job's answer repeats them, whatever became of the board.

    Args:
        post: sends messages and returns a ticket.
        has_arrived: whether a ticket's parcel was taken, or will never be.
    """

    def __init__(self, post: Callable[[list[Progress | Finished]], Any], has_arrived: Callable[[Any], bool]) -> None:
        self._post, self._has_arrived = post, has_arrived
        self._ticket: Any = None
        self._messages: list[Progress | Finished] = []
        self.finished: list[Finished] = []
        self.n_images = 0

    def send(self, message: Progress | Finished) -> None:
        """Post a message, or keep it until the last parcel has arrived."""
        if isinstance(message, Finished):
            self.finished.append(message)
        else:
            self.n_images += message.n_images
        self._messages.append(message)
        if self._ticket is None or self._has_arrived(self._ticket):
            self._ticket = self._post(self._messages)
            self._messages = []


class Board:
    """An actor that keeps the workers' messages until the driver takes them."""

    def __init__(self) -> None:
        self._messages: list[Progress | Finished] = []

    def post(self, messages: list[Progress | Finished]) -> None:
        """Leave messages."""
        self._messages += messages

    def take(self) -> list[Progress | Finished]:
        """Return the messages since the last call."""
        taken, self._messages = self._messages, []
        return taken


def _has_arrived(ticket: Any) -> bool:
    import ray

    return bool(ray.wait([ticket], timeout=0)[0])


def _node_id() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _node() -> str:
    import ray

    return f"node {ray.util.get_node_ip_address()} ({platform.node()})"
