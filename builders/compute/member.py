"""One training in progress on the CPU: its data order and evaluations.

Source: Eilertsen et al. 2020, Supplement A.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from builders.compute.native.fleet import NativeFleet
from builders.compute.portable.fleet import Fleet
from builders.images.bank import ImageBank
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import epoch_batches, split_images
from builders.recipe.history import History
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import rate
from nws_data.format.records import TrainingRecord
from nws_data.space.architecture import Architecture


@dataclass(frozen=True)
class TrainingImages:
    """The tensors of one image set: views of the bank, uint8 images ``(n, 1 or 3, 32, 32)`` and labels ``(n,)``."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @classmethod
    def of(cls, bank: ImageBank, name: str) -> TrainingImages:
        """Return the set of that name."""
        return cls(*(get(name, part) for part in ("train", "test") for get in (bank.images, bank.labels)))


class Member:
    """The state of one training beside its weight vector, which the fleet holds.

    Args:
        planned: id, seed and hyper-parameters.
        images: its image set.
        epoch_cap: bound on epochs.
        fleet: what trains it: its augmentation and its inference are the member's.
    """

    def __init__(
        self,
        planned: PlannedTraining,
        images: TrainingImages,
        epoch_cap: int,
        fleet: type[Fleet] | type[NativeFleet] = Fleet,
    ) -> None:
        self.planned = planned
        self.seed = planned.seed
        self.step = 0
        self.epoch = 0
        self._images = images
        self._split = split_images(len(images.train_labels), planned.seed)
        self._fleet = fleet
        self.history = History(planned, epoch_cap)
        self._batches = torch.empty(0)
        self._cursor = 0

    @property
    def stop_reason(self) -> str | None:
        """Why the training has ended, None while it goes on."""
        return self.history.stop_reason

    def initial_vector(self) -> Tensor:
        """Return the weight vector before any training, float64."""
        return initial_vector(self.planned.hyperparameters, self.seed)

    def next_batch(self) -> tuple[Tensor, Tensor, float]:
        """Return the next step's images, labels ``(batch,)`` and the update's rate.

        Images are uint8 ``(batch, 1 or 3, 32, 32)`` as they stand in the bank, or augmented: float32
        ``(batch, 3, 32, 32)`` in [0, 1].
        """
        hp = self.planned.hyperparameters
        if self._cursor == 0:
            self._batches = epoch_batches(self._split, self._images.train_labels, self.seed, self.epoch, hp.batch_size)
        rows = self._batches[self._cursor]
        raw = self._images.train_images[rows]
        images = self._fleet.augment(raw, self.seed, self.step) if hp.augmentation else raw
        return images, self._images.train_labels[rows], rate(hp.optimizer, hp.learning_rate, self.epoch, self.step)

    def advance(self) -> bool:
        """Count a step; return whether it ended an epoch."""
        self.step += 1
        self._cursor = (self._cursor + 1) % len(self._batches)
        self.epoch += self._cursor == 0
        return self._cursor == 0

    def evaluate(self, vector: Tensor) -> None:
        """Score the weight vector, keep it as a snapshot and decide whether to stop (``stop_reason``)."""
        hp, images, split = self.planned.hyperparameters, self._images, self._split
        network = self._fleet.inference(vector, Architecture.of(hp), hp.activation)
        accuracies = {
            "validation_accuracy": network.accuracy(images.train_images, images.train_labels, split.validation),
            "train_accuracy": network.accuracy(images.train_images, images.train_labels, split.train_scored),
            "test_accuracy": network.accuracy(images.test_images, images.test_labels),
        }
        self.history.add(accuracies, vector.float().numpy())

    def record(self, precision: str, path: str) -> TrainingRecord:
        """Return the finished training for the writer."""
        return self.history.record(precision, path, "cpu")
