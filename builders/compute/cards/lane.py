"""A fleet in flight: it works through a queue of trainings on a stream of its own, one short turn of the host at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.compute_path import device_compute_path
from builders.compute.cards.fleet import DeviceFleet
from builders.compute.cards.member import DeviceMember
from builders.plan.cost import training_flop
from builders.plan.device_shape import DeviceShape
from builders.plan.trainings import PlannedTraining
from nws_data.format.records import TrainingRecord

_STEPS_A_TURN = 128  # keeps a card busy while the host serves other lanes; bounds how long a stop waits


@dataclass(frozen=True)
class DeviceSettings:
    """How to train on a device."""

    backend: str = "grouped"
    precision: str = "float32"
    epoch_cap: int = 1000
    slots: int | None = None  # of every fleet, in tests and measurements; normally the shape decides


class Lane:
    """Trains trainings of one shape in a fleet whose slots are refilled as members stop.

    Between turns the card works through what was enqueued; the host never waits for it, it asks whether it is done.

    Args:
        trainings: of one :class:`DeviceShape`.
        bank: the images.
        settings: how to train.
        stream: for everything the lane does; None on the CPU.
    """

    def __init__(
        self,
        trainings: Iterable[PlannedTraining],
        bank: DeviceBank,
        settings: DeviceSettings,
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        # Augmenting trainings first: towards the end the fleet then runs the step without augmentation.
        self._queue = deque(sorted(trainings, key=lambda planned: not planned.hyperparameters.augmentation))
        self._bank, self._settings, self.stream = bank, settings, stream
        self._event = torch.cuda.Event() if stream is not None else None
        self._members: dict[int, DeviceMember] = {}
        shape = DeviceShape.of(self._queue[0].hyperparameters)
        self.flop_per_image = training_flop(shape.architecture)
        self._batch_size = shape.batch_size
        with self._on_stream():
            self._fleet = DeviceFleet(shape, bank, settings.backend, settings.precision, settings.slots)
            self._refill()
            self._mark()

    @property
    def done(self) -> bool:
        """Whether every training has been returned."""
        return not self._members

    @property
    def ready(self) -> bool:
        """Whether the card has done all that was enqueued."""
        return self._event is None or self._event.query()

    def turn(self) -> tuple[list[TrainingRecord], int]:
        """Enqueue the next piece of work of a lane that is ready.

        Returns:
            Trainings that have ended, and the number of images x models that were enqueued.
        """
        with self._on_stream():
            records = self._end_epochs()
            n_images = self._enqueue() if self._members else 0
            self._mark()
        return records, n_images

    def _on_stream(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self.stream) if self.stream is not None else nullcontext()

    def _mark(self) -> None:
        if self._event is not None:
            self._event.record()

    def _refill(self) -> None:
        """Fill free slots from the queue; a new member is scored before its first step."""
        free = [slot for slot in range(self._fleet.slots) if slot not in self._members]
        filled = free[: len(self._queue)]
        for slot in filled:
            planned = self._queue.popleft()
            member = DeviceMember(planned, self._bank, self._settings.epoch_cap)
            self._fleet.load(slot, member.initial_vector(), planned.hyperparameters, planned.seed)
            self._fleet.set_epoch(slot, *member.next_epoch())
            self._members[slot] = member
        # After all copies to the card: each of them waits for the stream, and would wait for the evaluations before it.
        for slot in filled:
            self._members[slot].enqueue_evaluation(self._fleet.vectors[slot])

    def _end_epochs(self) -> list[TrainingRecord]:
        """Read the scores of members whose epoch has ended; let them stop or go on."""
        ended = [slot for slot, member in self._members.items() if member.left == 0]
        records = []
        for slot in ended:
            member = self._members[slot]
            member.collect()
            if member.history.stop_reason is None:
                self._fleet.set_epoch(slot, *member.next_epoch())
                continue
            path = device_compute_path(self._bank.device, self._settings.backend, self._settings.precision)
            records.append(member.history.record(self._settings.precision, path, str(self._bank.device)))
            del self._members[slot]
            self._fleet.clear(slot)
        self._refill()
        return records

    def _enqueue(self) -> int:
        """Enqueue steps up to the nearest end of an epoch, and the evaluations that follow it."""
        n = min(_STEPS_A_TURN, *(member.left for member in self._members.values()))
        augmenting = any(member.planned.hyperparameters.augmentation for member in self._members.values())
        self._fleet.run(n, augmenting)
        for slot, member in self._members.items():
            member.left -= n
            if member.left == 0:
                member.enqueue_evaluation(self._fleet.vectors[slot])
        return n * len(self._members) * self._batch_size
