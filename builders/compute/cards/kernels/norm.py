"""Triton kernels around the convolution: batch norm's moments, and norm, max-pool and activation in one pass each way.

Elementwise kernels take a tile of ``BLOCK_Q`` output pixels of one member times all channels, with the four cells of each
pool window in registers; nothing between the convolution's output and the block's output goes through memory, and the
backward pass computes it again. The activation comes last, which is exact since all four never fall.

``norm_at`` is where a layer's beta, gamma, mean and variance lie in a vector, one after the other; a step's values hold
there the gradients of the first two and the batch's other two.

Variance comes from centred moments (Chan, Golub, LeVeque 1983): with E[x^2] - E[x]^2 float32 would lose it where the mean
is far from zero, as after a constant initialisation. Values are normalised as ``(z - mean) * scale + beta`` for the same
reason. NaN passes through pool and activations as in PyTorch.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from builders.compute.cards.kernels.basics import ACTIVE, CODE, N_FIELDS, activate, narrow, slope


@triton.jit(do_not_specialize=["n_tiles", "norm_at", "n_weights"])
def moments_kernel(
    slots_ptr,
    moments_ptr,  # (members, tiles, 2, C): mean of TILE pixels, the last tile may be shorter; squared distances from it
    values_ptr,  # out: mean and biased variance
    n_pixels, n_tiles, norm_at, n_weights, C: tl.constexpr, TILE: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Combine the tiles' moments into each channel's mean and variance."""
    member = tl.program_id(1).to(tl.int64)
    if tl.load(slots_ptr + member * N_FIELDS + ACTIVE) == 0:
        return
    T: tl.constexpr = moments_ptr.dtype.element_ty
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    moments_ptr += member * n_tiles * (2 * C)
    origin = tl.load(moments_ptr + c, mask=c < C, other=0.0)
    total = tl.zeros((BLOCK_T, BLOCK_C), dtype=T)
    for start in range(0, n_tiles, BLOCK_T):
        tile = start + tl.arange(0, BLOCK_T)
        valid = (tile < n_tiles)[:, None] & (c < C)[None, :]
        mean = tl.load(moments_ptr + (tile[:, None] * (2 * C) + c[None, :]), mask=valid, other=0.0)
        count = tl.minimum(n_pixels - tile * TILE, TILE).to(T)
        total += tl.where(valid, (mean - origin[None, :]) * count[:, None], 0.0)
    whole = origin + tl.sum(total, axis=0) / n_pixels
    total = tl.zeros((BLOCK_T, BLOCK_C), dtype=T)
    for start in range(0, n_tiles, BLOCK_T):
        tile = start + tl.arange(0, BLOCK_T)
        valid = (tile < n_tiles)[:, None] & (c < C)[None, :]
        at = tile[:, None] * (2 * C) + c[None, :]
        mean = tl.load(moments_ptr + at, mask=valid, other=0.0) - whole[None, :]
        spread = tl.load(moments_ptr + at + C, mask=valid, other=0.0)
        count = tl.minimum(n_pixels - tile * TILE, TILE).to(T)
        total += tl.where(valid, spread + mean * mean * count[:, None], 0.0)
    out = values_ptr + member * n_weights + norm_at + 2 * C + c
    tl.store(out, whole, mask=c < C)
    tl.store(out + C, tl.sum(total, axis=0) / n_pixels, mask=c < C)


@triton.jit
def _corner(q, H: tl.constexpr, W: tl.constexpr, POOL: tl.constexpr):
    """Return the input pixel of output pixel q: the first cell of its pool window."""
    if POOL:
        image = q // ((H // 2) * (W // 2))
        row = (q // (W // 2)) % (H // 2)
        pixel = image * (H * W) + row * (2 * W) + (q % (W // 2)) * 2
    else:
        pixel = q
    return pixel


@triton.jit
def coefficients(vectors_ptr, statistics_ptr, at, c, C: tl.constexpr, EPS: tl.constexpr, NORM: tl.constexpr):
    """Load ``mean, 1 / std, beta, gamma`` of channels as rows; zeros and ones without norm.

    ``statistics_ptr`` is a vector's for the running statistics, a step's values for those of the batch.
    """
    mean = tl.zeros(c.shape, dtype=vectors_ptr.dtype.element_ty)
    rstd = mean + 1.0
    beta = mean
    gamma = rstd
    if NORM:
        mask = c < C
        beta = tl.load(vectors_ptr + at + c, mask=mask, other=0.0)
        gamma = tl.load(vectors_ptr + at + C + c, mask=mask, other=0.0)
        mean = tl.load(statistics_ptr + at + 2 * C + c, mask=mask, other=0.0)
        rstd = 1.0 / tl.sqrt(tl.load(statistics_ptr + at + 3 * C + c, mask=mask, other=0.0) + EPS)
    return mean[None, :], rstd[None, :], beta[None, :], gamma[None, :]


@triton.jit
def _choose(hat, value, cell, z_ptr, at, mask, mean, rstd, beta, gamma, CELL: tl.constexpr, NORM: tl.constexpr):
    """Compare with one more cell of the pool window; the first of equal values stays, a NaN wins."""
    other_hat = tl.load(z_ptr + at, mask=mask, other=0.0).to(mean.dtype)
    other = other_hat
    if NORM:
        other_hat = (other_hat - mean) * rstd
        other = other_hat * gamma + beta
    better = (other > value) | (other != other)
    return tl.where(better, other_hat, hat), tl.where(better, other, value), tl.where(better, CELL, cell)


@triton.jit
def _best(
    z_ptr, at, mask, mean, rstd, beta, gamma, W: tl.constexpr, C: tl.constexpr, POOL: tl.constexpr, NORM: tl.constexpr
):
    """Return the window's greatest normalised value: before gamma and beta, after them, and its cell."""
    hat = tl.load(z_ptr + at, mask=mask, other=0.0).to(mean.dtype)
    value = hat
    if NORM:
        hat = (hat - mean) * rstd
        value = hat * gamma + beta
    cell = tl.zeros_like(at)
    if POOL:
        for CELL in tl.static_range(1, 4):
            place = at + ((CELL // 2) * W + CELL % 2) * C
            hat, value, cell = _choose(hat, value, cell, z_ptr, place, mask, mean, rstd, beta, gamma, CELL, NORM)
    return hat, value, cell


@triton.jit(do_not_specialize=["norm_at", "n_weights"])
def finish_kernel(
    slots_ptr,
    z_ptr,  # (members, batch, H, W, C)
    vectors_ptr, statistics_ptr,
    y_ptr,  # out: (members, batch, H', W', C)
    norm_at, n_weights,
    n_out,  # batch * H' * W'
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, POOL: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Normalise, pool and activate."""
    member = tl.program_id(1).to(tl.int64)
    slot = slots_ptr + member * N_FIELDS
    if tl.load(slot + ACTIVE) == 0:
        return
    q = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    c = tl.arange(0, BLOCK_C)
    mask = (q < n_out)[:, None] & (c < C)[None, :]
    line = member * n_weights + norm_at
    mean, rstd, beta, gamma = coefficients(vectors_ptr, statistics_ptr, line, c, C, EPS, NORM)
    z_ptr += member * n_out * ((4 if POOL else 1) * C)
    at = _corner(q, H, W, POOL)[:, None] * C + c[None, :]
    _, value, _ = _best(z_ptr, at, mask, mean, rstd, beta, gamma, W, C, POOL, NORM)
    y = activate(value, tl.load(slot + CODE))
    tl.store(y_ptr + member * n_out * C + (q[:, None] * C + c[None, :]), narrow(y, y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["norm_at", "n_weights"])
def norm_sums_kernel(
    slots_ptr,
    dy_ptr,  # (members, batch, H', W', C)
    z_ptr,  # (members, batch, H, W, C)
    vectors_ptr, values_ptr,
    parts_ptr,  # out: (members, tiles, 2, C): sums for the gradients of beta and gamma
    norm_at, n_weights, n_out,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, POOL: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Take each tile's two sums of batch norm's backward pass."""
    member = tl.program_id(1).to(tl.int64)
    slot = slots_ptr + member * N_FIELDS
    if tl.load(slot + ACTIVE) == 0:
        return
    q = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    c = tl.arange(0, BLOCK_C)
    mask = (q < n_out)[:, None] & (c < C)[None, :]
    line = member * n_weights + norm_at
    mean, rstd, beta, gamma = coefficients(vectors_ptr, values_ptr, line, c, C, EPS, NORM)
    z_ptr += member * n_out * ((4 if POOL else 1) * C)
    at = _corner(q, H, W, POOL)[:, None] * C + c[None, :]
    hat, value, _ = _best(z_ptr, at, mask, mean, rstd, beta, gamma, W, C, POOL, NORM)
    dy = tl.load(dy_ptr + member * n_out * C + (q[:, None] * C + c[None, :]), mask=mask, other=0.0).to(mean.dtype)
    code = tl.load(slot + CODE)
    dn = tl.where(mask, dy * slope(activate(value, code), code), 0.0)
    out = parts_ptr + (member * tl.num_programs(0) + tl.program_id(0)) * (2 * C) + c
    tl.store(out, tl.sum(dn, axis=0), mask=c < C)
    tl.store(out + C, tl.sum(tl.where(mask, dn * hat, 0.0), axis=0), mask=c < C)


@triton.jit
def _store_cell(
    dz_ptr, z_ptr, at, mask, dn, cell, mean, rstd, gamma, beta_part, gamma_part, CELL: tl.constexpr, NORM: tl.constexpr
):
    """Store the gradient of one cell of the pool windows; return it as stored, zero outside the mask."""
    dz = tl.where(cell == CELL, dn, 0.0)
    if NORM:
        hat = (tl.load(z_ptr + at, mask=mask, other=0.0).to(mean.dtype) - mean) * rstd
        dz = (dz - (beta_part + hat * gamma_part)) * (rstd * gamma)
    stored = narrow(dz, dz_ptr.dtype.element_ty)
    tl.store(dz_ptr + at, stored, mask=mask)
    return tl.where(mask, stored.to(mean.dtype), 0.0)


@triton.jit(do_not_specialize=["norm_at", "n_weights"])
def finish_gradient_kernel(
    slots_ptr,
    dy_ptr,  # (members, batch, H', W', C)
    z_ptr,  # (members, batch, H, W, C)
    vectors_ptr, values_ptr,
    dz_ptr,  # out: like z
    parts_ptr,  # out: (members, tiles, C): sums of dz, for the bias
    norm_at, n_weights, n_out,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, POOL: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Take the gradient back through activation, pool and norm to every cell."""
    member = tl.program_id(1).to(tl.int64)
    slot = slots_ptr + member * N_FIELDS
    if tl.load(slot + ACTIVE) == 0:
        return
    q = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    c = tl.arange(0, BLOCK_C)
    mask = (q < n_out)[:, None] & (c < C)[None, :]
    line = member * n_weights + norm_at
    mean, rstd, beta, gamma = coefficients(vectors_ptr, values_ptr, line, c, C, EPS, NORM)
    z_ptr += member * n_out * ((4 if POOL else 1) * C)
    dz_ptr += member * n_out * ((4 if POOL else 1) * C)
    at = _corner(q, H, W, POOL)[:, None] * C + c[None, :]
    _, value, cell = _best(z_ptr, at, mask, mean, rstd, beta, gamma, W, C, POOL, NORM)
    dy = tl.load(dy_ptr + member * n_out * C + (q[:, None] * C + c[None, :]), mask=mask, other=0.0).to(mean.dtype)
    code = tl.load(slot + CODE)
    dn = dy * slope(activate(value, code), code)
    beta_part = mean
    gamma_part = mean
    if NORM:
        count = n_out * (4 if POOL else 1)
        beta_part = tl.load(values_ptr + line + c, mask=c < C, other=0.0)[None, :] / count
        gamma_part = tl.load(values_ptr + line + C + c, mask=c < C, other=0.0)[None, :] / count
    total = tl.zeros_like(dn)
    for CELL in tl.static_range(4 if POOL else 1):
        place = at + ((CELL // 2) * W + CELL % 2) * C
        total += _store_cell(dz_ptr, z_ptr, place, mask, dn, cell, mean, rstd, gamma, beta_part, gamma_part, CELL, NORM)
    out = parts_ptr + (member * tl.num_programs(0) + tl.program_id(0)) * C + c
    tl.store(out, tl.sum(total, axis=0), mask=c < C)
