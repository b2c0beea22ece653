"""The engine for clusters: every job is a Ray task, on whatever node has a CPU or a part of a GPU free.

Ray's own retries are off and the queue's are used: they are the same for both engines, tell the user, are bounded for
workers that ran out of memory too (Ray's are not), and count anew when a job gets somewhere.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch

from builders.compute.compute_path import path_of
from builders.plan.jobs import Job
from builders.run.interrupts import deferred_interrupts
from builders.run.messages import Finished, Message, Progress
from builders.run.queue import JobQueue
from builders.run.ray_cluster import connected, import_ray
from builders.run.ray_worker import Unfit, run_order
from builders.run.worker import WorkerSettings
from builders.run.workspace import appears, staging_token
from nws_data.errors import BuildError

_POLL_S = 0.5
_PATIENCE_S = 10.0  # how long a task may take to stop by itself
_LAG_S = 90.0  # how late a network file system may show what another node has written
_AT_ONCE = 2000  # tasks that Ray has at most: it slows down with many thousands, and the rest waits here in order
_NODE_LABEL = "ray.io/node-id"


def run_jobs(
    jobs: Iterable[Job],
    settings: WorkerSettings,
    n_workers: int,
    report: Callable[[Message], None],
    address: str | None = None,
    gpus_per_fleet: float = 1.0,
) -> None:
    """Run all jobs on a cluster, as :func:`builders.run.local.run_jobs` does here; all nodes must see the settings' folders.

    Nodes whose processors compute other bits than this machine's are left unused and named; a node that has another torch or
    does not see the folder ends the build, since that can be put right. ``n_workers`` and ``address`` are those of
    :func:`builders.run.ray_cluster.connected`; a job on a GPU takes ``gpus_per_fleet`` of it. Raises ``BuildError`` also
    without Ray or a node that fits.
    """
    queue = JobQueue(jobs)
    if not len(queue):
        return
    import_ray()
    settings = replace(settings, images=settings.images.resolve(), staging=settings.staging.resolve())
    with (
        staging_token(settings.staging) as token,
        deferred_interrupts() as check_interrupt,
        connected(address, n_workers) as description,
    ):
        report(description)
        tasks = _Tasks(queue, replace(settings, token=token), gpus_per_fleet, report)
        try:
            tasks.run(check_interrupt)
        finally:
            tasks.stop()


class _Tasks:
    def __init__(
        self, queue: JobQueue, settings: WorkerSettings, gpus_per_fleet: float, report: Callable[[Message], None]
    ) -> None:
        self._ray = ray = import_ray()
        self._queue, self._settings, self._report = queue, settings, report
        self._path = path_of(settings.backend, settings.precision)
        self._needs = {"num_cpus": 1.0} | ({"num_gpus": gpus_per_fleet} if settings.device != "cpu" else {})
        self._task = ray.remote(run_order)
        self._jobs: dict[Any, Job] = {}  # by Ray's generator of a task's messages
        self._unfit: dict[str, str] = {}  # reasons by node

    def run(self, check_interrupt: Callable[[], None]) -> None:
        """Run the queue until it is empty; ``check_interrupt`` may raise ``KeyboardInterrupt`` at any turn."""
        while True:
            check_interrupt()
            self._submit()
            if not (tasks := list(self._jobs)):
                return
            if self._ray.wait(tasks, timeout=_POLL_S)[0]:
                for task in self._ray.wait(tasks, num_returns=len(tasks), timeout=0)[0]:
                    self._take(task)
            else:
                self._check_nodes()

    def stop(self) -> None:
        """Cancel what runs, wait a little, and end what does not stop."""
        for force in (False, True):
            if not self._jobs:
                return
            for task in self._jobs:
                self._ray.cancel(task, force=force)
            ends = {task.completed(): task for task in self._jobs}
            for end in self._ray.wait(list(ends), num_returns=len(ends), timeout=_PATIENCE_S)[0]:
                del self._jobs[ends[end]]

    def _submit(self) -> None:
        unfit = {"label_selector": {_NODE_LABEL: f"!in({','.join(sorted(self._unfit))})"}} if self._unfit else {}
        task = self._task.options(num_returns="streaming", max_retries=0, **self._needs, **unfit)
        settings = self._settings
        while len(self._jobs) < _AT_ONCE and (job := self._queue.take()) is not None:
            must_have = settings.staging, settings.token, str(torch.__version__), self._path
            self._jobs[task.remote(pickle.dumps((job, settings)), *must_have)] = job

    def _take(self, task: Any) -> None:
        """Act on a task's next message, or its end; raises ``BuildError`` when the build cannot go on."""
        try:
            message: Progress | Finished | BuildError | Unfit = self._ray.get(next(task))
        except StopIteration:
            del self._jobs[task]
            return
        except self._ray.exceptions.RayTaskError:  # an error of the code
            raise
        except self._ray.exceptions.RuntimeEnvSetupError as error:
            raise BuildError(f"Ray could not bring the code to a node: {error}") from error
        except self._ray.exceptions.RayError as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self._report(self._queue.lost(self._jobs.pop(task), f"a worker or its node died ({first})"))
            return
        if isinstance(message, BuildError):
            raise message
        if isinstance(message, Unfit):
            self._queue.put_back(self._jobs.pop(task))
            if message.node_id not in self._unfit:
                self._report(f"{message.reason}: the bits would differ, so it is left unused")
            self._unfit[message.node_id] = message.reason
            self._check_nodes()
            return
        if isinstance(message, Finished):
            self._queue.note(message)
            if not appears(path := self._settings.staging / f"{message.training}.safetensors", _LAG_S):
                raise BuildError(
                    f"a worker has staged {path.name}, but {path.parent} does not show it here: --out has to lie on a file "
                    "system that all nodes share"
                )
        self._report(message)

    def _check_nodes(self) -> None:
        """Raise ``BuildError`` where no node is left that fits; a dead one counts for a while, so this is asked again."""
        if not self._unfit:
            return
        others = [node for node in self._ray.nodes() if node["Alive"] and node["NodeID"] not in self._unfit]
        if not any(node["Resources"].get("CPU") for node in others):
            reason = list(self._unfit.values())[-1]
            raise BuildError(
                f"no node computes as this machine does ({reason}). Run the command on a node of the kind that shall "
                "do the work"
            )
