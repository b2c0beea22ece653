"""A fleet in flight: it works through a queue of trainings of one shape, one short turn of the host at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from builders.compute.backend import OpenBackend, Scored
from builders.images.bank import ImageBank
from builders.plan.shape import Shape, training_flop
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import EpochSampler, split_images
from builders.recipe.history import History
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import epoch_rates
from nws_data.format.records import TrainingRecord


class Steps(NamedTuple):
    """A step of a CPU, or some of a card, that were enqueued."""

    n_images: int  # images x models
    flop: float


class Lane:
    """Trains trainings in a fleet whose slots are refilled as members stop.

    Between turns a card works through what was enqueued; the host never waits for it, it asks whether it is done. The
    trainings, at least one, have one :class:`Shape`; ``number`` is that of its fleet among those in flight.
    """

    def __init__(self, trainings: Iterable[PlannedTraining], backend: OpenBackend, epoch_cap: int, number: int = 0) -> None:
        # Augmenting trainings first: towards the end a card's fleet then runs the step without augmentation.
        self._queue = deque(sorted(trainings, key=lambda planned: not planned.hyperparameters.augmentation))
        self._backend, self._epoch_cap, self.number = backend, epoch_cap, number
        self._members: dict[int, Member] = {}
        self.unfinished = {planned.id: planned for planned in self._queue}  # what has not been returned
        shape = Shape.of(self._queue[0].hyperparameters)
        self._flop_per_image = training_flop(shape.architecture)
        self._batch_size = shape.batch_size
        self._fleet = backend.fleet(shape, number, len(self._queue))
        with self._fleet.turn():
            self._refill()

    @property
    def done(self) -> bool:
        """Whether every training has been returned."""
        return not self._members

    @property
    def ready(self) -> bool:
        """Whether all that was enqueued is done."""
        return self._fleet.ready

    def turn(self) -> list[TrainingRecord | Steps]:
        """Enqueue the next piece of work of a lane that is ready; return trainings that have ended, and the steps."""
        with self._fleet.turn():
            records = self._end_epochs()
            steps = [self._enqueue()] if self._members else []
        for record in records:
            del self.unfinished[record.training]
        return [*records, *steps]

    def _refill(self) -> None:
        """Fill free slots from the queue; a new member is scored before its first step."""
        free = [slot for slot in range(self._fleet.slots) if slot not in self._members]
        filled = free[: len(self._queue)]
        for slot in filled:
            planned = self._queue.popleft()
            member = Member(planned, self._backend.bank, self._epoch_cap, self._fleet.device)
            vector = initial_vector(planned.hyperparameters, planned.seed)
            self._fleet.load(slot, planned, vector, member.scored)
            self._fleet.set_epoch(slot, *member.next_epoch())
            self._members[slot] = member
        # After all copies to a card: each of them waits for the stream, and would wait for the evaluations before it.
        for slot in filled:
            self._members[slot].pending.append(self._fleet.evaluate(slot))

    def _end_epochs(self) -> list[TrainingRecord]:
        ended = [slot for slot, member in self._members.items() if member.left == 0]
        records = []
        for slot in ended:
            member = self._members[slot]
            member.collect()
            if member.history.stop_reason is None:
                self._fleet.set_epoch(slot, *member.next_epoch())
                continue
            backend = self._backend
            records.append(member.history.record(backend.precision, backend.path, backend.device))
            del self._members[slot]
            self._fleet.clear(slot)
        self._refill()
        return records

    def _enqueue(self) -> Steps:
        """Enqueue steps up to the nearest end of an epoch, and the evaluations that follow it."""
        n = min(self._fleet.steps_a_turn, *(member.left for member in self._members.values()))
        self._fleet.run(n)
        for slot, member in self._members.items():
            member.left -= n
            if member.left == 0:
                member.pending.append(self._fleet.evaluate(slot))
        n_images = n * len(self._members) * self._batch_size
        return Steps(n_images, float(n_images) * self._flop_per_image)


class Member:
    """The state of one training beside its slot: data order, drawn on a device, evaluations on their way, history."""

    def __init__(self, planned: PlannedTraining, bank: ImageBank, epoch_cap: int, device: torch.device) -> None:
        hp = planned.hyperparameters
        labels = bank.labels(hp.dataset, "train")
        split = split_images(len(labels), planned.seed)
        self.planned = planned
        self.history = History(planned, epoch_cap)
        self.scored: Scored = {
            "train_accuracy": ("train", split.train_scored),
            "validation_accuracy": ("train", split.validation),
            "test_accuracy": ("test", torch.arange(bank.sets[hp.dataset].n_test)),
        }
        self.left = 0  # steps until the epoch ends
        self._epoch = 0
        self._sampler = EpochSampler(split, labels, planned.seed, hp.batch_size, device)
        self.pending: list[tuple[Tensor, Tensor]] = []  # evaluations that Fleet.evaluate has enqueued

    def next_epoch(self) -> tuple[Tensor, Tensor]:
        """Return the rows ``(steps, batch)`` and rates ``(steps,)`` of the next epoch, which begins now."""
        hp, steps = self.planned.hyperparameters, self._sampler.steps
        rates = epoch_rates(hp.optimizer, hp.learning_rate, self._epoch, self._epoch * steps, steps)
        rows = self._sampler.batches(self._epoch)
        self._epoch += 1
        self.left = steps
        return rows, rates

    def collect(self) -> None:
        """Enter all pending evaluations into the history, when the fleet is ready."""
        for counts, weights in self.pending:
            sizes = ((name, len(positions)) for name, (_, positions) in self.scored.items())
            accuracies = {name: n / size for n, (name, size) in zip(counts.tolist(), sizes, strict=True)}
            self.history.add(accuracies, weights.numpy())
        self.pending.clear()
