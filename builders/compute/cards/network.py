"""The forward and backward pass of a device fleet, members in the first dimension of every tensor.

All kinds of activations run side by side, so the activation is data of the slot. Every fleet computes at its full size:
the same kernels on the same shapes, whoever is in the slots.

Source: Eilertsen et al. 2020, Algorithm 1; dropout 0.5 and TensorFlow's batch norm as in the authors' scripts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from builders.compute.cards.blocks import ConvBlock
from builders.compute.cards.blocks.parts import activate, norm
from builders.recipe.constants import DROPOUT_SCALE
from nws_data.space.architecture import Architecture, Layer
from nws_data.space.network import BATCH_NORM_MOMENTUM

Statistics = list[tuple[Layer, Tensor, Tensor]]


class DeviceNetwork:
    """Computes gradients of a fleet and keeps its running statistics.

    Args:
        architecture: the members' common architecture.
        block: the implementation of a conv layer, see :mod:`builders.compute.cards.blocks`.
    """

    def __init__(self, architecture: Architecture, block: ConvBlock) -> None:
        self.layers = architecture.layers
        self.n_weights = architecture.n_weights
        self.n_dropout = sum(layer.n_out for layer in self.layers if not layer.is_conv and not layer.is_output)
        self._block = block

    def gradients(self, vectors: Tensor, images: Tensor, labels: Tensor, keep: Tensor, codes: Tensor, out: Tensor) -> Tensor:
        """Compute the loss gradients of one step and update the running statistics inside ``vectors``.

        Args:
            vectors: weight vectors ``(members, n_weights)``; only running means and variances are changed.
            images: ``(members, batch, 32, 32, 3)`` in [0, 1], in the compute dtype.
            labels: int64 ``(members, batch)``.
            keep: bool ``(members, batch, n_dropout)``: which hidden units dropout keeps.
            codes: int32 ``(members,)``, the activations.
            out: ``(members, n_weights)``; receives the gradients of the parameters, other values stay.

        Returns:
            Mean cross-entropy of each member ``(members,)``.
        """
        tensors = [(layer, kind) for layer in self.layers for kind in _parameters(layer)]
        leaves = {(layer.name, kind): _view(vectors, layer, kind).detach().requires_grad_() for layer, kind in tensors}
        statistics: Statistics = []
        logits = self._forward(images, leaves, keep, codes, statistics).to(vectors.dtype)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).mean(1)
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        for (layer, kind), gradient in zip(tensors, gradients, strict=True):
            _view(out, layer, kind).copy_(gradient)
        for layer, mean, variance in statistics:
            for kind, value in (("mean", mean), ("variance", variance)):
                _view(vectors, layer, kind).mul_(1 - BATCH_NORM_MOMENTUM).add_(value, alpha=BATCH_NORM_MOMENTUM)
        return losses.detach()

    def _forward(
        self, x: Tensor, leaves: dict[tuple[str, str], Tensor], keep: Tensor, codes: Tensor, statistics: Statistics
    ) -> Tensor:
        """Return the logits ``(members, batch, outputs)`` in the compute dtype."""
        first_unit = 0
        for layer in self.layers:
            kernel, bias = leaves[layer.name, "kernel"], leaves[layer.name, "bias"]
            beta, gamma = (leaves.get((layer.name, kind)) for kind in ("beta", "gamma"))
            if layer.is_conv:
                x, mean, variance = self._block(x, kernel, bias, beta, gamma, codes, pool=layer.pool_after)
            else:
                x = x.flatten(2) if x.dim() == 5 else x
                x = torch.baddbmm(bias.to(x.dtype).unsqueeze(1), x, kernel.to(x.dtype).transpose(1, 2))
                if layer.is_output:
                    return x
                x, mean, variance = norm(activate(x, codes), beta, gamma)
                kept = keep[:, :, first_unit : first_unit + layer.n_out]
                x = torch.where(kept, x * DROPOUT_SCALE, x.new_zeros(()))
                first_unit += layer.n_out
            if mean is not None and variance is not None:
                statistics.append((layer, mean, variance))
        return x


def _parameters(layer: Layer) -> tuple[str, ...]:
    return ("kernel", "bias", "beta", "gamma") if layer.has_norm else ("kernel", "bias")


def _view(vectors: Tensor, layer: Layer, kind: str) -> Tensor:
    """Return one tensor of every member, a view ``(members, *shape)``."""
    tensor = layer[kind]
    return vectors[:, tensor.slice].view(len(vectors), *tensor.shape)
