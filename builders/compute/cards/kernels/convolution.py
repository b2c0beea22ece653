"""Triton kernels of the convolution itself: implicit GEMM and its kernel gradient, and the kernels' way in and out.

A tile of the output is ``BLOCK_P`` pixels of one member times all output channels. The depth of the product is the filter
window laid out as memory has it: ``k = (row * f + column) * C_in + channel``, so that neighbours in k are neighbours in
memory; nothing is unfolded. Offsets inside a member are int32, members int64.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from builders.compute.cards.kernels.basics import ACTIVE, N_FIELDS, dot, narrow


@triton.jit(do_not_specialize=["n", "n_weights"])
def pack_kernel(
    slots_ptr, vectors_ptr, source_ptr,  # (n,) int32: places in a vector, -1 for a zero
    packed_ptr,  # out: (members, n)
    n, n_weights, BLOCK: tl.constexpr,
):  # fmt: skip
    """Lay the kernels of all convolutions out as ``(F * F, C_IN, C_OUT)``, rounded to the dtype of products."""
    member = tl.program_id(1).to(tl.int64)
    if tl.load(slots_ptr + member * N_FIELDS + ACTIVE) == 0:
        return
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    source = tl.load(source_ptr + at, mask=at < n, other=-1)
    value = tl.load(vectors_ptr + member * n_weights + source, mask=source >= 0, other=0.0)
    tl.store(packed_ptr + member * n + at, narrow(value, packed_ptr.dtype.element_ty), mask=at < n)


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


@triton.jit(do_not_specialize=["bias_at", "n_weights"])
def conv_kernel(
    slots_ptr,
    x_ptr,  # (members, pixels, C_IN)
    packed_ptr,  # (members, n_packed): kernels in x's dtype, this layer's from packed_at
    vectors_ptr,
    z_ptr,  # out: (members, pixels, C_OUT)
    moments_ptr,  # out: (members, tiles, 2, C_OUT): each tile's mean, and its sum of squared distances from it
    packed_at, n_packed, bias_at, n_weights, n_pixels,
    H: tl.constexpr, W: tl.constexpr, C_IN: tl.constexpr, C_OUT: tl.constexpr, F: tl.constexpr,
    BACKWARD: tl.constexpr,  # the data gradient: C_IN are the layer's outputs, the window is turned by 180 degrees
    MOMENTS: tl.constexpr, PRECISION: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Convolve; forward also adds the bias, and on wish takes each tile's moments of what is stored."""
    tile = tl.program_id(0)
    member = tl.program_id(1).to(tl.int64)
    if tl.load(slots_ptr + member * N_FIELDS + ACTIVE) == 0:
        return
    T: tl.constexpr = vectors_ptr.dtype.element_ty
    x_ptr += member * n_pixels * C_IN
    packed_ptr += member * n_packed + packed_at
    pixel = tile * BLOCK_P + tl.arange(0, BLOCK_P)
    row = (pixel // W) % H
    column = pixel % W
    c = tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_P, BLOCK_N), dtype=T)
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
        b = tl.load(packed_ptr + at, mask=(k < F * F * C_IN)[:, None] & (c < C_OUT)[None, :], other=0.0)
        acc = dot(a, b, acc, PRECISION)
    if not BACKWARD:
        acc += tl.load(vectors_ptr + member * n_weights + bias_at + c, mask=c < C_OUT, other=0.0)[None, :]
    z = narrow(acc, z_ptr.dtype.element_ty)
    valid = (pixel < n_pixels)[:, None] & (c < C_OUT)[None, :]
    tl.store(z_ptr + member * n_pixels * C_OUT + (pixel[:, None] * C_OUT + c[None, :]), z, mask=valid)
    if MOMENTS:
        count = tl.minimum(n_pixels - tile * BLOCK_P, BLOCK_P).to(T)
        wide = tl.where(valid, z.to(T), 0.0)
        mean = tl.sum(wide, axis=0) / count
        centred = tl.where(valid, wide - mean[None, :], 0.0)
        out = moments_ptr + (member * tl.num_programs(0) + tile) * (2 * C_OUT) + c
        tl.store(out, mean, mask=c < C_OUT)
        tl.store(out + C_OUT, tl.sum(centred * centred, axis=0), mask=c < C_OUT)


@triton.jit
def kernel_gradient_kernel(
    slots_ptr,
    x_ptr,  # (members, pixels, C_IN)
    dz_ptr,  # (members, pixels, C_OUT)
    parts_ptr,  # out: (members, splits, F * F * C_IN, C_OUT)
    n_pixels, H: tl.constexpr, W: tl.constexpr, C_IN: tl.constexpr, C_OUT: tl.constexpr, F: tl.constexpr,
    PRECISION: tl.constexpr,
    SPLIT: tl.constexpr,  # pixels of one split: a constant, so that sums do not depend on the number of members
    BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Sum windows of x times dz over one split of the pixels."""
    split = tl.program_id(1)
    member = tl.program_id(2).to(tl.int64)
    if tl.load(slots_ptr + member * N_FIELDS + ACTIVE) == 0:
        return
    x_ptr += member * n_pixels * C_IN
    dz_ptr += member * n_pixels * C_OUT
    k = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    row_shift, column_shift, offset = _window(k, W, C_IN, F)
    c = tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_K, BLOCK_N), dtype=parts_ptr.dtype.element_ty)
    for start in range(split * SPLIT, tl.minimum((split + 1) * SPLIT, n_pixels), BLOCK_P):
        pixel = start + tl.arange(0, BLOCK_P)
        r = ((pixel // W) % H)[None, :] + row_shift[:, None]
        q = (pixel % W)[None, :] + column_shift[:, None]
        inside = (r >= 0) & (r < H) & (q >= 0) & (q < W) & (pixel < n_pixels)[None, :] & (k < F * F * C_IN)[:, None]
        a = tl.load(x_ptr + (pixel[None, :] * C_IN + offset[:, None]), mask=inside, other=0.0)
        valid = (pixel < n_pixels)[:, None] & (c < C_OUT)[None, :]
        b = tl.load(dz_ptr + (pixel[:, None] * C_OUT + c[None, :]), mask=valid, other=0.0)
        acc = dot(a, b, acc, PRECISION)
    parts_ptr += (member * tl.num_programs(1) + split) * (F * F * C_IN * C_OUT)
    tl.store(parts_ptr + (k[:, None] * C_OUT + c[None, :]), acc, mask=(k < F * F * C_IN)[:, None] & (c < C_OUT)[None, :])


@triton.jit(do_not_specialize=["n_parts", "at", "n_weights"])
def sum_kernel(
    slots_ptr,
    parts_ptr,  # (members, n_parts, N)
    values_ptr,
    n_parts, at, n_weights, N: tl.constexpr,
    AREA: tl.constexpr,  # of a kernel gradient (AREA, C_IN, C_OUT), which a vector holds as (C_OUT, CHANNELS, AREA); or 0
    C_IN: tl.constexpr, CHANNELS: tl.constexpr, C_OUT: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_J: tl.constexpr,
):  # fmt: skip
    """Add parts up, in an order of their number alone, into each member's values."""
    member = tl.program_id(1).to(tl.int64)
    if tl.load(slots_ptr + member * N_FIELDS + ACTIVE) == 0:
        return
    j = tl.program_id(0) * BLOCK_J + tl.arange(0, BLOCK_J)
    total = tl.zeros((BLOCK_S, BLOCK_J), dtype=parts_ptr.dtype.element_ty)
    for start in range(0, n_parts, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S)
        mask = (s < n_parts)[:, None] & (j < N)[None, :]
        total += tl.load(parts_ptr + (member * n_parts + s[:, None]) * N + j[None, :], mask=mask, other=0.0)
    place, kept = j, j < N
    if AREA:
        channel = (j // C_OUT) % C_IN
        place = ((j % C_OUT) * CHANNELS + channel) * AREA + j // (C_OUT * C_IN)
        kept = kept & (channel < CHANNELS)
    tl.store(values_ptr + member * n_weights + at + place, tl.sum(total, axis=0), mask=kept)
