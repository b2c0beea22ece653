"""Trainings stepped one after another through one :class:`NativeNetwork`: a fleet whose members share no arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from builders.compute.native.augmentation import augment
from builders.compute.native.inference import NativeInference
from builders.compute.native.kernels import images_in
from builders.compute.native.network import NativeNetwork
from builders.plan.fleet_shape import DTYPES, FleetShape
from builders.recipe.optimizers import OPTIMIZERS, Coefficients


class NativeFleet:
    """Weight vectors and optimizer state of up to ``slots`` trainings of one shape.

    Args:
        shape: the members' common shape.
        precision: ``"float32"``, ``"bfloat16"`` (products and activations alone) or ``"float64"``.
        slots: how many; one after another is as fast as side by side.
    """

    inference = NativeInference
    augment = staticmethod(augment)

    def __init__(self, shape: FleetShape, precision: str = "float32", slots: int = 1) -> None:
        dtype = torch.float64 if precision == "float64" else torch.float32
        self.shape = shape
        self.slots = slots
        self.network = NativeNetwork(shape.architecture, shape.activation, shape.batch_size, dtype, DTYPES[precision])
        n = self.network.n_weights
        self.vectors = torch.zeros(slots, n, dtype=dtype)
        self._m, self._v = torch.zeros(slots, n, dtype=dtype), torch.zeros(slots, n, dtype=dtype)
        self._gradient = torch.zeros(n, dtype=dtype)
        self._coefficients: list[Coefficients] = [OPTIMIZERS["momentum"]] * slots

    def load(self, slot: int, vector: Tensor, optimizer: str) -> None:
        """Put a new training into a slot: its initial vector ``(n_weights,)`` and a fresh optimizer state."""
        self._coefficients[slot] = OPTIMIZERS[optimizer]
        self.vectors[slot] = vector
        self._m[slot] = 0.0
        self._v[slot] = OPTIMIZERS[optimizer].v_start

    def move(self, source: int, target: int) -> None:
        """Move a member to another slot."""
        for state in (self.vectors, self._m, self._v):
            state[target] = state[source]
        self._coefficients[target] = self._coefficients[source]

    @torch.inference_mode()
    def step(
        self,
        images: Sequence[Tensor],
        labels: Sequence[Tensor],
        rates: Sequence[float],
        seeds: Sequence[int],
        steps: Sequence[int],
    ) -> Tensor:
        """Train the members in slots 0, 1, ... on one batch each; arguments and result as in :meth:`Fleet.step`."""
        losses = []
        for slot, (raw, own, rate, seed, step) in enumerate(zip(images, labels, rates, seeds, steps, strict=True)):
            self._fill(raw)
            vector = self.vectors[slot]
            losses.append(self.network.gradients(vector, own.to(torch.uint8), seed, step, self._gradient))
            c = self._coefficients[slot]
            self.network.library.update(
                len(vector), vector.data_ptr(), self._m[slot].data_ptr(), self._v[slot].data_ptr(),
                self._gradient.data_ptr(), rate, c.b1, c.c1, c.b2, c.s2, c.eps_inside, c.eps_outside,
            )  # fmt: skip
        return torch.tensor(losses, dtype=self.vectors.dtype)

    def _fill(self, images: Tensor) -> None:
        """Put a batch, uint8 ``(B, 1 or 3, 32, 32)`` or floating ``(B, 3, 32, 32)`` in [0, 1], into the network's input."""
        out = self.network.images
        if images.dtype == torch.uint8:
            images_in(self.network.library, images, out)
        else:
            out.copy_(images.permute(0, 2, 3, 1))
