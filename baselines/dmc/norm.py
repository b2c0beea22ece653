"""ReLU and batch norm of the DMC, accurate in float32 in the layout of its convolutions.

PyTorch's batch norm on a CPU sums a channel of a channels_last tensor one value after another in the tensor's dtype:
of 10^7 values three digits are left. Here the values are seen as rows of many columns, a channel being the columns
``channel, channel + channels, ...``; PyTorch's kernels sum each column over few rows, and float64 does the rest.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of the running statistics, PyTorch's meaning of momentum: the authors' decay of 0.9 is a share of 0.1 of the new ones.
MOMENTUM = 0.1
EPS = 1e-5  # added to the variance
_MOST_ROWS = 1024  # that one float32 sum runs over


class ReLUBatchNorm(nn.Module):
    """ReLU, then batch norm over dimension 1 whose running variance takes the biased variance of the batch.

    PyTorch's own takes the unbiased one. Input ``(n, width)`` or ``(n, width, 1, length)``, n at least 2 in training.

    Attributes:
        batch_statistics: normalise by the batch in evaluation mode as well; nothing is updated there.

    Source: eps and decay as in the authors' scripts, through TensorLayer.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.batch_statistics = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised input; in training move the running statistics."""
        if not self.training and not self.batch_statistics:
            return F.batch_norm(F.relu(x), self.running_mean, self.running_var, self.weight, self.bias, eps=EPS)
        y, mean, variance = _NormalisedReLU.apply(x, self.weight, self.bias)
        if self.training:
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(variance, MOMENTUM)
        return y  # type: ignore[no-any-return]


class _NormalisedReLU(torch.autograd.Function):
    """Normalised ReLU of ``x`` with the batch's mean and biased variance, ``(width,)`` each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.relu(x)
        width = x.shape[1]
        groups = torch.batch_norm_update_stats(_rows(x), None, None, 0.0)
        means, variances = (part.double().view(-1, width) for part in groups)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        mean, variance = mean.to(x.dtype), variance.to(x.dtype)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, eps=EPS), mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight, mean, variance = ctx.saved_tensors
        values, gradients = _rows(x), _rows(dy)
        n_groups, n = values.shape[1] // len(mean), x.numel() // len(mean)
        statistics = mean.repeat(n_groups), variance.repeat(n_groups)
        _, *sums = torch.ops.aten.native_batch_norm_backward(
            gradients, values, None, *statistics, None, None, False, EPS, [False, True, True]
        )
        d_weight, d_bias = (part.double().view(n_groups, -1).sum(0) for part in sums)
        # dx = a dy + b x + c, with zeros where the ReLU gave zero
        a = weight / (variance.double() + EPS).sqrt()
        b = -a / (variance.double() + EPS).sqrt() * d_weight / n
        c = -a * d_bias / n - b * mean
        a, b, c = (part.to(x.dtype).repeat(n_groups) for part in (a, b, c))
        dx = torch.addcmul(c, values, b).addcmul_(gradients, a)
        torch.ops.aten.threshold_backward.grad_input(dx, values, 0, grad_input=dx)
        dx = dx.view(x.movedim(1, -1).shape).movedim(-1, 1)
        return dx, d_weight.to(x.dtype), d_bias.to(x.dtype)


def _rows(x: Tensor) -> Tensor:
    """Return ``x`` as at most 1,024 rows, each of some positions with all their channels; a view if channels_last."""
    return x.movedim(1, -1).reshape(_n_rows(x.numel() // x.shape[1]), -1)


@lru_cache
def _n_rows(n: int) -> int:
    return next(rows for rows in range(min(n, _MOST_ROWS), 0, -1) if n % rows == 0)
