"""The conv block as one grouped convolution in plain PyTorch: what fleets of the tests compute with on a CPU, where
Triton's kernels take too long for whole trainings. Deterministic on a card too: PyTorch's max-pool adds up by atomics."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

import builders.compute.cards.draw
import builders.compute.cards.update
from builders.compute.backend import BACKENDS, CARD_PRECISIONS, Backend
from builders.compute.cards.network import activate, norm
from builders.recipe.augmentation import augment
from builders.recipe.dropout import dropout_mask
from builders.recipe.optimizers import FleetOptimizer


def use_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the backend ``grouped``, and draw and update without Triton's interpreter, which takes minutes for trainings.

    ``test_blocks.py``, ``test_draw.py`` and ``test_update.py`` run the kernels, and say that they compute the same.
    """
    monkeypatch.setitem(BACKENDS, "grouped", Backend("cuda", "cuda-fleet-2", CARD_PRECISIONS, f"{__name__}:grouped_block"))
    monkeypatch.setattr(builders.compute.cards.draw, "augment_drawn", augment_each)
    monkeypatch.setattr(builders.compute.cards.draw, "draw_mask", dropout_mask)
    monkeypatch.setattr(builders.compute.cards.update, "update", FleetOptimizer.update)


def augment_each(images: Tensor, seeds: Tensor, steps: Tensor) -> Tensor:
    """As ``augment_drawn``, by the definition; nothing is drawn for tensors without values."""
    if images.device.type == "meta":
        return torch.empty(images.shape, device=images.device)
    parts = images.split(len(images) // len(seeds))
    return torch.cat([augment(*one) for one in zip(parts, seeds.tolist(), steps.tolist(), strict=True)])


def grouped_block(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    beta: Tensor | None,
    gamma: Tensor | None,
    codes: Tensor,
    *,
    pool: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Apply the layer, as ``triton_block`` does. y's memory lies as ``(batch, H, W, members, C)``."""
    members, batch, height, width, _ = x.shape
    # Members side by side in the channels; a view when x comes from this function.
    stacked = x.permute(1, 2, 3, 0, 4).reshape(batch, height, width, -1).permute(0, 3, 1, 2)
    weight = kernel.to(x.dtype).flatten(0, 1)
    z = F.conv2d(stacked, weight, bias.to(x.dtype).flatten(), padding=kernel.shape[-1] // 2, groups=members)
    z = z.permute(0, 2, 3, 1).unflatten(3, (members, -1)).permute(3, 0, 1, 2, 4).contiguous()
    y, mean, variance = norm(z, beta, gamma)
    return activate(max_pool(y) if pool else y, codes), mean, variance


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


def max_pool(x: Tensor) -> Tensor:
    """Return the 2x2 max-pool ``(members, batch, H / 2, W / 2, C)``."""
    y: Tensor = _Pool.apply(x)
    return y


def _cells(x: Tensor) -> list[Tensor]:
    """Return the four strided views of the cells of every 2x2 window, row by row."""
    return [x[:, :, row::2, column::2] for row in range(2) for column in range(2)]
