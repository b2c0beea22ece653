"""One training after another through a :class:`NativeNetwork`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from builders.compute.backend import compute_dtype, vector_dtype
from builders.compute.native.augmentation import augment
from builders.compute.native.inference import NativeInference
from builders.compute.native.kernels import images_in
from builders.compute.native.network import NativeNetwork
from builders.plan.shape import Shape
from builders.recipe.optimizers import OPTIMIZERS
from nws_data.space.hyperparameters import HyperParameters


class NativeTraining:
    """See :class:`builders.compute.backend.Training`.

    Args:
        shape: of the trainings.
        precision: ``"float32"``, ``"bfloat16"`` (products and activations alone) or ``"float64"``.
    """

    def __init__(self, shape: Shape, precision: str) -> None:
        dtype, n = vector_dtype(precision), shape.architecture.n_weights
        self.network = NativeNetwork(shape.architecture, shape.batch_size, dtype, compute_dtype(precision))
        self.vector, self._m, self._v, self._gradient = (torch.zeros(n, dtype=dtype) for _ in range(4))

    def load(self, vector: Tensor, hyperparameters: HyperParameters, seed: int) -> None:
        """Start a training."""
        self._hyperparameters, self._seed = hyperparameters, seed
        self._coefficients = OPTIMIZERS[hyperparameters.optimizer]
        self.network.activation = hyperparameters.activation
        self.vector.copy_(vector)
        self._m.zero_()
        self._v.fill_(self._coefficients.v_start)

    @torch.inference_mode()
    def step(self, images: Tensor, labels: Tensor, step: int, rate: float) -> float:
        """Train on one batch; return the loss before the update."""
        network, c = self.network, self._coefficients
        if self._hyperparameters.augmentation:
            network.images.copy_(augment(images, self._seed, step).permute(0, 2, 3, 1))
        else:
            images_in(network.library, images, network.images)
        loss = network.gradients(self.vector, labels.to(torch.uint8), self._seed, step, self._gradient)
        network.library.update(
            len(self.vector), self.vector.data_ptr(), self._m.data_ptr(), self._v.data_ptr(), self._gradient.data_ptr(),
            rate, c.b1, c.c1, c.b2, c.s2, c.eps_inside, c.eps_outside,
        )  # fmt: skip
        return loss

    def scorer(self) -> Callable[[Tensor], Tensor]:
        """Return the logits of the network in evaluation."""
        return NativeInference(self.vector, self.network.architecture, self.network.activation).logits
