"""The conv block as Triton kernels: implicit GEMM with bias and moments, then norm, pool and activation in one pass.

Forward: convolution (also each tile's moments), moments, finish. Backward: two sums of batch norm over tiles, the gradient
through activation, pool and norm (also each tile's sum for the bias), the data gradient (the same convolution with the
turned window; not for the images), the kernel gradient over splits of the pixels; sums over tiles and splits are PyTorch's.
Only the convolution's output and ``x`` are kept between the two.

Tile sizes are a fixed function of the layer and dtype: autotuning would choose by timing, and with the tile the order of
the sums and so the bits change.

On the CPU the kernels run in Triton's interpreter, slowly: start Python with ``TRITON_INTERPRET=1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from builders.compute.cards.blocks.triton_conv import conv_kernel, kernel_gradient_kernel
from builders.compute.cards.blocks.triton_norm import finish_gradient_kernel, finish_kernel, moments_kernel, norm_sums_kernel
from nws_data.space.network import BATCH_NORM_EPS

SPLIT = 2048
"""Pixels whose products one program of the kernel gradient adds up."""

_Norm = Tensor | None  # of batch norm: None without
_PIXELS = 128  # of one convolution tile
_ELEMENTS = 1024  # of one elementwise tile
_EXACT = {"enable_fp_fusion": False}
"""Products and sums outside the convolutions are rounded each: forward and backward must find the same greatest cell. (The
compiler's default differs between its versions; fused or not, the bits of one version are the same in every run.)"""


@dataclass(frozen=True)
class Shape:
    """What a layer's launches depend on: shapes, and the precision of products."""

    members: int
    batch: int
    height: int
    width: int
    n_in: int
    n_out: int
    filter_size: int
    pool: bool
    norm: bool
    dtype: torch.dtype
    precision: str  # of float32 products: "ieee" or "tf32"

    @property
    def exact(self) -> bool:
        """Whether products are those of full float32, off the matrix units."""
        return self.dtype == torch.float32 and self.precision == "ieee"

    @property
    def n_pixels(self) -> int:
        """Pixels of a member before the pool."""
        return self.batch * self.height * self.width

    @property
    def n_after(self) -> int:
        """Pixels of a member after the pool."""
        return self.n_pixels // 4 if self.pool else self.n_pixels

    @property
    def n_tiles(self) -> int:
        """Tiles of the convolution."""
        return -(-self.n_pixels // _PIXELS)

    @property
    def block_c(self) -> int:
        """Channels of an elementwise tile: all of them, and Triton wants a power of two."""
        return _power_of_two(self.n_out)

    @property
    def block_q(self) -> int:
        """Output pixels of an elementwise tile."""
        return _ELEMENTS // self.block_c


def conv_tiles(n_in: int, n_out: int, shape: Shape) -> dict[str, int]:
    """Return the launch options of a convolution with so many input and output channels."""
    columns = max(16, _power_of_two(n_out))
    if shape.exact:  # ordinary arithmetic: a deep tile only costs registers
        return _product(_PIXELS, 16, columns, 8 if columns > 32 else 4, 2)
    deep = shape.dtype == torch.bfloat16 and shape.filter_size**2 * n_in >= 128
    return _product(_PIXELS, 64 if deep else 32, columns, 4, 3)


def gradient_tiles(shape: Shape) -> dict[str, int]:
    """Return the launch options of a kernel gradient: depth is its rows, pixels what it sums over."""
    columns = max(16, _power_of_two(shape.n_out))
    rows = 64 if shape.filter_size**2 * shape.n_in <= 64 else 128
    if shape.exact:
        return _product(16, rows, columns, 8 if columns > 32 else 4, 2)
    return _product(64 if shape.dtype == torch.bfloat16 else 32, rows, columns, 4, 3)


def _product(pixels: int, depth: int, columns: int, warps: int, stages: int) -> dict[str, int]:
    sizes = {"BLOCK_P": pixels, "BLOCK_K": depth, "BLOCK_N": columns}
    return sizes | {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}


def triton_block(
    x: Tensor, kernel: Tensor, bias: Tensor, beta: _Norm, gamma: _Norm, codes: Tensor, *, pool: bool
) -> tuple[Tensor, _Norm, _Norm]:
    """Apply one conv layer of every member: "same" convolution and bias, batch norm with the batch's statistics, 2x2
    max-pool, activation. The activation comes last, which is exact since all four are monotone, and is data of the slot.

    Differentiable in the first five arguments. The bias before a batch norm has no true gradient; it gets the sum over its
    output's gradient, rounding noise and all: a real footprint. Deterministic: no atomics, every sum in an order that
    depends on the shapes alone. A member's bits depend neither on its companions nor on its slot; a non-finite member harms
    nobody. Statistics and leaf gradients are float32, whatever the dtype of ``x``; float32 products follow
    ``torch.set_float32_matmul_precision``: "highest" is IEEE, else TF32. Fit for a CUDA graph.

    Args:
        x: ``(members, batch, H, W, C_in)``, float32 or bfloat16, of any strides.
        kernel: ``(members, C_out, C_in, f, f)``, f odd; float32, to be cast to x's dtype.
        bias: ``(members, C_out)``, float32.
        beta: ``(members, C_out)``, float32; None without batch norm (the ablation).
        gamma: likewise.
        codes: int32 ``(members,)`` on the device: each member's activation, see ``builders.recipe.constants``.
        pool: whether a 2x2 max-pool follows the norm. H and W are even then.

    Returns:
        y: ``(members, batch, H', W', C_out)`` in x's dtype.
        mean: of the batch, ``(members, C_out)`` float32, detached; None without batch norm.
        variance: biased, likewise.

    A member's activations must stay below 2**31 values: offsets are int32.
    """
    x, kernel = _whole_vectors(x, kernel)
    precision = "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    members, batch, height, width, n_in = x.shape
    sizes = (members, batch, height, width, n_in, kernel.shape[1], kernel.shape[-1])
    shape = Shape(*sizes, pool=pool, norm=beta is not None, dtype=x.dtype, precision=precision)
    with torch.cuda.device_of(x):  # Triton launches on the current device, whatever the tensors'
        y, mean, variance = _Block.apply(x, kernel, bias, beta, gamma, codes, shape)
    return y, mean, variance


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, kernel: Tensor, bias: Tensor, beta: _Norm, gamma: _Norm, codes: Tensor, shape: Shape
    ) -> tuple[Tensor, _Norm, _Norm]:
        x = x.contiguous()
        weight = _packed(kernel, x.dtype)
        z, mean, variance = _convolve(x, weight, bias.contiguous(), shape)
        norm = [None if t is None else t.contiguous() for t in (mean, variance, beta, gamma)]
        y = _finish(z, norm, codes, shape)
        ctx.save_for_backward(x, weight, z, *norm, codes)  # type: ignore[arg-type]  # None is allowed
        ctx.shape = shape  # type: ignore[attr-defined]
        if mean is not None and variance is not None:
            ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, z, *norm, codes = ctx.saved_tensors  # type: ignore[attr-defined]
        shape: Shape = ctx.shape  # type: ignore[attr-defined]
        dy = gradients[0].contiguous()
        sums = _norm_sums(dy, z, norm, codes, shape) if shape.norm else None
        dz, d_bias = _finish_gradient(dy, z, norm, codes, sums, shape)
        dx = _data_gradient(dz, weight, shape) if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        d_beta, d_gamma = (None, None) if sums is None else sums.unbind()
        return dx, _kernel_gradient(x, dz, shape), d_bias, d_beta, d_gamma, None, None


def _whole_vectors(x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Fill the input channels up to a multiple of four with zeros.

    Images have three, which the kernels would load one by one: a copy of the image is the cheaper by far.
    """
    missing = -x.shape[-1] % 4
    return (F.pad(x, (0, missing)), F.pad(kernel, (0, 0, 0, 0, 0, missing))) if missing else (x, kernel)


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _packed(kernel: Tensor, dtype: torch.dtype) -> Tensor:
    """Return kernels as ``(members, f * f, C_in, C_out)`` in the compute dtype."""
    members, n_out, n_in, size, _ = kernel.shape
    packed = kernel.new_empty(members, size, size, n_in, n_out, dtype=dtype)
    return packed.copy_(kernel.permute(0, 3, 4, 2, 1))


def _convolve(x: Tensor, weight: Tensor, bias: Tensor, shape: Shape) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return z ``(members, batch, H, W, C_out)`` and its mean and variance, None without norm."""
    s = shape
    z = x.new_empty(*x.shape[:-1], s.n_out)
    parts = bias.new_empty(2, s.members, s.n_tiles, s.n_out) if s.norm else bias.new_empty(2)
    conv_kernel[(s.n_tiles, s.members)](
        x, weight, bias, z, parts[0], parts[1], s.n_pixels, s.height, s.width, s.n_in, s.n_out, s.filter_size,
        BACKWARD=False, MOMENTS=s.norm, PRECISION=s.precision, **conv_tiles(s.n_in, s.n_out, s),
    )  # fmt: skip
    if not s.norm:
        return z, None, None
    mean, variance = bias.new_empty(s.members, s.n_out), bias.new_empty(s.members, s.n_out)
    channels = min(16, _power_of_two(s.n_out))
    tiles = min(4096 // channels, max(16, _power_of_two(s.n_tiles)))
    moments_kernel[(-(-s.n_out // channels), s.members)](
        parts[0], parts[1], mean, variance, s.n_pixels, s.n_tiles, s.n_out, TILE=_PIXELS, BLOCK_T=tiles, BLOCK_C=channels,
        num_warps=4, **_EXACT,
    )  # fmt: skip
    return z, mean, variance


def _finish(z: Tensor, norm: list[Tensor | None], codes: Tensor, shape: Shape) -> Tensor:
    """Return y ``(members, batch, H', W', C)``."""
    s, half = shape, 2 if shape.pool else 1
    y = z.new_empty(s.members, s.batch, s.height // half, s.width // half, s.n_out)
    finish_kernel[(-(-s.n_after // s.block_q), s.members)](
        z, *_or(norm, z), codes, y, s.n_after, s.height, s.width, s.n_out, NORM=s.norm, **_pointwise(s)
    )
    return y


def _norm_sums(dy: Tensor, z: Tensor, norm: list[Tensor], codes: Tensor, shape: Shape) -> Tensor:
    """Return the gradients of beta and gamma ``(2, members, C)`` float32."""
    s, n_tiles = shape, -(-shape.n_after // shape.block_q)
    parts = norm[0].new_empty(2, s.members, n_tiles, s.n_out)
    norm_sums_kernel[(n_tiles, s.members)](
        dy, z, *norm, codes, parts, s.n_after, s.height, s.width, s.n_out, **_pointwise(s)
    )
    return parts.sum(2)


def _finish_gradient(
    dy: Tensor, z: Tensor, norm: list[Tensor | None], codes: Tensor, sums: Tensor | None, shape: Shape
) -> tuple[Tensor, Tensor]:
    """Return the gradients of z and of the bias; ``sums`` are the gradients of beta and gamma, None without norm."""
    s, n_tiles = shape, -(-shape.n_after // shape.block_q)
    dz = torch.empty_like(z)
    parts = torch.empty(s.members, n_tiles, s.n_out, dtype=torch.float32, device=z.device)
    finish_gradient_kernel[(n_tiles, s.members)](
        dy, z, *_or(norm, z), codes, *_or([sums], parts), dz, parts, s.n_after, s.height, s.width, s.n_out,
        NORM=s.norm, **_pointwise(s),
    )  # fmt: skip
    return dz, parts.sum(1)


def _data_gradient(dz: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    s = shape
    dx = dz.new_empty(*dz.shape[:-1], s.n_in)
    conv_kernel[(s.n_tiles, s.members)](
        dz, weight, dz, dx, dz, dz, s.n_pixels, s.height, s.width, s.n_out, s.n_in, s.filter_size,
        BACKWARD=True, MOMENTS=False, PRECISION=s.precision, **conv_tiles(s.n_out, s.n_in, s),
    )  # fmt: skip
    return dx


def _kernel_gradient(x: Tensor, dz: Tensor, shape: Shape) -> Tensor:
    s, tiles = shape, gradient_tiles(shape)
    n_splits, depth = -(-s.n_pixels // SPLIT), s.filter_size**2 * s.n_in
    parts = torch.empty(s.members, n_splits, depth, s.n_out, dtype=torch.float32, device=x.device)
    kernel_gradient_kernel[(-(-depth // tiles["BLOCK_K"]), n_splits, s.members)](
        x, dz, parts, s.n_pixels, s.height, s.width, s.n_in, s.n_out, s.filter_size,
        PRECISION=s.precision, SPLIT=SPLIT, **tiles,
    )  # fmt: skip
    return parts.sum(1).view(s.members, s.filter_size, s.filter_size, s.n_in, s.n_out).permute(0, 4, 3, 1, 2)


def _pointwise(shape: Shape) -> dict[str, Any]:
    blocks = {"BLOCK_Q": shape.block_q, "BLOCK_C": shape.block_c}
    return {"POOL": shape.pool, "EPS": BATCH_NORM_EPS, "num_warps": 4} | blocks | _EXACT


def _or(tensors: list[Tensor | None], other: Tensor) -> list[Tensor]:
    """Put something in the place of tensors that a launch does not read."""
    return [other if t is None else t for t in tensors]
