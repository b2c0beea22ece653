"""Triton kernels around the convolution: batch norm's moments, and norm, max-pool and activation in one pass each way.

Elementwise kernels take a tile of ``BLOCK_Q`` output pixels of one member times all channels, with the four cells of each
pool window in registers; nothing between the convolution's output and the block's output goes through memory, and the
backward pass computes it again. Sums over pixels are taken in two stages of fixed order: within tiles, then over tiles.

Variance comes from centred moments (Chan, Golub, LeVeque 1983): with E[x^2] - E[x]^2 float32 would lose it where the mean
is far from zero, as after a constant initialisation. Values are normalised as ``(z - mean) * scale + beta`` for the same
reason. NaN passes through pool and activations as in PyTorch.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from builders.compute.cards.blocks.triton_conv import narrow
from builders.recipe.constants import ACTIVATION_CODES

ELU, SIGMOID, TANH = (tl.constexpr(ACTIVATION_CODES[name]) for name in ("elu", "sigmoid", "tanh"))


@triton.jit
def moments_kernel(
    mean_ptr,  # (members, tiles, C) float32: means of tiles of TILE pixels, the last tile may be shorter
    spread_ptr,  # likewise: sums of squared distances from the tile's mean
    out_mean_ptr,  # (members, C) float32
    out_variance_ptr,  # likewise, biased
    n_pixels, n_tiles, C: tl.constexpr, TILE: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Combine the tiles' moments into each channel's mean and variance."""
    member = tl.program_id(1).to(tl.int64)
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    mean_ptr += member * n_tiles * C
    spread_ptr += member * n_tiles * C
    origin = tl.load(mean_ptr + c, mask=c < C, other=0.0)
    total = tl.zeros((BLOCK_T, BLOCK_C), dtype=tl.float32)
    for start in range(0, n_tiles, BLOCK_T):
        tile = start + tl.arange(0, BLOCK_T)
        valid = (tile < n_tiles)[:, None] & (c < C)[None, :]
        mean = tl.load(mean_ptr + (tile[:, None] * C + c[None, :]), mask=valid, other=0.0)
        count = tl.minimum(n_pixels - tile * TILE, TILE).to(tl.float32)
        total += tl.where(valid, (mean - origin[None, :]) * count[:, None], 0.0)
    whole = origin + tl.sum(total, axis=0) / n_pixels
    total = tl.zeros((BLOCK_T, BLOCK_C), dtype=tl.float32)
    for start in range(0, n_tiles, BLOCK_T):
        tile = start + tl.arange(0, BLOCK_T)
        valid = (tile < n_tiles)[:, None] & (c < C)[None, :]
        mean = tl.load(mean_ptr + (tile[:, None] * C + c[None, :]), mask=valid, other=0.0) - whole[None, :]
        spread = tl.load(spread_ptr + (tile[:, None] * C + c[None, :]), mask=valid, other=0.0)
        count = tl.minimum(n_pixels - tile * TILE, TILE).to(tl.float32)
        total += tl.where(valid, spread + mean * mean * count[:, None], 0.0)
    tl.store(out_mean_ptr + member * C + c, whole, mask=c < C)
    tl.store(out_variance_ptr + member * C + c, tl.sum(total, axis=0) / n_pixels, mask=c < C)


@triton.jit
def _activate(x, code):
    """Apply the activation of a code; near zero ELU and tanh by their series, where the formula would cancel."""
    y = tl.where(x < 0.0, 0.0, x)
    if code == ELU:
        series = x * (1.0 + x * (0.5 + x * (0.16666667 + x * 0.041666668)))
        y = tl.where(x > 0.0, x, tl.where(x > -0.03, series, tl.exp(x) - 1.0))
    if code == SIGMOID:
        y = 1.0 / (1.0 + tl.exp(-x))
    if code == TANH:
        small = tl.exp(-2.0 * tl.abs(x))
        large = (1.0 - small) / (1.0 + small)
        series = x * (1.0 + x * x * (-0.33333334 + x * x * 0.13333334))
        y = tl.where(tl.abs(x) < 0.06, series, tl.where(x < 0.0, -large, large))
    return y


@triton.jit
def _slope(x, code):
    """Return the activation's derivative."""
    y = _activate(x, code)
    slope = tl.where(x <= 0.0, 0.0, 1.0)
    if code == ELU:
        slope = tl.where(x > 0.0, 1.0, y + 1.0)
    if code == SIGMOID:
        slope = y * (1.0 - y)
    if code == TANH:
        slope = 1.0 - y * y
    return slope


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
def _coefficients(mean_ptr, variance_ptr, beta_ptr, gamma_ptr, at, mask, EPS: tl.constexpr, NORM: tl.constexpr):
    """Load ``mean, 1 / std, beta, gamma`` of all channels as rows; zeros and ones without norm."""
    mean = tl.where(mask, 0.0, 0.0)
    rstd = mean + 1.0
    beta = mean
    gamma = rstd
    if NORM:
        mean = tl.load(mean_ptr + at, mask=mask, other=0.0)
        rstd = 1.0 / tl.sqrt(tl.load(variance_ptr + at, mask=mask, other=0.0) + EPS)
        beta = tl.load(beta_ptr + at, mask=mask, other=0.0)
        gamma = tl.load(gamma_ptr + at, mask=mask, other=0.0)
    return mean[None, :], rstd[None, :], beta[None, :], gamma[None, :]


@triton.jit
def _choose(hat, value, cell, z_ptr, at, mask, mean, rstd, beta, gamma, CELL: tl.constexpr, NORM: tl.constexpr):
    """Compare with one more cell of the pool window; the first of equal values stays, a NaN wins."""
    other_hat = tl.load(z_ptr + at, mask=mask, other=0.0).to(tl.float32)
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
    hat = tl.load(z_ptr + at, mask=mask, other=0.0).to(tl.float32)
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


@triton.jit
def finish_kernel(
    z_ptr,  # (members, batch, H, W, C)
    mean_ptr,  # (members, C) float32, as the next three
    variance_ptr, beta_ptr, gamma_ptr,
    codes_ptr,  # (members,) int32
    y_ptr,  # out: (members, batch, H', W', C)
    n_out,  # batch * H' * W'
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, POOL: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Normalise, pool and activate."""
    member = tl.program_id(1).to(tl.int64)
    q = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    c = tl.arange(0, BLOCK_C)
    mask = (q < n_out)[:, None] & (c < C)[None, :]
    mean, rstd, beta, gamma = _coefficients(mean_ptr, variance_ptr, beta_ptr, gamma_ptr, member * C + c, c < C, EPS, NORM)
    z_ptr += member * n_out * ((4 if POOL else 1) * C)
    at = _corner(q, H, W, POOL)[:, None] * C + c[None, :]
    _, value, _ = _best(z_ptr, at, mask, mean, rstd, beta, gamma, W, C, POOL, NORM)
    y = _activate(value, tl.load(codes_ptr + member))
    tl.store(y_ptr + member * n_out * C + (q[:, None] * C + c[None, :]), narrow(y, y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def norm_sums_kernel(
    dy_ptr,  # (members, batch, H', W', C)
    z_ptr,  # (members, batch, H, W, C)
    mean_ptr, variance_ptr, beta_ptr, gamma_ptr, codes_ptr,
    parts_ptr,  # out: (2, members, tiles, C) float32: sums for the gradients of beta and gamma
    n_out, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, POOL: tl.constexpr, EPS: tl.constexpr, BLOCK_Q: tl.constexpr,
    BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Take each tile's two sums of batch norm's backward pass."""
    member = tl.program_id(1).to(tl.int64)
    q = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    c = tl.arange(0, BLOCK_C)
    mask = (q < n_out)[:, None] & (c < C)[None, :]
    mean, rstd, beta, gamma = _coefficients(mean_ptr, variance_ptr, beta_ptr, gamma_ptr, member * C + c, c < C, EPS, True)
    z_ptr += member * n_out * ((4 if POOL else 1) * C)
    at = _corner(q, H, W, POOL)[:, None] * C + c[None, :]
    hat, value, _ = _best(z_ptr, at, mask, mean, rstd, beta, gamma, W, C, POOL, True)
    dy = tl.load(dy_ptr + member * n_out * C + (q[:, None] * C + c[None, :]), mask=mask, other=0.0).to(tl.float32)
    dn = tl.where(mask, dy * _slope(value, tl.load(codes_ptr + member)), 0.0)
    out = (member * tl.num_programs(0) + tl.program_id(0)) * C + c
    tl.store(parts_ptr + out, tl.sum(dn, axis=0), mask=c < C)
    out += tl.num_programs(1).to(tl.int64) * tl.num_programs(0) * C
    tl.store(parts_ptr + out, tl.sum(tl.where(mask, dn * hat, 0.0), axis=0), mask=c < C)


@triton.jit
def _store_cell(
    dz_ptr, z_ptr, at, mask, dn, cell, mean, rstd, gamma, beta_part, gamma_part, CELL: tl.constexpr, NORM: tl.constexpr
):
    """Store the gradient of one cell of the pool windows; return it as stored, zero outside the mask."""
    dz = tl.where(cell == CELL, dn, 0.0)
    if NORM:
        hat = (tl.load(z_ptr + at, mask=mask, other=0.0).to(tl.float32) - mean) * rstd
        dz = (dz - (beta_part + hat * gamma_part)) * (rstd * gamma)
    stored = narrow(dz, dz_ptr.dtype.element_ty)
    tl.store(dz_ptr + at, stored, mask=mask)
    return tl.where(mask, stored.to(tl.float32), 0.0)


@triton.jit
def finish_gradient_kernel(
    dy_ptr,  # (members, batch, H', W', C)
    z_ptr,  # (members, batch, H, W, C)
    mean_ptr, variance_ptr, beta_ptr, gamma_ptr, codes_ptr,
    sums_ptr,  # (2, members, C) float32: the gradients of beta and gamma
    dz_ptr,  # out: like z
    parts_ptr,  # out: (members, tiles, C) float32: sums of dz, for the bias
    n_out, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, POOL: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Take the gradient back through activation, pool and norm to every cell."""
    member = tl.program_id(1).to(tl.int64)
    q = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    c = tl.arange(0, BLOCK_C)
    mask = (q < n_out)[:, None] & (c < C)[None, :]
    line = member * C + c
    mean, rstd, beta, gamma = _coefficients(mean_ptr, variance_ptr, beta_ptr, gamma_ptr, line, c < C, EPS, NORM)
    z_ptr += member * n_out * ((4 if POOL else 1) * C)
    dz_ptr += member * n_out * ((4 if POOL else 1) * C)
    at = _corner(q, H, W, POOL)[:, None] * C + c[None, :]
    _, value, cell = _best(z_ptr, at, mask, mean, rstd, beta, gamma, W, C, POOL, NORM)
    dy = tl.load(dy_ptr + member * n_out * C + (q[:, None] * C + c[None, :]), mask=mask, other=0.0).to(tl.float32)
    dn = dy * _slope(value, tl.load(codes_ptr + member))
    beta_part = mean
    gamma_part = mean
    if NORM:
        count = n_out * (4 if POOL else 1)
        beta_part = tl.load(sums_ptr + line, mask=c < C, other=0.0)[None, :] / count
        second = sums_ptr + tl.num_programs(1).to(tl.int64) * C
        gamma_part = tl.load(second + line, mask=c < C, other=0.0)[None, :] / count
    total = tl.zeros_like(dn)
    for CELL in tl.static_range(4 if POOL else 1):
        place = at + ((CELL // 2) * W + CELL % 2) * C
        total += _store_cell(dz_ptr, z_ptr, place, mask, dn, cell, mean, rstd, gamma, beta_part, gamma_part, CELL, NORM)
    out = (member * tl.num_programs(0) + tl.program_id(0)) * C + c
    tl.store(parts_ptr + out, tl.sum(total, axis=0), mask=c < C)
