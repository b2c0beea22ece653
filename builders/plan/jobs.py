"""Divides a plan into jobs: trainings that one worker computes. A job can be run again at any time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from builders.plan.shape import Shape, training_flop
from builders.plan.trainings import PlannedTraining
from nws_data.space.architecture import Architecture

_REFILLS = 4  # trainings a slot of a card's fleet: more keep slots busy, fewer balance the cards


@dataclass(frozen=True)
class Job:
    """One training for a CPU, or many of any shapes for a card, which works on them at once."""

    trainings: tuple[PlannedTraining, ...]
    device: str = ""  # the card that it is for, "cuda:0"; empty for whatever the worker has

    @property
    def name(self) -> str:
        """The training of a job of one, such as ``random-000017``, else the first and how many more."""
        more = f" and {len(self.trainings) - 1} more" if len(self.trainings) > 1 else ""
        return f"{self.trainings[0].id}{more}"

    @property
    def flop_per_image(self) -> int:
        """Operations of training one network on one image; of the job's first training."""
        return training_flop(Architecture.of(self.trainings[0].hyperparameters))


def make_jobs(trainings: Iterable[PlannedTraining]) -> list[Job]:
    """Return a job for each training, the costliest first, so that no long one is left for the end."""
    return sorted((Job((planned,)) for planned in trainings), key=lambda job: -job.flop_per_image)


def make_card_jobs(trainings: Iterable[PlannedTraining], devices: Sequence[str]) -> list[Job]:
    """Return one job for each card, of about the same cost; fewer when there is not enough to do.

    Trainings of one shape stay together in pieces that fill a fleet a few times. Names of cards may be repeated, or empty
    for whatever card the worker has.
    """
    by_shape: dict[Shape, list[PlannedTraining]] = defaultdict(list)
    for training in trainings:
        by_shape[Shape.of(training.hyperparameters)].append(training)
    pieces = []
    for shape, members in by_shape.items():
        n, flop = shape.card_slots * _REFILLS, float(training_flop(shape.architecture))
        pieces += [(flop * len(piece), piece) for piece in (members[i : i + n] for i in range(0, len(members), n))]
    shares: list[list[PlannedTraining]] = [[] for _ in devices]
    costs = [0.0] * len(devices)
    for cost, piece in sorted(pieces, key=lambda piece: -piece[0]):
        least = costs.index(min(costs))
        shares[least] += piece
        costs[least] += cost
    return [Job(tuple(share), device) for share, device in zip(shares, devices, strict=True) if share]
