"""Batch norm, max-pool and activation of a fleet as plain tensor operations, deterministic and with small gradients.

PyTorch's own max-pool adds up gradients with atomics on a card.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from builders.recipe.constants import ACTIVATION_CODES
from nws_data.space.network import ACTIVATIONS, BATCH_NORM_EPS


class _Norm(torch.autograd.Function):
    """Batch norm over all but the first and last dimension."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, beta: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n = x[0, ..., 0].numel()
        wide = x.to(beta.dtype)
        mean = _sum(wide) / n
        centred = wide - mean
        variance = _sum(centred.square()) / n
        scale = torch.rsqrt(variance + BATCH_NORM_EPS)
        y = (centred * (scale * _spread(gamma, x)) + _spread(beta, x)).to(x.dtype)
        ctx.save_for_backward(x, mean, scale, gamma)
        out = mean.view(beta.shape), variance.view(beta.shape)
        ctx.mark_non_differentiable(*out)
        return y, *out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, mean, scale, gamma = ctx.saved_tensors  # type: ignore[attr-defined]
        wide = gradients[0].to(mean.dtype)
        normalised = (x.to(mean.dtype) - mean) * scale
        d_beta, d_gamma = _sum(wide), _sum(wide * normalised)
        n = x[0, ..., 0].numel()
        dx = (wide - (d_beta + normalised * d_gamma) / n) * (scale * _spread(gamma, x))
        return dx.to(x.dtype), d_beta.view(gamma.shape), d_gamma.view(gamma.shape)


class _Pool(torch.autograd.Function):
    """2x2 max-pool of ``(members, batch, H, W, C)``; of equal values the first in row order gets the gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        a, b, c, d = _cells(x)
        y = torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        x, y = ctx.saved_tensors  # type: ignore[attr-defined]
        dx = torch.empty_like(x)
        free = torch.ones_like(y, dtype=torch.bool)
        zero = y.new_zeros(())
        for cell, out in zip(_cells(x)[:3], _cells(dx)[:3], strict=True):
            chosen = free & (cell == y)
            out.copy_(torch.where(chosen, gradients[0], zero))
            free = free & ~chosen
        _cells(dx)[3].copy_(torch.where(free, gradients[0], zero))
        return dx


def norm(x: Tensor, beta: Tensor | None, gamma: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Normalise ``(members, batch, ..., units)`` over all but members and units; nothing happens when beta is None.

    Returns:
        y as x; mean and biased variance ``(members, units)`` in beta's dtype, or None.
    """
    if beta is None or gamma is None:
        return x, None, None
    y, mean, variance = _Norm.apply(x, beta, gamma)
    return y, mean, variance


def max_pool(x: Tensor) -> Tensor:
    """Return the 2x2 max-pool ``(members, batch, H / 2, W / 2, C)``."""
    y: Tensor = _Pool.apply(x)
    return y


def activate(x: Tensor, codes: Tensor) -> Tensor:
    """Apply each member's activation to ``(members, ...)``; ``codes`` as in :class:`ConvBlock`."""
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


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """Reshape ``(members, units)`` to broadcast with ``(members, batch, ..., units)``."""
    return values.view(len(values), *[1] * (x.dim() - 2), -1)


def _cells(x: Tensor) -> list[Tensor]:
    """Return the four strided views of the cells of every 2x2 window, row by row."""
    return [x[:, :, row::2, column::2] for row in range(2) for column in range(2)]
