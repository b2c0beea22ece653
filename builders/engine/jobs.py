"""Divides a plan into jobs: trainings of one shape for one fleet. A job can be run again at any time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from builders.cost import training_flop
from builders.plan import PlannedTraining
from builders.training.fleet import FleetShape

_REFILLS = 4  # trainings a slot: more keep slots busy, fewer balance the workers


@dataclass(frozen=True)
class Job:
    """Trainings of one shape in plan order."""

    shape: FleetShape
    trainings: tuple[PlannedTraining, ...]

    @property
    def flop_per_image(self) -> int:
        """Operations of training one network on one image."""
        return training_flop(self.shape.architecture)


def make_jobs(trainings: Iterable[PlannedTraining]) -> list[Job]:
    """Return jobs that cover the trainings, the costliest first, so that no long one is left for the end."""
    by_shape: dict[FleetShape, list[PlannedTraining]] = defaultdict(list)
    for training in trainings:
        by_shape[FleetShape.of(training.hyperparameters)].append(training)
    jobs = []
    for shape, members in by_shape.items():
        n = shape.max_members * _REFILLS
        jobs += [Job(shape, tuple(members[i : i + n])) for i in range(0, len(members), n)]
    return sorted(jobs, key=lambda job: -job.flop_per_image * len(job.trainings))
