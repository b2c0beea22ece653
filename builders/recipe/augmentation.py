"""The nine augmentations of a training image, batched: every image its own draw, every draw a function of keys.

In this order: one bilinear resampling (translation, rotation, zoom, shear), brightness, contrast, hue and saturation,
Gaussian noise, one clip to [0, 1] at the end. Training images only.

Random numbers, all Philox under the training's seed and the training step (see ``nws_data.randomness``):

* purpose ``AUGMENTATION``: image ``i`` of the batch owns the elements ``12 i ... 12 i + 11``; element ``12 i + k`` gives
  the ``k``-th row of :data:`RANGES` as ``low + (high - low) * word / 2**32`` in float64; the last two are unused.
* purpose ``NOISE``: image ``i`` owns the 384 blocks ``384 i ... 384 i + 383``. Its 3,072 values, in channel, row, column
  order, are eight runs of 384: the run ``2 k + h`` takes word ``k`` of each block, its lower 16 bits for ``h = 0``, the
  upper 16 for ``h = 1``, through a table of 65,536 normal quantiles. A gather gives the same bits on any device, and
  one block eight normals; they have variance 0.99992 and end at +-4.32 standard deviations.

About 35 us a colour image and 19 us a gray one (40 and 24 in batches of 32) on one Zen 4 core, float32.
Source: Eilertsen et al. 2020, Supplement A.2; ranges from the authors' scripts.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from nws_data.randomness import Purpose, philox, words
from nws_data.space.architecture import IMAGE_SHAPE

RANGES: dict[str, tuple[float, float]] = {
    "shift_x": (-3.0, 3.0),  # pixels, to the right
    "shift_y": (-3.0, 3.0),  # pixels, down
    "rotation": (-math.radians(15), math.radians(15)),  # radians, clockwise on the screen
    "zoom": (0.9, 1.1),  # factor of both axes; above 1 enlarges
    "shear": (-math.radians(3), math.radians(3)),  # radians, of the vertical axis
    "brightness": (-0.2, 0.2),  # added
    "contrast": (0.5, 1.5),  # factor about each channel's mean
    "hue": (-0.08, 0.08),  # turns
    "saturation": (0.3, 1.5),  # factor in HSV
    "noise_std": (0.0, 0.03),  # standard deviation of the image's noise
}
"""Bounds of the uniform draws, in the order of their random words."""

SIDE = IMAGE_SHAPE[1]
"""Side of an image in pixels."""

PARAMETER_BLOCKS = 3  # Philox blocks of an image: 12 words
NOISE_BLOCKS = 3 * SIDE * SIDE // 8
CPU_CHUNK = 64  # images whose temporaries stay in a core's second-level cache


def to_float(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uint8 ``(B, C, 32, 32)`` as ``(B, 3, 32, 32)`` in [0, 1]: over 255; one channel is replicated (a view)."""
    return (images.to(dtype) / 255).expand(-1, 3, -1, -1)


def augment(images: Tensor, seed: int, step: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the augmented images of one training step.

    Args:
        images: uint8 ``(B, C, 32, 32)``, C = 3, or 1 for gray images (same result as three equal channels, faster).
        seed: the training's seed.
        step: the training step, below 2^32.
        dtype: float32, or float64 for comparisons.

    Returns:
        ``(B, 3, 32, 32)`` of ``dtype`` in [0, 1], contiguous.
    """
    n, device = len(images), images.device
    drawn = words(seed, Purpose.AUGMENTATION, step, 4 * PARAMETER_BLOCKS * n, device)
    parameters = parameters_of(drawn.view(n, 4 * PARAMETER_BLOCKS))
    out = torch.empty(n, 3, SIDE, SIDE, dtype=dtype, device=device)
    chunk = CPU_CHUNK if device.type == "cpu" else max(n, 1)
    for rows in (slice(start, min(start + chunk, n)) for start in range(0, n, chunk)):
        own = {name: value[rows] for name, value in parameters.items()}
        x = transform(images[rows], own, dtype)
        noise = draw_noise(seed, step, rows, dtype, device)
        torch.mul(noise, own["noise_std"].to(dtype).view(-1, 1, 1), out=out[rows].view(noise.shape))
        out[rows].add_(x).clamp_(0, 1)
    return out


def transform(images: Tensor, parameters: dict[str, Tensor], dtype: torch.dtype) -> Tensor:
    """Return uint8 images ``(n, C, 32, 32)`` with all but noise and clip applied, in ``dtype``; one channel stays one."""
    own = {name: value.to(dtype) for name, value in parameters.items()}
    x = resample(images.to(dtype).div_(255), sampling_matrix(parameters))
    x = adjust_brightness_contrast(x, own["brightness"], own["contrast"])
    # Exactly the identity on gray images.
    return adjust_hue_saturation(x, own["hue"], own["saturation"]) if x.shape[1] == 3 else x


def parameters_of(words: Tensor) -> dict[str, Tensor]:
    """Return parameters from the words of purpose ``AUGMENTATION`` in the order of their elements, int64 ``(n, 12)``."""
    uniform = words.to(torch.float64) * 2.0**-32
    return {name: low + (high - low) * uniform[:, k] for k, (name, (low, high)) in enumerate(RANGES.items())}


def draw_noise(
    seed: int, step: int, rows: slice, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the standard normal noise of the images ``rows`` of a batch.

    Returns:
        ``(n, 8, 384)`` of ``dtype``: an image's 3,072 values in channel, row, column order. Strided: the runs lie apart.
    """
    table = normal_quantiles(torch.device(device), dtype)
    block = torch.arange(rows.start * NOISE_BLOCKS, rows.stop * NOISE_BLOCKS, device=device).view(-1, NOISE_BLOCKS)
    noise, index = table.new_empty(8, *block.shape), torch.empty_like(block)
    drawn = philox((block, step, int(Purpose.NOISE), 0), (seed & 0xFFFFFFFF, seed >> 32), block)
    for k, word in enumerate(drawn):
        torch.bitwise_and(word, 0xFFFF, out=index)
        torch.index_select(table, 0, index.view(-1), out=noise[2 * k].view(-1))
        torch.bitwise_right_shift(word, 16, out=index)
        torch.index_select(table, 0, index.view(-1), out=noise[2 * k + 1].view(-1))
    return noise.transpose(0, 1)


@lru_cache(maxsize=8)
def normal_quantiles(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the 65,536 quantiles ``ndtri((i + 0.5) / 65536)``, rounded to float32, as ``dtype`` on the device."""
    positions = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536
    return torch.special.ndtri(positions).to(torch.float32).to(device=device, dtype=dtype)


def sampling_matrix(parameters: dict[str, Tensor]) -> Tensor:
    """Return ``(n, 2, 3)``, from output positions to the positions in the source that they show.

    Positions are (x right, y down) of pixel centres relative to the image's centre (15.5, 15.5). A source position q goes
    to ``p = R S z q + t``: zoomed by z, sheared by ``S = [[1, tan s], [0, 1]]``, turned by
    ``R = [[cos a, -sin a], [sin a, cos a]]``, moved by t. Resampling needs the inverse, ``q = S^-1 R^-1 (p - t) / z``:

        [[cos a + tan s sin a,  sin a - tan s cos a],
         [-sin a,               cos a              ]] / z,   and minus this times t as the third column.
    """
    cos, sin, tan = parameters["rotation"].cos(), parameters["rotation"].sin(), parameters["shear"].tan()
    zoom, x, y = parameters["zoom"], parameters["shift_x"], parameters["shift_y"]
    m00, m01, m10, m11 = (cos + tan * sin) / zoom, (sin - tan * cos) / zoom, -sin / zoom, cos / zoom
    rows = [m00, m01, -(m00 * x + m01 * y), m10, m11, -(m10 * x + m11 * y)]
    return torch.stack(rows, dim=-1).view(-1, 2, 3)


def resample(images: Tensor, matrix: Tensor) -> Tensor:
    """Resample floating ``(n, C, 32, 32)`` bilinearly by the matrices of :func:`sampling_matrix`, with zeros outside."""
    m = (matrix / (SIDE / 2)).to(images.dtype)  # grid_sample counts from -1 to 1 over the pixels' outer edges
    axis = torch.arange(SIDE, dtype=images.dtype, device=images.device) - (SIDE - 1) / 2
    grid = images.new_empty(len(images), SIDE, SIDE, 2)
    for k in range(2):
        along_y = m[:, k, 1, None] * axis + m[:, k, 2, None]
        torch.add(along_y[:, :, None], (m[:, k, 0, None] * axis)[:, None, :], out=grid[..., k])
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def adjust_brightness_contrast(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Add ``brightness``, then scale by ``contrast`` about each channel's mean of the image; not clipped.

    ``(x + b - mean(x + b)) c + mean(x + b)`` is ``x c + (mean(x) (1 - c) + b)``. Changes ``images`` ``(n, C, 32, 32)``
    in place and returns them; both parameters are ``(n,)``.
    """
    factor, offset = contrast.view(-1, 1, 1, 1), brightness.view(-1, 1, 1, 1)
    shift = images.mean(dim=(2, 3), keepdim=True).mul_(1 - factor).add_(offset)
    return images.mul_(factor).add_(shift)


def adjust_hue_saturation(images: Tensor, hue: Tensor, saturation: Tensor) -> Tensor:
    """Turn the hue and scale the saturation in HSV, the value kept; not clipped.

    With V = max and C = max - min over the channels, S is C / V (0 where V <= 0), and S times the factor is clipped to
    [0, 1]; so the new chroma is ``min(C factor, max(V, 0))``. With the hue h in sixths of a turn, the channel whose colour
    lies at c = 0, 2, 4 is ``V - C clamp(d - 1, 0, 1)``, d the distance of h from c around the circle.

    Args:
        images: floating ``(n, 3, 32, 32)``; values may lie outside [0, 1].
        hue: ``(n,)`` in turns, within +-1/6.
        saturation: ``(n,)`` factors, 0 or more.

    Returns:
        A new tensor shaped as ``images``.
    """
    r, g, b = images.unbind(1)
    value, low = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    chroma = value - low
    h = _hue_sixths(r, g, b, value, chroma).add_(6 * hue.view(-1, 1, 1))
    chroma = torch.minimum(chroma.mul_(saturation.view(-1, 1, 1)), low.copy_(value).clamp_(min=0))
    out = torch.empty_like(images)
    for channel, centre in enumerate((0, 2, 4)):
        # t = |h - centre| <= 6.5, so the distance is 3 - |t - 3| up to a value below 1, which the clamp removes.
        distance = (h - centre).abs_().sub_(3).abs_().neg_().add_(3)
        torch.sub(value, distance.sub_(1).clamp_(0, 1).mul_(chroma), out=out[:, channel])
    return out


def _hue_sixths(r: Tensor, g: Tensor, b: Tensor, value: Tensor, chroma: Tensor) -> Tensor:
    """Return the hue in sixths of a turn in [-1, 5]; 0 for gray pixels."""
    from_blue = (r - g).add_(chroma, alpha=4)
    from_green = (b - r).add_(chroma, alpha=2)
    h = torch.where(r == value, g - b, torch.where(g == value, from_green, from_blue))
    return h.div_(chroma.clamp(min=torch.finfo(chroma.dtype).tiny))
