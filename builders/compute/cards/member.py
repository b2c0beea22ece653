"""One training in progress on a device: its place in the epoch and the evaluations that are on their way to the host."""

from __future__ import annotations

import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.evaluation import ScoredImages, correct_counts
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import EpochSampler, split_images
from builders.recipe.history import History
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import epoch_rates


class DeviceMember:
    """The state of one training beside its slot.

    Args:
        planned: id, seed and hyper-parameters.
        bank: the images.
        epoch_cap: bound on epochs.
    """

    def __init__(self, planned: PlannedTraining, bank: DeviceBank, epoch_cap: int) -> None:
        hp = planned.hyperparameters
        labels = bank.host.labels(hp.dataset, "train")
        split = split_images(len(labels), planned.seed)
        self.planned = planned
        self.history = History(planned, epoch_cap)
        self.left = 0  # steps until the epoch ends
        self._epoch = 0
        self._bank = bank
        self._scored = ScoredImages.of(bank, hp.dataset, split)
        self._sampler = EpochSampler(split, labels, planned.seed, hp.batch_size, bank.device)
        self._pending: list[tuple[Tensor, Tensor]] = []  # counts and weights of evaluations, being copied to the host

    def initial_vector(self) -> Tensor:
        """Return the weight vector before any training, float64 on the CPU."""
        return initial_vector(self.planned.hyperparameters, self.planned.seed)

    def next_epoch(self) -> tuple[Tensor, Tensor]:
        """Return the rows ``(steps, batch)`` and rates ``(steps,)`` of the next epoch, which begins now."""
        hp, steps = self.planned.hyperparameters, self._sampler.steps
        rows = self._sampler.batches(self._epoch) + self._bank.first_row(hp.dataset, "train")
        rates = epoch_rates(hp.optimizer, hp.learning_rate, self._epoch, self._epoch * steps, steps)
        self._epoch += 1
        self.left = steps
        return rows, rates

    def enqueue_evaluation(self, vector: Tensor) -> None:
        """Score the weight vector ``(n_weights,)`` and copy it, behind what its stream has to do; nothing waits."""
        counts = correct_counts(vector, self.planned.hyperparameters, self._bank, self._scored)
        self._pending.append((_to_host(counts), _to_host(vector.float())))

    def collect(self) -> None:
        """Take the results of all evaluations, which the stream must have finished."""
        for counts, weights in self._pending:
            self.history.add(self._scored.accuracies(counts), weights.numpy())
        self._pending.clear()


def _to_host(tensor: Tensor) -> Tensor:
    """Copy to pinned memory without waiting; from the CPU at once."""
    if tensor.device.type != "cuda":
        return tensor.clone()
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
