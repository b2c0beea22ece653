"""Batch norm of training, accurate in float32 in channels_last memory.

PyTorch's on a CPU sums the values of a channel of a channels_last tensor one after another in float32: of 10^7 values
three digits are left. Here the values are seen as few rows of many columns, so that one float32 sum runs over a row's
number of values alone, and float64 does the rest. It takes the same time.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_MOST_ROWS = 64  # with 1,024 the last features of a DMC are three times as far from float64's, with fewer no nearer


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, relu: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise over all but dimension 1 by the batch's own statistics.

    Args:
        x: floating ``(n, width)``, or ``(n, width, height, length)`` in channels_last; other layouts are copied.
        weight: factors ``(width,)``, float32 where ``x`` is bfloat16, else of its dtype.
        bias: what is added, the same.
        eps: added to the variance.
        relu: apply a ReLU first; faster than one before.

    Returns:
        The normalised values; mean and biased variance of the batch, ``(width,)``, which carry no gradient.
    """
    found: tuple[Tensor, Tensor, Tensor] = _BatchNorm.apply(x, weight, bias, eps, relu)
    return found


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, relu: bool) -> tuple[Tensor, ...]:
        x = F.relu(x) if relu else x
        zeros = weight.new_zeros(_rows(x).shape[1])
        groups = torch.batch_norm_update_stats(_rows(x), zeros, zeros, 0.0)  # of each column; zeros give the dtype
        means, variances = (part.double().view(-1, x.shape[1]) for part in groups)
        mean = _sum(means) / len(means)
        variance = _sum(variances + (means - mean).square()) / len(means)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.relu = eps, relu
        mean, variance = mean.to(weight.dtype), variance.to(weight.dtype)
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        values, gradients = _rows(x), _rows(dy)
        n_groups, n = values.shape[1] // len(mean), x.numel() // len(mean)
        rounded = mean.to(weight.dtype)
        means, variances = rounded.repeat(n_groups), variance.to(weight.dtype).repeat(n_groups)
        deviations = (variances + ctx.eps).rsqrt()
        # In evaluation, by running statistics; on a card the factors and the saved statistics must be there, too.
        given = gradients, values, torch.ones_like(means), means, variances, means, deviations
        _, *sums = torch.ops.aten.native_batch_norm_backward(*given, False, ctx.eps, [False, True, True])
        d_weight, d_bias = (_sum(part.double().view(n_groups, -1)) for part in sums)
        deviation = (variance + ctx.eps).sqrt()
        d_weight -= (mean - rounded) / deviation * d_bias
        # dx = a dy + b x + c
        a = weight / deviation
        b = -a / deviation * d_weight / n
        c = -a * d_bias / n - b * mean
        a, b, c = (part.to(weight.dtype).repeat(n_groups) for part in (a, b, c))
        dx = torch.addcmul(c, values, b).addcmul_(gradients, a).to(x.dtype)
        if ctx.relu:
            torch.ops.aten.threshold_backward.grad_input(dx, values, 0, grad_input=dx)
        dx = dx.view(x.movedim(1, -1).shape).movedim(-1, 1)
        return dx, d_weight.to(weight.dtype), d_bias.to(weight.dtype), None, None


def _rows(x: Tensor) -> Tensor:
    """Return ``x`` as rows, each of some positions with all their channels; a view of channels_last memory."""
    n = x.numel() // x.shape[1]
    return x.movedim(1, -1).reshape(next(rows for rows in range(min(n, _MOST_ROWS), 0, -1) if n % rows == 0), -1)


def _sum(groups: Tensor) -> Tensor:
    """Sum over dimension 0, each column in an order that does not depend on how many there are."""
    return groups.t().contiguous().sum(1)
