"""What a device fleet keeps of its slots, as static tensors: a captured step finds everything here, and moves it on."""

from __future__ import annotations

import torch
from torch import Tensor

from builders.plan.trainings import PlannedTraining
from builders.recipe.constants import ACTIVATION_CODES
from builders.recipe.optimizers import FleetOptimizer

FIELDS = ("seed", "step", "cursor", "active", "code", "augments")
"""Columns of :attr:`State.slots`: the training's seed, steps taken, the place in the epoch, 1 or 0 for an idle slot, the
activation's code, 1 with augmentation."""
_CURSOR = FIELDS.index("cursor")


class State:
    """Weights, optimizer and inputs of every slot.

    Args:
        sizes: slots, values of a weight vector, steps of the longest epoch, images of a batch.
        dtype: of weights and sums: float32, or float64 in tests.
    """

    def __init__(self, sizes: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        self.size, n, longest, batch = sizes
        self.vectors = torch.zeros(self.size, n, dtype=dtype, device=device)
        # Of a step: gradients of the parameters; in the places of running statistics, the batch's.
        self.values = torch.zeros_like(self.vectors)
        self.losses = torch.zeros(self.size, dtype=dtype, device=device)  # mean cross-entropy before the last update
        self.slots = torch.zeros(self.size, len(FIELDS), dtype=torch.int64, device=device)
        self.rows = torch.zeros(self.size, longest, batch, dtype=torch.int32, device=device)  # of the bank
        self.rates = torch.zeros(self.size, longest, dtype=dtype, device=device)
        self.optimizer = FleetOptimizer(self.size, n, dtype, device)

    def load(self, slot: int, planned: PlannedTraining, vector: Tensor) -> None:
        """Start a training in a slot, with a fresh optimizer."""
        hyperparameters = planned.hyperparameters
        self.vectors[slot].copy_(to_device(vector.to(self.vectors.dtype), self.vectors.device), non_blocking=True)
        self.optimizer.load(slot, hyperparameters.optimizer)
        code = ACTIVATION_CODES[hyperparameters.activation]
        fields = torch.tensor([planned.seed, 0, 0, 1, code, int(hyperparameters.augmentation)])
        self.slots[slot].copy_(to_device(fields, self.slots.device))

    def set_epoch(self, slot: int, rows: Tensor, rates: Tensor) -> None:
        """Give a slot its next epoch: rows of the bank ``(steps, batch)``, rates ``(steps,)``."""
        self.rows[slot, : len(rows)] = rows
        self.rates[slot, : len(rates)] = to_device(rates.to(self.rates.dtype), self.rates.device)
        self.slots[slot, _CURSOR] = 0

    def rewind(self) -> None:
        """Start the epochs of all slots again."""
        self.slots[:, _CURSOR] = 0

    def clear(self, slot: int) -> None:
        """Make a slot idle."""
        self.slots[slot] = 0


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy from the host; to a card through pinned memory, which the host need not wait for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
