"""Trains a queue of trainings of one shape in a fleet whose slots are refilled as members stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from builders.compute.compute_path import compute_path, default_cpu_backend
from builders.compute.member import Member, TrainingImages
from builders.compute.native.fleet import NativeFleet
from builders.compute.portable.fleet import Fleet
from builders.images.bank import ImageBank
from builders.plan.fleet_shape import FleetShape
from builders.plan.trainings import PlannedTraining
from nws_data.format.records import TrainingRecord


class Interrupted(Exception):
    """Training was asked to stop; unfinished members are dropped and start anew next time."""


def train_fleet(
    trainings: Iterable[PlannedTraining],
    bank: ImageBank,
    *,
    epoch_cap: int,
    precision: str = "float32",
    on_step: Callable[[int], None] = lambda n_images: None,
    backend: str | None = None,
) -> Iterator[TrainingRecord]:
    """Train trainings of one shape and yield each as it finishes.

    Args:
        trainings: pulled one by one as slots become free; all of one :class:`FleetShape`.
        bank: the build's images.
        epoch_cap: bound on epochs, at least 19.
        precision: ``"float32"`` or ``"bfloat16"``.
        on_step: called after each step with the number of images x models; may raise :class:`Interrupted`.
        backend: ``"native"`` or ``"portable"``; None takes the faster one that works here.
    """
    backend = backend or default_cpu_backend()
    path = compute_path(backend)
    queue = iter(trainings)
    first = next(queue, None)
    if first is None:
        return
    fleet = make_fleet(FleetShape.of(first.hyperparameters), precision, backend)
    members: list[Member] = []
    waiting: PlannedTraining | None = first
    while True:
        while waiting is not None and len(members) < fleet.slots:
            images = TrainingImages.of(bank, waiting.hyperparameters.dataset)
            member = Member(waiting, images, epoch_cap, type(fleet))
            fleet.load(len(members), member.initial_vector(), waiting.hyperparameters.optimizer)
            member.evaluate(fleet.vectors[len(members)])
            members.append(member)
            waiting = next(queue, None)
        if not members:
            return
        _step(fleet, members)
        on_step(fleet.shape.batch_size * len(members))
        yield from _retire(fleet, members, precision, path)


def make_fleet(shape: FleetShape, precision: str, backend: str) -> Fleet | NativeFleet:
    """Return the fleet of a backend."""
    return NativeFleet(shape, precision) if backend == "native" else Fleet(shape, precision)


def _step(fleet: Fleet | NativeFleet, members: list[Member]) -> None:
    """Train every member on its next batch."""
    images, labels, rates = zip(*(member.next_batch() for member in members), strict=True)
    fleet.step(images, labels, rates, [member.seed for member in members], [member.step for member in members])


def _retire(fleet: Fleet | NativeFleet, members: list[Member], precision: str, path: str) -> Iterator[TrainingRecord]:
    """Evaluate members whose epoch ended; yield those that stop and move the last member into the gap."""
    for slot in reversed(range(len(members))):
        if not members[slot].advance():
            continue
        members[slot].evaluate(fleet.vectors[slot])
        if members[slot].stop_reason is not None:
            yield members[slot].record(precision, path)
            last = members.pop()
            if slot < len(members):
                fleet.move(len(members), slot)
                members[slot] = last
