"""Triton kernels of the convolution itself: implicit GEMM, and its kernel gradient.

A tile of the output is ``BLOCK_P`` pixels of one member times all output channels. The depth of the product is the filter
window laid out as memory has it: ``k = (row * f + column) * C_in + channel``, so that neighbours in k are neighbours in
memory; nothing is unfolded. Program axis 1 (or 2) is the member: no program sees two members, and the order of every sum
follows from one member's shape.

Products accumulate in float32. ``PRECISION`` is Triton's ``input_precision`` for float32 operands: ``"ieee"`` or
``"tf32"``; bfloat16 products are exact. Offsets inside a member are int32 (the caller checks), members int64.

Under ``TRITON_INTERPRET=1`` two faults of the interpreter (seen in 3.9) are worked around: its ``dot`` takes the bits of
bfloat16 for integers, and its casts to bfloat16 cut instead of rounding.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]


@triton.jit
def _probe() -> None:
    pass


INTERPRETED = tl.constexpr(not isinstance(_probe, triton.JITFunction))
"""Whether kernels run in Triton's interpreter, on the CPU; decided when Triton is imported."""


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """Round float32 to a dtype, to nearest even."""
    if INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.int32, bitcast=True)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
        x = tl.where(x == x, rounded.to(tl.float32, bitcast=True), x)
    return x.to(dtype)


@triton.jit
def _dot(a, b, acc, PRECISION: tl.constexpr):
    if INTERPRETED:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, acc, input_precision=PRECISION)


@triton.jit
def _window(k, W: tl.constexpr, C: tl.constexpr, F: tl.constexpr):
    """Return row shift, column shift and memory offset of depth index k from the window's centre.

    The hints say what the compiler does not see, so that it loads as many channels at once as C allows. They stay below
    the shortest tile of k: of a hint longer than its tensor Triton's compiler (3.6 to 3.9) crashes or never returns.
    """
    V: tl.constexpr = (C & -C) if (C & -C) < 8 else 8
    within = k % (F * C)
    row = k // (F * C) - F // 2
    column = within // C - F // 2
    offset = row * (W * C) + within - (F // 2) * C
    offset = tl.max_contiguous(tl.multiple_of(offset, V), V)
    return tl.max_constancy(row, V), tl.max_constancy(column, V), offset


@triton.jit
def conv_kernel(
    x_ptr,  # (members, pixels, C_IN)
    w_ptr,  # (members, F * F, inputs, outputs) of the layer, in x's dtype
    bias_ptr,  # (members, C_OUT) float32
    z_ptr,  # out: (members, pixels, C_OUT)
    mean_ptr,  # out: (members, tiles, C_OUT) float32: mean of each tile of z
    spread_ptr,  # out: likewise, sum of squared distances from the tile's mean
    n_pixels, H: tl.constexpr, W: tl.constexpr, C_IN: tl.constexpr, C_OUT: tl.constexpr, F: tl.constexpr,
    BACKWARD: tl.constexpr,  # the data gradient: C_IN are the layer's outputs, the window is turned by 180 degrees
    MOMENTS: tl.constexpr, PRECISION: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Convolve; forward also adds the bias, and on wish takes each tile's moments of what is stored."""
    tile = tl.program_id(0)
    member = tl.program_id(1).to(tl.int64)
    x_ptr += member * n_pixels * C_IN
    w_ptr += member * (F * F * C_IN * C_OUT)
    pixel = tile * BLOCK_P + tl.arange(0, BLOCK_P)
    row = (pixel // W) % H
    column = pixel % W
    c = tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_P, BLOCK_N), dtype=tl.float32)
    for start in range(0, F * F * C_IN, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        row_shift, column_shift, offset = _window(k, W, C_IN, F)
        r = row[:, None] + row_shift[None, :]
        q = column[:, None] + column_shift[None, :]
        inside = (r >= 0) & (r < H) & (q >= 0) & (q < W) & (pixel < n_pixels)[:, None] & (k < F * F * C_IN)[None, :]
        a = tl.load(x_ptr + (pixel[:, None] * C_IN + offset[None, :]), mask=inside, other=0.0)
        if BACKWARD:
            place = (F * F - 1 - k // C_IN) * (C_IN * C_OUT) + k % C_IN
            at = place[:, None] + c[None, :] * C_IN
        else:
            at = k[:, None] * C_OUT + c[None, :]
        b = tl.load(w_ptr + at, mask=(k < F * F * C_IN)[:, None] & (c < C_OUT)[None, :], other=0.0)
        acc = _dot(a, b, acc, PRECISION)
    if not BACKWARD:
        acc += tl.load(bias_ptr + member * C_OUT + c, mask=c < C_OUT, other=0.0)[None, :]
    z = narrow(acc, z_ptr.dtype.element_ty)
    valid = (pixel < n_pixels)[:, None] & (c < C_OUT)[None, :]
    tl.store(z_ptr + member * n_pixels * C_OUT + (pixel[:, None] * C_OUT + c[None, :]), z, mask=valid)
    if MOMENTS:
        count = tl.minimum(n_pixels - tile * BLOCK_P, BLOCK_P).to(tl.float32)
        wide = tl.where(valid, z.to(tl.float32), 0.0)
        mean = tl.sum(wide, axis=0) / count
        centred = tl.where(valid, wide - mean[None, :], 0.0)
        out = (member * tl.num_programs(0) + tile) * C_OUT + c
        tl.store(mean_ptr + out, mean, mask=c < C_OUT)
        tl.store(spread_ptr + out, tl.sum(centred * centred, axis=0), mask=c < C_OUT)


@triton.jit
def kernel_gradient_kernel(
    x_ptr,  # (members, pixels, C_IN)
    dz_ptr,  # (members, pixels, C_OUT)
    out_ptr,  # (members, splits, F * F * C_IN, C_OUT) float32
    n_pixels, H: tl.constexpr, W: tl.constexpr, C_IN: tl.constexpr, C_OUT: tl.constexpr, F: tl.constexpr,
    PRECISION: tl.constexpr,
    SPLIT: tl.constexpr,  # pixels of one split: a constant, so that sums do not depend on the number of members
    BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Sum windows of x times dz over one split of the pixels."""
    split = tl.program_id(1)
    member = tl.program_id(2).to(tl.int64)
    x_ptr += member * n_pixels * C_IN
    dz_ptr += member * n_pixels * C_OUT
    k = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    row_shift, column_shift, offset = _window(k, W, C_IN, F)
    c = tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_K, BLOCK_N), dtype=tl.float32)
    for start in range(split * SPLIT, tl.minimum((split + 1) * SPLIT, n_pixels), BLOCK_P):
        pixel = start + tl.arange(0, BLOCK_P)
        r = ((pixel // W) % H)[None, :] + row_shift[:, None]
        q = (pixel % W)[None, :] + column_shift[:, None]
        inside = (r >= 0) & (r < H) & (q >= 0) & (q < W) & (pixel < n_pixels)[None, :] & (k < F * F * C_IN)[:, None]
        a = tl.load(x_ptr + (pixel[None, :] * C_IN + offset[:, None]), mask=inside, other=0.0)
        valid = (pixel < n_pixels)[:, None] & (c < C_OUT)[None, :]
        b = tl.load(dz_ptr + (pixel[:, None] * C_OUT + c[None, :]), mask=valid, other=0.0)
        acc = _dot(a, b, acc, PRECISION)
    out_ptr += (member * tl.num_programs(1) + split) * (F * F * C_IN * C_OUT)
    tl.store(out_ptr + (k[:, None] * C_OUT + c[None, :]), acc, mask=(k < F * F * C_IN)[:, None] & (c < C_OUT)[None, :])
