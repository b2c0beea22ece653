"""The images of a batch as one Triton kernel: from bytes of the bank to the first layer's input, augmented on the way.

The definition is ``builders.recipe.augmentation``: the same words and noise, and but for rounding the same images. As tensor
operations it takes 130 kernels and 800 KB an image; here an image stays in registers.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from builders.compute.cards.kernels.basics import ACTIVE, AUGMENTS, CURSOR, N_FIELDS, SEED, STEP, narrow
from builders.recipe import augmentation
from nws_data.randomness import Purpose

SIDE = tl.constexpr(augmentation.SIDE)
PARAMETER_BLOCKS, NOISE_BLOCKS = tl.constexpr(augmentation.PARAMETER_BLOCKS), tl.constexpr(augmentation.NOISE_BLOCKS)
AUGMENTATION, NOISE = tl.constexpr(int(Purpose.AUGMENTATION)), tl.constexpr(int(Purpose.NOISE))
SHIFT_X, SHIFT_Y, ROTATION, ZOOM, SHEAR, BRIGHTNESS, CONTRAST, HUE, SATURATION, NOISE_STD = (
    tl.constexpr(k) for k in range(len(augmentation.RANGES))
)


@triton.jit(do_not_specialize=["longest"])
def images_kernel(
    slots_ptr,  # (members, fields) int64
    rows_ptr,  # (members, longest, BATCH) int32
    bank_ptr,  # (images, 3, 32, 32) uint8
    ranges_ptr,  # (10, 2): lower bounds and widths of the parameters; their dtype is that of the arithmetic
    quantiles_ptr,  # (65536,) float32
    x_ptr,  # out: (members, BATCH, 32, 32, 4), the fourth channel zero
    longest, BATCH: tl.constexpr, AUGMENTING: tl.constexpr,
):  # fmt: skip
    """Prepare one image of a slot's batch."""
    place, member = tl.program_id(0), tl.program_id(1).to(tl.int64)
    slot = slots_ptr + member * N_FIELDS
    if tl.load(slot + ACTIVE) == 0:
        return
    row = tl.load(rows_ptr + (member * longest + tl.load(slot + CURSOR)) * BATCH + place).to(tl.int64)
    image = bank_ptr + row * (3 * SIDE * SIDE)
    pixel = tl.arange(0, SIDE * SIDE)
    T: tl.constexpr = ranges_ptr.dtype.element_ty
    red, green, blue = _plain(image, pixel, T)
    if AUGMENTING:  # noqa: SIM102 - a constant: without it the rest is not compiled
        if tl.load(slot + AUGMENTS) != 0:
            seed, step = tl.load(slot + SEED), tl.load(slot + STEP)
            red, green, blue = _augmented(image, pixel, place, seed, step, ranges_ptr, quantiles_ptr, T)
    # Joined in pairs twice, the last axis of each counts first: channels 0, 1, 2, and none.
    channels = tl.join(tl.join(red, blue), tl.join(green, tl.zeros_like(red)))
    x = narrow(tl.reshape(channels, (SIDE * SIDE * 4,)), x_ptr.dtype.element_ty)
    at = (member * BATCH + place) * (SIDE * SIDE * 4) + tl.arange(0, SIDE * SIDE * 4)
    tl.store(x_ptr + at, x)


@triton.jit
def _plain(image, pixel, T: tl.constexpr):
    red = _scaled(tl.load(image + pixel), T)
    green = _scaled(tl.load(image + SIDE * SIDE + pixel), T)
    return red, green, _scaled(tl.load(image + 2 * SIDE * SIDE + pixel), T)


@triton.jit
def _scaled(x, T: tl.constexpr):
    if tl.float32 == T:
        return tl.div_rn(x.to(tl.float32), 255.0)
    return x.to(T) / 255.0


@triton.jit
def _parameter(words, ranges_ptr, lane, K: tl.constexpr, T: tl.constexpr):
    word = tl.sum(tl.where(lane == K // 4, words[K % 4].to(T), 0.0), axis=0)
    return tl.load(ranges_ptr + 2 * K) + tl.load(ranges_ptr + 2 * K + 1) * (word * 2.0**-32)


@triton.jit
def _augmented(image, pixel, place, seed, step, ranges_ptr, quantiles_ptr, T: tl.constexpr):
    lane = tl.arange(0, 4)
    words = tl.philox(seed, place * PARAMETER_BLOCKS + lane, step.to(tl.uint32), AUGMENTATION, 0)
    x, y = _source(words, ranges_ptr, lane, pixel, T)
    brightness = _parameter(words, ranges_ptr, lane, BRIGHTNESS, T)
    contrast = _parameter(words, ranges_ptr, lane, CONTRAST, T)
    red = _contrasted(_sample(image, x, y), brightness, contrast)
    green = _contrasted(_sample(image + SIDE * SIDE, x, y), brightness, contrast)
    blue = _contrasted(_sample(image + 2 * SIDE * SIDE, x, y), brightness, contrast)
    hue = _parameter(words, ranges_ptr, lane, HUE, T)
    red, green, blue = _coloured(red, green, blue, hue, _parameter(words, ranges_ptr, lane, SATURATION, T))
    blocks = place * NOISE_BLOCKS + tl.arange(0, 512)
    w0, w1, w2, w3 = tl.philox(seed, blocks, step.to(tl.uint32), NOISE, 0)
    drawn = tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), (2048,))  # word k of block b at 4 b + k
    std = _parameter(words, ranges_ptr, lane, NOISE_STD, T)
    red = _clipped(red + std * _noise(drawn, quantiles_ptr, pixel, T))
    green = _clipped(green + std * _noise(drawn, quantiles_ptr, pixel + SIDE * SIDE, T))
    return red, green, _clipped(blue + std * _noise(drawn, quantiles_ptr, pixel + 2 * SIDE * SIDE, T))


@triton.jit
def _source(words, ranges_ptr, lane, pixel, T: tl.constexpr):
    angle, shear = _parameter(words, ranges_ptr, lane, ROTATION, T), _parameter(words, ranges_ptr, lane, SHEAR, T)
    zoom = _parameter(words, ranges_ptr, lane, ZOOM, T)
    sine, cosine, tangent = _sine(angle), _cosine(angle), _sine(shear) / _cosine(shear)
    middle: tl.constexpr = (SIDE - 1) / 2
    dx = (pixel % SIDE).to(T) - middle - _parameter(words, ranges_ptr, lane, SHIFT_X, T)
    dy = (pixel // SIDE).to(T) - middle - _parameter(words, ranges_ptr, lane, SHIFT_Y, T)
    x = (cosine + tangent * sine) / zoom * dx + (sine - tangent * cosine) / zoom * dy + middle
    y = -sine / zoom * dx + cosine / zoom * dy + middle
    return x, y


@triton.jit
def _sine(x):
    """Return the sine of less than 0.3, by its series: the library's takes a stack for large arguments."""
    y = x * x
    return x * (1.0 + y * (-1.0 / 6 + y * (1.0 / 120 + y * (-1.0 / 5040 + y * (1.0 / 362880 - y / 39916800)))))


@triton.jit
def _cosine(x):
    y = x * x
    more = 1.0 / 24 + y * (-1.0 / 720 + y * (1.0 / 40320 + y * (-1.0 / 3628800 + y / 479001600)))
    return 1.0 + y * (-0.5 + y * more)


@triton.jit
def _sample(channel, x, y):
    """Interpolate bilinearly between pixels over 255, zeros outside."""
    left, top = tl.floor(x), tl.floor(y)
    right_share, bottom_share = x - left, y - top
    left, top = left.to(tl.int32), top.to(tl.int32)
    value = _corner(channel, left, top, (1.0 - right_share) * (1.0 - bottom_share))
    value += _corner(channel, left + 1, top, right_share * (1.0 - bottom_share))
    value += _corner(channel, left, top + 1, (1.0 - right_share) * bottom_share)
    return value + _corner(channel, left + 1, top + 1, right_share * bottom_share)


@triton.jit
def _corner(channel, column, row, share):
    inside = (column >= 0) & (column < SIDE) & (row >= 0) & (row < SIDE)
    return _scaled(tl.load(channel + row * SIDE + column, mask=inside, other=0), share.dtype) * share


@triton.jit
def _contrasted(x, brightness, contrast):
    mean = tl.sum(x, axis=0) / (SIDE * SIDE)
    return x * contrast + (mean * (1.0 - contrast) + brightness)


@triton.jit
def _coloured(red, green, blue, hue, saturation):
    """Turn the hue and scale the saturation; see ``adjust_hue_saturation``."""
    value = tl.maximum(tl.maximum(red, green), blue)
    chroma = value - tl.minimum(tl.minimum(red, green), blue)
    from_green_or_blue = tl.where(green == value, blue - red + 2.0 * chroma, red - green + 4.0 * chroma)
    sixths = tl.where(red == value, green - blue, from_green_or_blue) / tl.maximum(chroma, 1.1754944e-38) + 6.0 * hue
    chroma = tl.minimum(chroma * saturation, tl.maximum(value, 0.0))
    return _faded(value, chroma, sixths, 0), _faded(value, chroma, sixths, 2), _faded(value, chroma, sixths, 4)


@triton.jit
def _faded(value, chroma, sixths, CENTRE: tl.constexpr):
    distance = 3.0 - tl.abs(tl.abs(sixths - CENTRE) - 3.0)
    return value - chroma * _clipped(distance - 1.0)


@triton.jit
def _noise(drawn, quantiles_ptr, element, T: tl.constexpr):
    """Return standard normal values from the words ``(2048,)`` of an image's blocks; see ``draw_noise``."""
    run, block = element // NOISE_BLOCKS, element % NOISE_BLOCKS
    word = tl.gather(drawn, block * 4 + run // 2, 0)
    half = tl.where(run % 2 == 0, word & 0xFFFF, word >> 16)
    return tl.load(quantiles_ptr + half).to(T)


@triton.jit
def _clipped(x):
    return tl.minimum(tl.maximum(x, 0.0), 1.0)
