"""The definition of a training step in plain PyTorch, one network at a time; the other backends compute the same faster.

Augmentation, initial weights, rates and random bits are those of ``builders.recipe``; here is Algorithm 1 with its gradient
by autograd, and the update.

Source: Eilertsen et al. 2020, Algorithm 1 and Supplement A.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from builders.compute.backend import compute_dtype, vector_dtype
from builders.plan.shape import Shape
from builders.recipe.augmentation import augment, to_float
from builders.recipe.constants import DROPOUT_SCALE
from builders.recipe.optimizers import FleetOptimizer
from nws_data.batch_norm import batch_norm
from nws_data.randomness import Purpose, bits
from nws_data.space.architecture import Layer
from nws_data.space.hyperparameters import HyperParameters
from nws_data.space.network import ACTIVATIONS, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM

Statistics = list[tuple[Layer, Tensor, Tensor]]


class PlainTraining:
    """See :class:`builders.compute.backend.Training`; bfloat16 is for products and activations alone."""

    def __init__(self, shape: Shape, precision: str, device: torch.device | str = "cpu") -> None:
        self._layers, self._dtype = shape.architecture.layers, compute_dtype(precision)
        self._tensors = [(layer, tensor) for layer in self._layers for tensor in layer.tensors]
        self._n_hidden = sum(layer.n_out for layer in self._layers if not layer.is_conv and not layer.is_output)
        n = shape.architecture.n_weights
        self.vector = torch.zeros(n, dtype=vector_dtype(precision), device=device)
        self._optimizer = FleetOptimizer(1, n, self.vector.dtype, device)

    @property
    def moment(self) -> Tensor:
        """First moment of the optimizer ``(n_weights,)``."""
        return self._optimizer.m[0]

    def load(self, vector: Tensor, hyperparameters: HyperParameters, seed: int) -> None:
        """Start a training."""
        self._hyperparameters, self._seed = hyperparameters, seed
        self.vector.copy_(vector)
        self._optimizer.load(0, hyperparameters.optimizer)

    def step(self, images: Tensor, labels: Tensor, step: int, rate: float) -> float:
        """Train on one batch; return the loss before the update."""
        device, statistics = self.vector.device, Statistics()
        images, labels = images.to(device), labels.to(device)
        x = augment(images, self._seed, step) if self._hyperparameters.augmentation else to_float(images)
        # Image b and unit u of all hidden ones have bit b * units + u.
        keep = bits(self._seed, Purpose.DROPOUT, step, len(images) * self._n_hidden, device).view(-1, self._n_hidden).bool()
        leaf = self.vector.clone().requires_grad_()
        loss = F.cross_entropy(self._forward(leaf, x.to(self._dtype), keep, statistics), labels.long())
        (gradient,) = torch.autograd.grad(loss, leaf)
        rates = torch.tensor([[rate]], dtype=torch.float64).to(device, gradient.dtype)
        self._optimizer.update(self.vector[None], gradient[None], rates)
        for layer, *moments in statistics:
            for kind, value in zip(("mean", "variance"), moments, strict=True):
                self.vector[layer[kind].slice].lerp_(value, BATCH_NORM_MOMENTUM)
        return loss.item()

    def scorer(self) -> Callable[[Tensor], Tensor]:
        """Return the logits of the network in evaluation."""
        vector = self.vector
        return lambda images: self._forward(vector, to_float(images.to(vector.device)).to(vector.dtype))

    def _forward(
        self, vector: Tensor, x: Tensor, keep: Tensor | None = None, statistics: Statistics | None = None
    ) -> Tensor:
        """Return logits ``(batch, outputs)`` in the vector's dtype.

        Args:
            vector: ``(n_weights,)``; it gets a gradient.
            x: images ``(batch, 3, 32, 32)`` in the dtype of products and activations.
            keep: bool ``(batch, hidden units)``: what dropout keeps; None for evaluation.
            statistics: takes each norm's mean and biased variance of the batch; None for evaluation with running ones.
        """
        activation, unit = ACTIVATIONS[self._hyperparameters.activation], 0
        parts = vector.split([tensor.stop - tensor.start for _, tensor in self._tensors])
        weights = {
            (layer.name, tensor.kind): part.view(tensor.shape)
            for (layer, tensor), part in zip(self._tensors, parts, strict=True)
        }
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self._layers:
            kernel, bias = (weights[layer.name, kind].to(x.dtype) for kind in ("kernel", "bias"))
            if layer.is_conv:
                x = F.conv2d(x, kernel, bias, padding="same")
                x = _norm(x, layer, weights, statistics)
                # The activation after the pool is exact, since it never falls; ties of ReLU's zeros stay apart.
                x = activation(F.max_pool2d(x, 2) if layer.pool_after else x)
                continue
            x = F.linear(x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x, kernel, bias)
            if layer.is_output:
                break
            x = _norm(activation(x), layer, weights, statistics)
            if keep is not None:
                x = torch.where(keep[:, unit : unit + layer.n_out], DROPOUT_SCALE * x, 0)
                unit += layer.n_out
        return x.to(vector.dtype)


def _norm(x: Tensor, layer: Layer, weights: dict[tuple[str, str], Tensor], statistics: Statistics | None) -> Tensor:
    """Normalise over all but dimension 1, if the layer has batch norm."""
    if not layer.has_norm:
        return x
    beta, gamma, mean, variance = (weights[layer.name, kind] for kind in ("beta", "gamma", "mean", "variance"))
    if statistics is None:
        return F.batch_norm(x, mean, variance, gamma, beta, eps=BATCH_NORM_EPS)
    y, batch_mean, batch_variance = batch_norm(x, gamma, beta, BATCH_NORM_EPS)
    statistics.append((layer, batch_mean, batch_variance))
    return y
