"""Which engine runs the jobs of a build, and its options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nws_data.errors import BuildError, one_of

if TYPE_CHECKING:
    from builders.plan.jobs import Job
    from builders.run.messages import Message
    from builders.run.worker import WorkerSettings

ENGINES = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine by name. Raises ``BuildError`` on an option that is not allowed."""

    name: str = "local"
    address: str | None = None  # of a Ray cluster, see RayOptions
    gpus_per_fleet: float = 1.0  # what a job takes of Ray's GPUs, when it runs on one

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise BuildError(f"--engine: {one_of(self.name, ENGINES)}")
        if self.address is not None and self.name != "ray":
            raise BuildError(f"--address {self.address} belongs to --engine ray; give both, or neither")
        if not 0 < self.gpus_per_fleet <= 1:
            raise BuildError(f"--gpus-per-fleet must be above 0 and at most 1, got {self.gpus_per_fleet:g}")

    def run_jobs(
        self, jobs: Iterable[Job], settings: WorkerSettings, n_workers: int, report: Callable[[Message], None]
    ) -> None:
        """Run all jobs; see ``run_jobs`` of the engine's module.

        Args:
            jobs: in the order in which to start them.
            settings: for the workers.
            n_workers: processes on this machine; a Ray cluster has its own size.
            report: called in this process with every message of progress.
        """
        if self.name == "local":
            from builders.run import local

            local.run_jobs(jobs, settings, n_workers, report)
        else:
            from builders.run import ray
            from builders.run.ray_cluster import RayOptions

            ray.run_jobs(jobs, settings, RayOptions(self.address, n_workers, self.gpus_per_fleet), report)
