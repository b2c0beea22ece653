"""Triton kernels of the fully connected layers: one product a launch, with all that follows it in its epilogue.

While training, a program holds all images of the batch times some units, so batch norm's sums over the batch are its own.
Dropout's bits are drawn where they are used, twice: ``units`` counts all hidden units, ``first_unit`` those before.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from builders.compute.cards.kernels.basics import ACTIVE, CODE, CURSOR, N_FIELDS, SEED, STEP, activate, dot, narrow, slope
from builders.compute.cards.kernels.norm import coefficients
from builders.recipe import constants
from nws_data.randomness import Purpose

DROPOUT, DROPOUT_SCALE = tl.constexpr(int(Purpose.DROPOUT)), tl.constexpr(constants.DROPOUT_SCALE)


@triton.jit
def _product(
    x_ptr, kernel_ptr, row, column, BATCH: tl.constexpr, DEPTH: tl.constexpr, COLUMNS: tl.constexpr,
    DEPTH_STRIDE: tl.constexpr, COLUMN_STRIDE: tl.constexpr, PRECISION: tl.constexpr, BLOCK_B: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Return rows of x ``(BATCH, DEPTH)`` times columns of a kernel, which is rounded to x's dtype."""
    acc = tl.zeros((BLOCK_B, BLOCK_N), dtype=kernel_ptr.dtype.element_ty)
    for start in range(0, DEPTH, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        mask = (row < BATCH)[:, None] & (k < DEPTH)[None, :]
        a = tl.load(x_ptr + (row[:, None] * DEPTH + k[None, :]), mask=mask, other=0.0)
        mask = (k < DEPTH)[:, None] & (column < COLUMNS)[None, :]
        b = tl.load(kernel_ptr + (k[:, None] * DEPTH_STRIDE + column[None, :] * COLUMN_STRIDE), mask=mask, other=0.0)
        acc = dot(a, narrow(b, x_ptr.dtype.element_ty), acc, PRECISION)
    return acc


@triton.jit
def _kept(slot, row, unit, units):
    """Draw which units dropout keeps; see ``builders.compute.plain``."""
    bit = row[:, None] * units + unit[None, :]
    word = bit // 32
    w0, w1, w2, w3 = tl.philox(tl.load(slot + SEED), word // 4, tl.load(slot + STEP).to(tl.uint32), DROPOUT, 0)
    low = tl.where(word % 2 == 0, w0, w1)
    high = tl.where(word % 2 == 0, w2, w3)
    drawn = tl.where(word % 4 < 2, low, high)
    return ((drawn >> (bit % 32).to(tl.uint32)) & 1) == 1


@triton.jit(do_not_specialize=["kernel_at", "n_weights", "first_unit", "units"])
def hidden_kernel(
    slots_ptr,
    x_ptr,  # (members, BATCH, N_IN)
    vectors_ptr, values_ptr,
    a_ptr,  # out, while training: (members, BATCH, N_OUT), after the activation
    y_ptr,  # out: likewise, after norm and dropout
    kernel_at, n_weights, first_unit, units, BATCH: tl.constexpr, N_IN: tl.constexpr, N_OUT: tl.constexpr,
    TRAINING: tl.constexpr, NORM: tl.constexpr, EPS: tl.constexpr, PRECISION: tl.constexpr, BLOCK_B: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a hidden layer: product, bias, activation, norm, dropout."""
    member = tl.program_id(2).to(tl.int64)
    slot = slots_ptr + member * N_FIELDS
    if tl.load(slot + ACTIVE) == 0:
        return
    row = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    c = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    line = member * n_weights + kernel_at
    z = _product(x_ptr + member * (BATCH * N_IN), vectors_ptr + line, row, c, BATCH, N_IN, N_OUT, 1, N_IN, PRECISION,
                 BLOCK_B, BLOCK_N, BLOCK_K)  # fmt: skip
    line += N_IN * N_OUT
    z += tl.load(vectors_ptr + line + c, mask=c < N_OUT, other=0.0)[None, :]
    line += N_OUT
    valid = (row < BATCH)[:, None] & (c < N_OUT)[None, :]
    at = member * (BATCH * N_OUT) + row[:, None] * N_OUT + c[None, :]
    a = narrow(activate(z, tl.load(slot + CODE)), y_ptr.dtype.element_ty)
    y = a.to(z.dtype)
    if TRAINING:
        tl.store(a_ptr + at, a, mask=valid)
    if NORM:
        if TRAINING:
            batch_mean = tl.sum(tl.where(valid, y, 0.0), axis=0) / BATCH
            centred = tl.where(valid, y - batch_mean[None, :], 0.0)
            variance = tl.sum(centred * centred, axis=0) / BATCH
            tl.store(values_ptr + line + 2 * N_OUT + c, batch_mean, mask=c < N_OUT)
            tl.store(values_ptr + line + 3 * N_OUT + c, variance, mask=c < N_OUT)
            beta = tl.load(vectors_ptr + line + c, mask=c < N_OUT, other=0.0)[None, :]
            gamma = tl.load(vectors_ptr + line + N_OUT + c, mask=c < N_OUT, other=0.0)[None, :]
            y = (y - batch_mean[None, :]) * (1.0 / tl.sqrt(variance + EPS))[None, :] * gamma + beta
        else:
            mean, rstd, beta, gamma = coefficients(vectors_ptr, vectors_ptr, line, c, N_OUT, EPS, NORM)
            y = (y - mean) * rstd * gamma + beta
    if TRAINING:
        y = tl.where(_kept(slot, row, first_unit + c, units), y * DROPOUT_SCALE, 0.0)
    tl.store(y_ptr + at, narrow(y, y_ptr.dtype.element_ty), mask=valid)


@triton.jit(do_not_specialize=["kernel_at", "n_weights", "longest"])
def output_kernel(
    slots_ptr,
    rows_ptr,  # (members, longest, BATCH) int32
    labels_ptr,  # of the bank, int64
    x_ptr,  # (members, BATCH, N_IN)
    vectors_ptr, values_ptr,
    losses_ptr,  # out, while training: (members,)
    out_ptr,  # out, while training: (members, BATCH, N_OUT), the gradient of the logits; else one image's 1 if correct
    kernel_at, n_weights, longest, BATCH: tl.constexpr, N_IN: tl.constexpr, N_OUT: tl.constexpr, TRAINING: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute the logits; while training the mean cross-entropy and its gradient, else which images are correct."""
    member = tl.program_id(1).to(tl.int64)
    slot = slots_ptr + member * N_FIELDS
    if tl.load(slot + ACTIVE) == 0:
        return
    row = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    c = tl.arange(0, BLOCK_N)
    line = member * n_weights + kernel_at
    logits = _product(x_ptr + member * (BATCH * N_IN), vectors_ptr + line, row, c, BATCH, N_IN, N_OUT, 1, N_IN, PRECISION,
                      BLOCK_B, BLOCK_N, BLOCK_K)  # fmt: skip
    line += N_IN * N_OUT
    logits += tl.load(vectors_ptr + line + c, mask=c < N_OUT, other=0.0)[None, :]
    logits = tl.where((c < N_OUT)[None, :], logits, float("-inf"))
    place = (member * longest + tl.load(slot + CURSOR)) * BATCH + row
    image = tl.load(rows_ptr + place, mask=row < BATCH, other=0)
    label = tl.load(labels_ptr + image, mask=row < BATCH, other=0)
    if TRAINING:
        centred = logits - tl.max(logits, axis=1)[:, None]
        exponentials = tl.exp(centred)
        total = tl.sum(exponentials, axis=1)
        chosen = c[None, :] == label[:, None]
        losses = tl.log(total) - tl.sum(tl.where(chosen, centred, 0.0), axis=1)
        tl.store(losses_ptr + member, tl.sum(tl.where(row < BATCH, losses, 0.0), axis=0) / BATCH)
        gradient = (exponentials / total[:, None] - tl.where(chosen, 1.0, 0.0).to(logits.dtype)) / BATCH
        stored = narrow(gradient, out_ptr.dtype.element_ty)
        valid = (row < BATCH)[:, None] & (c < N_OUT)[None, :]
        tl.store(out_ptr + member * (BATCH * N_OUT) + row[:, None] * N_OUT + c[None, :], stored, mask=valid)
        bias = tl.sum(tl.where(valid, stored.to(logits.dtype), 0.0), axis=0)
        tl.store(values_ptr + line + c, bias, mask=c < N_OUT)
    else:
        logits = tl.where(logits == logits, logits, float("inf"))  # a NaN is the largest, as in PyTorch
        correct = tl.argmax(logits, axis=1) == label
        tl.store(out_ptr + place, correct.to(tl.uint8), mask=row < BATCH)


@triton.jit(do_not_specialize=["kernel_at", "bias_at", "n_weights", "first_unit", "units"])
def inputs_kernel(
    slots_ptr,
    dz_ptr,  # (members, BATCH, N_OUT)
    a_ptr,  # (members, BATCH, N_IN): of a hidden layer before, after its activation
    vectors_ptr, values_ptr,
    dx_ptr,  # out: (members, BATCH, N_IN): of a hidden layer before, the gradient before its activation
    kernel_at, bias_at, n_weights, first_unit, units, BATCH: tl.constexpr, N_IN: tl.constexpr, N_OUT: tl.constexpr,
    HIDDEN: tl.constexpr,  # whether a hidden layer is before, with its bias at bias_at, or the convolutions
    NORM: tl.constexpr, EPS: tl.constexpr, PRECISION: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Take the gradient back to a layer's inputs, and through dropout, norm and activation of a hidden layer before."""
    member = tl.program_id(1).to(tl.int64)
    slot = slots_ptr + member * N_FIELDS
    if tl.load(slot + ACTIVE) == 0:
        return
    row = tl.arange(0, BLOCK_B)
    c = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    line = member * n_weights
    dx = _product(dz_ptr + member * (BATCH * N_OUT), vectors_ptr + line + kernel_at, row, c, BATCH, N_OUT, N_IN, N_IN, 1,
                  PRECISION, BLOCK_B, BLOCK_N, BLOCK_K)  # fmt: skip
    valid = (row < BATCH)[:, None] & (c < N_IN)[None, :]
    at = member * (BATCH * N_IN) + row[:, None] * N_IN + c[None, :]
    if HIDDEN:
        line += bias_at
        dx = tl.where(_kept(slot, row, first_unit + c, units) & valid, dx * DROPOUT_SCALE, 0.0)
        a = tl.load(a_ptr + at, mask=valid, other=0.0).to(dx.dtype)
        if NORM:
            mean, rstd, _, gamma = coefficients(vectors_ptr, values_ptr, line + N_IN, c, N_IN, EPS, NORM)
            hat = (a - mean) * rstd
            d_beta, d_gamma = tl.sum(dx, axis=0), tl.sum(dx * hat, axis=0)
            tl.store(values_ptr + line + N_IN + c, d_beta, mask=c < N_IN)
            tl.store(values_ptr + line + 2 * N_IN + c, d_gamma, mask=c < N_IN)
            dx = (dx - (d_beta[None, :] + hat * d_gamma[None, :]) / BATCH) * (rstd * gamma)
        dx *= slope(a, tl.load(slot + CODE))
    stored = narrow(dx, dx_ptr.dtype.element_ty)
    tl.store(dx_ptr + at, stored, mask=valid)
    if HIDDEN:
        bias = tl.sum(tl.where(valid, stored.to(dx.dtype), 0.0), axis=0)
        tl.store(values_ptr + line + c, bias, mask=c < N_IN)


@triton.jit(do_not_specialize=["kernel_at", "n_weights"])
def weights_kernel(
    slots_ptr,
    x_ptr,  # (members, BATCH, N_IN)
    dz_ptr,  # (members, BATCH, N_OUT)
    values_ptr, kernel_at, n_weights, BATCH: tl.constexpr, N_IN: tl.constexpr, N_OUT: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Sum the products of outputs' gradients and inputs over the batch: the gradient of a kernel."""
    member = tl.program_id(2).to(tl.int64)
    if tl.load(slots_ptr + member * N_FIELDS + ACTIVE) == 0:
        return
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    i = tl.program_id(1) * BLOCK_I + tl.arange(0, BLOCK_I)
    x_ptr += member * (BATCH * N_IN)
    dz_ptr += member * (BATCH * N_OUT)
    acc = tl.zeros((BLOCK_N, BLOCK_I), dtype=values_ptr.dtype.element_ty)
    for start in range(0, BATCH, BLOCK_K):
        row = start + tl.arange(0, BLOCK_K)
        mask = (row < BATCH)[None, :] & (n < N_OUT)[:, None]
        a = tl.load(dz_ptr + (row[None, :] * N_OUT + n[:, None]), mask=mask, other=0.0)
        mask = (row < BATCH)[:, None] & (i < N_IN)[None, :]
        b = tl.load(x_ptr + (row[:, None] * N_IN + i[None, :]), mask=mask, other=0.0)
        acc = dot(a, b, acc, PRECISION)
    at = member * n_weights + kernel_at + n[:, None] * N_IN + i[None, :]
    tl.store(values_ptr + at, acc, mask=(n < N_OUT)[:, None] & (i < N_IN)[None, :])
