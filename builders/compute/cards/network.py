"""The forward and backward pass of a device fleet, members in the first dimension of every tensor.

All kinds of activations run side by side, so the activation is data of the slot. Every fleet computes at its full size:
the same kernels on the same shapes, whoever is in the slots.

Source: Eilertsen et al. 2020, Algorithm 1; dropout 0.5 and TensorFlow's batch norm as in the authors' scripts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from builders.recipe.constants import ACTIVATION_CODES, DROPOUT_SCALE
from nws_data.space.architecture import Architecture, Layer
from nws_data.space.network import ACTIVATIONS, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM

Statistics = list[tuple[Layer, Tensor, Tensor]]
ConvBlock = Callable[..., tuple[Tensor, Tensor | None, Tensor | None]]
"""One conv layer of all members, see :func:`builders.compute.cards.blocks.triton.triton_block`."""


class DeviceNetwork:
    """Computes gradients of a fleet of one architecture and keeps its running statistics."""

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
        tensors = [
            (layer, kind)
            for layer in self.layers
            for kind in ("kernel", "bias", *(("beta", "gamma") if layer.has_norm else ()))
        ]
        leaves = {(layer.name, kind): _view(vectors, layer, kind).detach().requires_grad_() for layer, kind in tensors}
        statistics: Statistics = []
        logits = self._forward(images, leaves, keep, codes, statistics).to(vectors.dtype)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).mean(1)
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        for (layer, kind), gradient in zip(tensors, gradients, strict=True):
            _view(out, layer, kind).copy_(gradient)
        for layer, mean, variance in statistics:
            for kind, value in (("mean", mean), ("variance", variance)):
                _view(vectors, layer, kind).lerp_(value, BATCH_NORM_MOMENTUM)
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


def _view(vectors: Tensor, layer: Layer, kind: str) -> Tensor:
    """Return one tensor of every member, a view ``(members, *shape)``."""
    tensor = layer[kind]
    return vectors[:, tensor.slice].view(len(vectors), *tensor.shape)


def norm(x: Tensor, beta: Tensor | None, gamma: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Normalise ``(members, batch, ..., units)`` over all but members and units; nothing happens when beta is None.

    Returns:
        y as x; mean and biased variance ``(members, units)`` in beta's dtype, without a gradient, or None.
    """
    if beta is None or gamma is None:
        return x, None, None
    n, wide = x[0, ..., 0].numel(), x.to(beta.dtype)
    mean = _sum(wide) / n
    centred = wide - mean
    variance = _sum(centred.square()) / n
    one = (len(x), *[1] * (x.dim() - 2), -1)  # of a value for each member and unit
    y = centred * (torch.rsqrt(variance + BATCH_NORM_EPS) * gamma.view(one)) + beta.view(one)
    return y.to(x.dtype), mean.detach().view(beta.shape), variance.detach().view(beta.shape)


def activate(x: Tensor, codes: Tensor) -> Tensor:
    """Apply each member's activation to ``(members, ...)``; ``codes`` as in :meth:`DeviceNetwork.gradients`."""
    code = codes.view(-1, *[1] * (x.dim() - 1))
    y = x
    for name, function in ACTIVATIONS.items():
        y = torch.where(code == ACTIVATION_CODES[name], function(x), y)
    return y


def _sum(x: Tensor) -> Tensor:
    """Sum over all but the first and last dimension, which stay; the order of summation is the same for every member.

    On the CPU it depends on where a column stands in memory, so members must not lie side by side.
    """
    return (x if x.is_cuda else x.contiguous()).sum(tuple(range(1, x.dim() - 1)), keepdim=True)
