"""The conv block as matrix products over rows of pixels, in plain PyTorch.

The images are unfolded along the width only, which takes f times their memory instead of f * f: each pixel's row of the
window lies contiguous. A member's images stand below one another with ``f // 2`` zero rows between, so that each of the f
rows of the window is one product per member of all its pixels with a shifted view of the same memory, and the f products
add up. The price is the rows between: their results are dropped (3 of 11 rows at worst).

Products and their sums are kept in float32 (float64 for float64): on a card by ``out_dtype``; on the CPU and before torch
2.8, which lack it, by widening the operands, which gives the same up to the order of sums. Norm, pool and activation are
those of the plain path.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from builders.compute.cards.blocks.parts import activate, max_pool, norm

_HAS_OUT_DTYPE = "dtype" in torch.ops.aten.baddbmm.overloads()


def rows_block(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    beta: Tensor | None,
    gamma: Tensor | None,
    codes: Tensor,
    *,
    pool: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Apply the layer, see :class:`builders.compute.cards.blocks.ConvBlock`. Bias is added in float32."""
    y, mean, variance = norm(_RowConvolution.apply(x, kernel, bias), beta, gamma)
    return activate(max_pool(y) if pool else y, codes), mean, variance


class _RowConvolution(torch.autograd.Function):
    """The "same" convolution and bias of ``(members, batch, H, W, C)``."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel)
        return _convolve(x, kernel, bias.unsqueeze(1))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, kernel = ctx.saved_tensors  # type: ignore[attr-defined]
        dz = gradients[0].contiguous()
        dx = None
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            dx = _convolve(dz, kernel.flip(3, 4).transpose(1, 2), kernel.new_zeros(len(kernel), 1, kernel.shape[2]))
        pixels = dz.flatten(1, 3)
        d_bias = _product(pixels.new_ones(len(x), 1, pixels.shape[1]), pixels, kernel.dtype)
        return dx, _kernel_gradient(x, dz, kernel), d_bias.squeeze(1)


def _convolve(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Convolve ``(members, batch, H, W, C_in)`` with ``(members, C_out, C_in, f, f)``, add ``(members, 1, C_out)``."""
    members, batch, height, width, _ = x.shape
    size = kernel.shape[-1]
    columns = _unfold(x, size)
    weight = kernel.permute(0, 3, 4, 2, 1).to(x.dtype).flatten(2, 3)  # (members, f, f * C_in, C_out)
    n_rows = batch * (height + size // 2) * width
    z = _product(columns[:, :n_rows], weight[:, 0], bias.dtype, bias)
    for row in range(1, size):
        z = _product(columns[:, row * width : row * width + n_rows], weight[:, row], bias.dtype, z)
    return z.view(members, batch, height + size // 2, width, -1)[:, :, :height].to(x.dtype)


def _kernel_gradient(x: Tensor, dz: Tensor, kernel: Tensor) -> Tensor:
    members, width, n_in = len(x), x.shape[3], x.shape[4]
    size = kernel.shape[-1]
    columns = _unfold(x, size)
    below = F.pad(dz, (0, 0, 0, 0, 0, size // 2)).flatten(1, 3)
    n_rows = below.shape[1]
    out = kernel.new_empty(members, size, size, n_in, kernel.shape[1])
    for row in range(size):
        window = columns[:, row * width : row * width + n_rows].transpose(1, 2)
        out[:, row] = _product(window, below, kernel.dtype).view(members, size, n_in, -1)
    return out.permute(0, 4, 3, 1, 2).contiguous()


def _unfold(x: Tensor, size: int) -> Tensor:
    """Return ``(members, rows * W, f * C)``: every pixel's row of the window.

    Rows are ``f // 2`` of zeros, each image followed by as many, and as many again, so that all shifts stay inside.
    """
    members, batch, height, width, channels = x.shape
    reach = size // 2
    rows = x.new_zeros(members, batch * (height + reach) + 2 * reach, width + 2 * reach, channels)
    inner = rows[:, reach : rows.shape[1] - reach].unflatten(1, (batch, height + reach))
    inner[:, :, :height, reach : reach + width] = x
    return rows.unfold(2, size, 1).transpose(3, 4).reshape(members, -1, size * channels)


def _product(a: Tensor, b: Tensor, dtype: torch.dtype, onto: Tensor | None = None) -> Tensor:
    """Return ``onto + a @ b`` of each member, computed and kept in ``dtype``; ``onto`` may be one row a member."""
    if a.dtype != dtype and a.is_cuda and _HAS_OUT_DTYPE:
        if onto is None:
            return torch.bmm(a, b, out_dtype=dtype)
        return torch.baddbmm(onto.expand(-1, a.shape[1], -1), a, b, out_dtype=dtype)
    a, b = a.to(dtype), b.to(dtype)
    return torch.bmm(a, b) if onto is None else torch.baddbmm(onto, a, b)
