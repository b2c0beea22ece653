"""A fleet of one slot: one training after another, as a CPU computes them; calls return when their work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice

import torch
from torch import Tensor

from builders.compute.backend import Scored, Training
from builders.images.bank import ImageBank
from builders.plan.trainings import PlannedTraining

_CHUNK = 128  # images a forward pass: activations stay in cache


class SingleFleet:
    """See :class:`builders.compute.backend.Fleet`; ``training`` computes the steps."""

    def __init__(self, training: Training, bank: ImageBank) -> None:
        self.slots, self.steps_a_turn, self.ready = 1, 1, True
        self.device, self.turn = torch.device("cpu"), nullcontext
        self._training, self._bank = training, bank
        self._dataset = ""
        self._scored: Scored = {}
        self._batches: Iterator[tuple[Tensor, float]] = iter(())
        self._step = 0

    def load(self, slot: int, planned: PlannedTraining, vector: Tensor, scored: Scored) -> None:
        """Start a training."""
        self._training.load(vector, planned.hyperparameters, planned.seed)
        self._dataset, self._scored, self._step = planned.hyperparameters.dataset, scored, 0

    def set_epoch(self, slot: int, rows: Tensor, rates: Tensor) -> None:
        """Give it its next epoch."""
        self._batches = zip(rows, rates.tolist(), strict=True)

    def run(self, n_steps: int) -> None:
        """Take steps."""
        images, labels = self._images("train")
        for rows, rate in islice(self._batches, n_steps):
            self._training.step(images[rows], labels[rows], self._step, rate)
            self._step += 1

    @torch.inference_mode()
    def evaluate(self, slot: int) -> tuple[Tensor, Tensor]:
        """Return the counts of correctly classified images, and the vector.

        Evaluation is on clean images with the running statistics, and changes nothing: a deliberate deviation. The original
        evaluated in its training graph (augmented, batch statistics, moving them as it went). It is in the weights' own
        precision, whatever products of training were rounded to, so that who scores a snapshot again finds its accuracy.
        """
        logits, counts = self._training.scorer(), []
        for part, positions in self._scored.values():
            images, labels = self._images(part)
            counts.append(
                sum(int((logits(images[rows]).argmax(1) == labels[rows]).sum()) for rows in positions.split(_CHUNK))
            )
        return torch.tensor(counts), self._training.vector.to("cpu", torch.float32, copy=True)

    def clear(self, slot: int) -> None:
        """Nothing is kept that the next training does not overwrite."""

    def _images(self, part: str) -> tuple[Tensor, Tensor]:
        return self._bank.images(self._dataset, part), self._bank.labels(self._dataset, part)
