"""The forward and backward pass of a fleet: many networks of one shape as one program.

Members stand side by side in the channels of grouped convolutions (channels last) and in the batch dimension of
matrix products. Every operation works member by member, in an order that does not depend on how many members there
are: sizes 2 and 4 give each member the same bits (a test). The activation comes after the pool, which
is exact since all four are monotone, and touches a quarter of the values.

Source: Eilertsen et al. 2020, Algorithm 1; dropout 0.5 and TensorFlow's batch norm as in the authors' scripts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nws_data.batch_norm import batch_norm
from nws_data.space.architecture import IMAGE_SHAPE, Architecture, Layer
from nws_data.space.network import ACTIVATIONS, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, DROPOUT


class _MemberLinear(torch.autograd.Function):
    """``x @ weight^T + bias`` for each member.

    The bias gradient is a matrix product with ones: a plain sum picks its order by the number of members.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        (dy,) = gradients
        ones = dy.new_ones(len(dy), 1, dy.shape[1])
        return torch.bmm(dy, weight), torch.bmm(dy.transpose(1, 2), x), torch.bmm(ones, dy).squeeze(1)


class FleetNetwork:
    """Computes gradients of a fleet and keeps its running statistics.

    Args:
        architecture: the members' common architecture.
        activation: their common activation.
        batch_size: images a member and step.
        compute_dtype: dtype of activations and products: float32, bfloat16, or float64 in tests. Weights,
            gradients and batch-norm statistics stay in the vectors' dtype.
    """

    def __init__(self, architecture: Architecture, activation: str, batch_size: int, compute_dtype: torch.dtype) -> None:
        self.layers = architecture.layers
        self.n_weights = architecture.n_weights
        self._position = {layer.name: i for i, layer in enumerate(self.layers)}
        self.padding = architecture.filter_size // 2
        self.activation = ACTIVATIONS[activation]
        self.batch_size = batch_size
        self.compute_dtype = compute_dtype
        self.n_dropout = sum(layer.n_out for layer in self.layers if not layer.is_conv and not layer.is_output)

    def empty_batch(self, members: int, dtype: torch.dtype) -> Tensor:
        """Return a zeroed input ``(batch_size, 32, 32, members, 3)``: images side by side, channels last."""
        channels, height, width = IMAGE_SHAPE
        return torch.zeros(self.batch_size, height, width, members, channels, dtype=dtype)

    def gradients(self, vectors: Tensor, images: Tensor, labels: Tensor, keep: Tensor, out: Tensor) -> Tensor:
        """Compute the loss gradients of one step and update the running statistics inside ``vectors``.

        Args:
            vectors: weight vectors ``(members, n_weights)``; only running means and variances are changed.
            images: ``(batch_size, 32, 32, members, 3)``, see :meth:`empty_batch`.
            labels: int64 ``(members, batch_size)``.
            keep: bool ``(members, batch_size, n_dropout)``: which hidden units dropout keeps.
            out: ``(members, n_weights)``; receives the gradients of the parameters, other values stay.

        Returns:
            Mean cross-entropy of each member ``(members,)``.
        """
        leaves = self._leaves(vectors)
        statistics: list[tuple[Layer, Tensor, Tensor]] = []
        logits = self._forward(images.flatten(3).permute(0, 3, 1, 2), leaves, keep, statistics)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).mean(1)
        flat = [leaf for layer in leaves for leaf in layer.values()]
        for (layer, kind), gradient in zip(self._leaf_names(), torch.autograd.grad(losses.sum(), flat), strict=True):
            target = layer[kind]
            out[:, target.slice].view(len(vectors), *target.shape).copy_(gradient.view(len(vectors), *target.shape))
        self._update_statistics(vectors, statistics)
        return losses.detach()

    def _leaf_names(self) -> list[tuple[Layer, str]]:
        kinds = ("kernel", "bias", "beta", "gamma")
        return [(layer, kind) for layer in self.layers for kind in (kinds if layer.has_norm else kinds[:2])]

    def _leaves(self, vectors: Tensor) -> list[dict[str, Tensor]]:
        """Copy every parameter out of the vectors as a stacked leaf, conv kernels as one grouped kernel."""
        leaves: list[dict[str, Tensor]] = [{} for _ in self.layers]
        for layer, kind in self._leaf_names():
            target = layer[kind]
            if kind == "kernel" and layer.is_conv:
                leaf = vectors[:, target.slice].reshape(-1, *target.shape[1:]).contiguous(memory_format=torch.channels_last)
            elif layer.is_conv or kind in ("beta", "gamma"):
                leaf = vectors[:, target.slice].reshape(-1)
            else:
                leaf = vectors[:, target.slice].reshape(-1, *target.shape)
            leaves[self._position[layer.name]][kind] = leaf.clone().requires_grad_()
        return leaves

    def _forward(
        self, x: Tensor, leaves: list[dict[str, Tensor]], keep: Tensor, statistics: list[tuple[Layer, Tensor, Tensor]]
    ) -> Tensor:
        """Return the logits ``(members, batch_size, outputs)`` in the vectors' dtype."""
        members, dtype = len(keep), leaves[0]["bias"].dtype
        x = x.to(self.compute_dtype)
        first_unit = 0
        for layer, leaf in zip(self.layers, leaves, strict=True):
            weight, bias = leaf["kernel"].to(self.compute_dtype), leaf["bias"].to(self.compute_dtype)
            if layer.is_conv:
                x = F.conv2d(x, weight, bias, padding=self.padding, groups=members)
                x = self._normalise(x, layer, leaf, statistics)
                x = self.activation(F.max_pool2d(x, 2) if layer.pool_after else x)
                continue
            if x.dim() == 4:
                x = _flatten(x, members)
            x = _MemberLinear.apply(x, weight, bias)
            if not layer.is_output:
                x = self._normalise(_side_by_side(self.activation(x)), layer, leaf, statistics)
                x = x.view(len(x), members, -1).transpose(0, 1)
                mask = keep[:, :, first_unit : first_unit + layer.n_out]
                x = x * mask.to(x.dtype).mul_(1 / (1 - DROPOUT))
                first_unit += layer.n_out
        return x.to(dtype)

    def _normalise(
        self, x: Tensor, layer: Layer, leaf: dict[str, Tensor], statistics: list[tuple[Layer, Tensor, Tensor]]
    ) -> Tensor:
        """Batch norm over all but the channel dimension 1; appends the batch's mean and biased variance."""
        if not layer.has_norm:
            return x
        y, mean, variance = batch_norm(x, leaf["gamma"], leaf["beta"], BATCH_NORM_EPS)
        statistics.append((layer, mean, variance))
        return y

    def _update_statistics(self, vectors: Tensor, statistics: list[tuple[Layer, Tensor, Tensor]]) -> None:
        """Move the running statistics as TensorFlow does: with the biased variance."""
        for layer, *moments in statistics:
            for kind, value in zip(("mean", "variance"), moments, strict=True):
                vectors[:, layer[kind].slice].lerp_(value.view(len(vectors), -1), BATCH_NORM_MOMENTUM)


def _flatten(x: Tensor, members: int) -> Tensor:
    """Turn conv features ``(batch, members * channels, h, w)`` into ``(members, batch, h * w * channels)``."""
    return x.unflatten(1, (members, -1)).permute(1, 0, 3, 4, 2).reshape(members, len(x), -1)


def _side_by_side(x: Tensor) -> Tensor:
    """Turn ``(members, batch, units)`` into ``(batch, members * units)``, where batch norm is one call."""
    return x.transpose(0, 1).reshape(x.shape[1], -1)
