"""A fleet: the state of several trainings of one shape, stepped as one program.

A slot's state depends on its own training alone, so slots are refilled and moved at will.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from builders.compute.evaluation import FoldedNetwork
from builders.compute.portable.network import FleetNetwork
from builders.images.augmentation import augment, to_float
from builders.plan.fleet_shape import DTYPES, FleetShape
from builders.recipe.dropout import dropout_mask
from builders.recipe.optimizers import FleetOptimizer


def fleet_size(shape: FleetShape, compute_dtype: torch.dtype) -> int:
    """Return how many slots a fleet has.

    In bfloat16 the first layer's channels of all members must fill whole vectors of 16: oneDNN sums the kernel and bias
    gradients of channels in an incomplete one in another order, which now and then shows after rounding.
    """
    fills_vectors = shape.max_members * shape.architecture.layers[0].n_out % 16 == 0
    return shape.max_members if compute_dtype != torch.bfloat16 or fills_vectors else 4


def padded_size(active: int, slots: int, compute_dtype: torch.dtype) -> int:
    """Return the size to compute with: a lone member takes an idle companion, three take one.

    In float32 sizes 2 and 4 are bit-identical; 1 takes another convolution kernel, and 3 breaks alignment. In bfloat16 every
    step has the full size, see :func:`fleet_size`.
    """
    return slots if compute_dtype == torch.bfloat16 or active > 2 else 2


class Fleet:
    """Weight vectors and optimizer state of up to ``slots`` trainings.

    Args:
        shape: the members' common shape.
        precision: ``"float32"``, ``"bfloat16"`` (products and activations alone) or ``"float64"``.
    """

    inference = FoldedNetwork
    augment = staticmethod(augment)

    def __init__(self, shape: FleetShape, precision: str = "float32") -> None:
        compute_dtype = DTYPES[precision]
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.shape = shape
        self.slots = fleet_size(shape, compute_dtype)
        self.network = FleetNetwork(shape.architecture, shape.activation, shape.batch_size, compute_dtype)
        n = self.network.n_weights
        self.vectors = torch.zeros(self.slots, n, dtype=self.dtype)
        self._optimizer = FleetOptimizer(self.slots, n, self.dtype)
        self._gradients = torch.zeros(self.slots, n, dtype=self.dtype)
        self._batches: dict[int, Tensor] = {}

    def load(self, slot: int, vector: Tensor, optimizer: str) -> None:
        """Put a new training into a slot: its initial vector ``(n_weights,)`` and a fresh optimizer state."""
        self.vectors[slot] = vector
        self._optimizer.load(slot, optimizer)

    def move(self, source: int, target: int) -> None:
        """Move a member to another slot."""
        self.vectors[target] = self.vectors[source]
        self._optimizer.move(source, target)

    def step(
        self,
        images: Sequence[Tensor],
        labels: Sequence[Tensor],
        rates: Sequence[float],
        seeds: Sequence[int],
        steps: Sequence[int],
    ) -> Tensor:
        """Train the members in slots 0, 1, ... on one batch each.

        Args:
            images: for each member floating ``(batch_size, 3, 32, 32)`` in [0, 1], or uint8 of one or three channels.
            labels: for each member int ``(batch_size,)``.
            rates: for each member the factor of :func:`builders.recipe.optimizers.rate`.
            seeds: for each member its training's seed (dropout).
            steps: for each member the steps it has taken before.

        Returns:
            Mean cross-entropy of each member before the update, ``(members,)``.
        """
        active = len(images)
        size = padded_size(active, self.slots, self.network.compute_dtype)
        batch = self._batch(images, size)
        target = torch.zeros(size, self.shape.batch_size, dtype=torch.int64)
        target[:active] = torch.stack(list(labels))
        keep = torch.ones(size, self.shape.batch_size, self.network.n_dropout, dtype=torch.bool)
        keep[:active] = dropout_mask(seeds, steps, self.shape.batch_size, self.network.n_dropout)
        self.vectors[active:size] = 0.0
        losses = self.network.gradients(self.vectors[:size], batch, target, keep, self._gradients[:size])
        factor = torch.tensor(rates, dtype=torch.float64).to(self.dtype).unsqueeze(1)
        self._optimizer.update(self.vectors[:active], self._gradients[:active], factor)
        return losses[:active]

    def _batch(self, images: Sequence[Tensor], size: int) -> Tensor:
        """Lay the members' images side by side in a buffer that is kept for each size."""
        if size not in self._batches:
            self._batches[size] = self.network.empty_batch(size, self.network.compute_dtype)
        batch = self._batches[size]
        for slot, member in enumerate(images):
            floating = to_float(member) if member.dtype == torch.uint8 else member
            batch[:, :, :, slot] = floating.permute(0, 2, 3, 1)
        return batch
