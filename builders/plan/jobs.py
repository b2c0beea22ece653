"""Divides a plan into jobs: trainings of one shape for one fleet. A job can be run again at any time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from builders.plan.cost import training_flop
from builders.plan.device_shape import DeviceShape
from builders.plan.fleet_shape import FleetShape
from builders.plan.trainings import PlannedTraining

_REFILLS = 4  # trainings a slot: more keep slots busy, fewer balance the workers


@dataclass(frozen=True)
class Job:
    """Trainings of one shape in plan order, or of several for a card, which works on them at once."""

    shape: FleetShape  # of the first training where they differ
    trainings: tuple[PlannedTraining, ...]
    device: str = ""  # the card that it is for, "cuda:0"; empty for whatever the worker has

    @property
    def flop_per_image(self) -> int:
        """Operations of training one network on one image; of the job's first shape."""
        return training_flop(self.shape.architecture)


def make_jobs(trainings: Iterable[PlannedTraining], backend: str = "portable") -> list[Job]:
    """Return jobs that cover the trainings, the costliest first, so that no long one is left for the end.

    Args:
        trainings: in plan order.
        backend: of the CPU. ``"native"`` trains one network after another, so a job is one training.
    """
    by_shape: dict[FleetShape, list[PlannedTraining]] = defaultdict(list)
    for training in trainings:
        by_shape[FleetShape.of(training.hyperparameters)].append(training)
    jobs = []
    for shape, members in by_shape.items():
        n = 1 if backend == "native" else shape.max_members * _REFILLS
        jobs += [Job(shape, tuple(members[i : i + n])) for i in range(0, len(members), n)]
    return sorted(jobs, key=lambda job: -job.flop_per_image * len(job.trainings))


def make_device_jobs(trainings: Iterable[PlannedTraining], devices: Sequence[str]) -> list[Job]:
    """Return one job for each device, of about the same cost; fewer when there is not enough to do.

    Args:
        trainings: of any shapes. Those of one shape stay together in pieces that fill a fleet a few times.
        devices: names of cards; a name may be repeated, or empty for whatever card the worker has.
    """
    pieces = _pieces(trainings)
    shares: list[list[PlannedTraining]] = [[] for _ in devices]
    costs = [0.0] * len(devices)
    for piece in pieces:
        least = costs.index(min(costs))
        shares[least] += piece
        costs[least] += _cost(piece)
    return [
        Job(FleetShape.of(share[0].hyperparameters), tuple(share), device)
        for share, device in zip(shares, devices, strict=True)
        if share
    ]


def _pieces(trainings: Iterable[PlannedTraining]) -> list[list[PlannedTraining]]:
    """Return pieces of one device shape, the costliest first."""
    by_shape: dict[DeviceShape, list[PlannedTraining]] = defaultdict(list)
    for training in trainings:
        by_shape[DeviceShape.of(training.hyperparameters)].append(training)
    pieces = []
    for shape, members in by_shape.items():
        n = shape.slots * _REFILLS
        pieces += [members[i : i + n] for i in range(0, len(members), n)]
    return sorted(pieces, key=lambda piece: -_cost(piece))


def _cost(piece: Sequence[PlannedTraining]) -> float:
    return float(training_flop(DeviceShape.of(piece[0].hyperparameters).architecture)) * len(piece)
