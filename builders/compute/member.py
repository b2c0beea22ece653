"""One training in progress: its data order, the evaluations that are on their way, its history.

Source: Eilertsen et al. 2020, Supplement A.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from builders.compute.backend import Scored
from builders.images.bank import ImageBank
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import EpochSampler, split_images
from builders.recipe.history import History
from builders.recipe.optimizers import epoch_rates


class Member:
    """The state of one training beside its slot.

    Args:
        planned: id, seed and hyper-parameters.
        bank: the images.
        epoch_cap: bound on epochs.
        device: where to draw its epochs.
    """

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
        self._pending: list[tuple[Tensor, Tensor]] = []

    def next_epoch(self) -> tuple[Tensor, Tensor]:
        """Return the rows ``(steps, batch)`` and rates ``(steps,)`` of the next epoch, which begins now."""
        hp, steps = self.planned.hyperparameters, self._sampler.steps
        rates = epoch_rates(hp.optimizer, hp.learning_rate, self._epoch, self._epoch * steps, steps)
        rows = self._sampler.batches(self._epoch)
        self._epoch += 1
        self.left = steps
        return rows, rates

    def expect(self, evaluation: tuple[Tensor, Tensor]) -> None:
        """Take an evaluation that :meth:`Fleet.evaluate` has enqueued."""
        self._pending.append(evaluation)

    def collect(self) -> None:
        """Enter all expected evaluations into the history, when the fleet is ready."""
        for counts, weights in self._pending:
            sizes = ((name, len(positions)) for name, (_, positions) in self.scored.items())
            accuracies = {name: n / size for n, (name, size) in zip(counts.tolist(), sizes, strict=True)}
            self.history.add(accuracies, weights.numpy())
        self._pending.clear()
