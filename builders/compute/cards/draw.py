"""The random draws of a step, for dropout and for augmentations, as a Triton kernel each: the words of the CPU path.

As tensor operations the generator takes 130 to 170 kernels and writes each 64-bit word dozens of times; here it stays in
registers.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from builders.recipe.augmentation import NOISE_BLOCKS, PARAMETER_BLOCKS, SIDE, change, normal_quantiles, parameters_of
from nws_data.randomness import Purpose

_BLOCK = 32  # Philox blocks, of 128 bits, of one program of a mask


@triton.jit
def draw_kernel(
    seeds,  # int64 (members,)
    steps,  # int64 (members,)
    quantiles,  # float32 (65536,)
    words_out,  # int64 (images, 12)
    noise_out,  # float32 (images, 8, 384)
    per_member, AUGMENTATION: tl.constexpr, NOISE: tl.constexpr, NOISE_BLOCKS: tl.constexpr, PARAMETER_BLOCKS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Draw one image's parameter words, int64 ``(12,)``, and noise, ``(8, 384)``; see ``builders.recipe.augmentation``."""
    image = tl.program_id(0)
    member, place = image // per_member, image % per_member
    seed, step = tl.load(seeds + member), tl.load(steps + member)
    lane = tl.arange(0, BLOCK)
    is_noise = lane < NOISE_BLOCKS
    is_parameter = (lane >= NOISE_BLOCKS) & (lane < NOISE_BLOCKS + PARAMETER_BLOCKS)
    block = tl.where(is_noise, place * NOISE_BLOCKS + lane, place * PARAMETER_BLOCKS + lane - NOISE_BLOCKS)
    purpose = tl.where(is_noise, NOISE, AUGMENTATION)
    words = tl.philox(seed, block, step.to(tl.uint32), purpose, 0)
    noise = noise_out + image.to(tl.int64) * (8 * NOISE_BLOCKS) + lane
    first = words_out + image.to(tl.int64) * (4 * PARAMETER_BLOCKS) + (lane - NOISE_BLOCKS) * 4
    for k in tl.static_range(4):
        word = words[k].to(tl.int64) & 0xFFFFFFFF
        tl.store(first + k, word, mask=is_parameter)
        low = tl.load(quantiles + (word & 0xFFFF), mask=is_noise)
        high = tl.load(quantiles + (word >> 16), mask=is_noise)
        tl.store(noise + (2 * k) * NOISE_BLOCKS, low, mask=is_noise)
        tl.store(noise + (2 * k + 1) * NOISE_BLOCKS, high, mask=is_noise)


@triton.jit
def mask_kernel(
    seeds,  # int64 (members,)
    steps,  # int64 (members,)
    out,  # int8 (members, n)
    n, DROPOUT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Draw bits; see ``builders.recipe.dropout``."""
    member = tl.program_id(1).to(tl.int64)
    block = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    words = tl.philox(tl.load(seeds + member), block, tl.load(steps + member).to(tl.uint32), DROPOUT, 0)
    bit = tl.arange(0, 32)[None, :]
    for k in tl.static_range(4):
        at = (block * 4 + k)[:, None] * 32 + bit
        kept = (words[k][:, None] >> bit.to(tl.uint32)) & 1
        tl.store(out + member * n + at, kept.to(tl.int8), mask=at < n)


def draw_mask(seeds: Tensor, steps: Tensor, batch_size: int, units: int) -> Tensor:
    """Return what ``builders.recipe.dropout.dropout_mask`` returns: bool ``(members, batch_size, units)``."""
    n = batch_size * units
    out = torch.empty(len(seeds), batch_size, units, dtype=torch.int8, device=seeds.device)
    mask_kernel[(-(-n // (128 * _BLOCK)), len(seeds))](seeds, steps, out, n, DROPOUT=int(Purpose.DROPOUT), BLOCK=_BLOCK)
    return out.view(torch.bool)


def draw(seeds: Tensor, steps: Tensor, per_member: int) -> tuple[Tensor, Tensor]:
    """Return the words of the parameters, int64 ``(n, 12)``, and the noise, float32 ``(n, 8, 384)``, of a fleet's images.

    Seeds and steps are int64 ``(members,)``; n is members times ``per_member``.
    """
    n = len(seeds) * per_member
    words = torch.empty(n, 4 * PARAMETER_BLOCKS, dtype=torch.int64, device=seeds.device)
    noise = torch.empty(n, 8, NOISE_BLOCKS, dtype=torch.float32, device=seeds.device)
    draw_kernel[(n,)](
        seeds, steps, normal_quantiles(seeds.device, torch.float32), words, noise, per_member,
        AUGMENTATION=int(Purpose.AUGMENTATION), NOISE=int(Purpose.NOISE), NOISE_BLOCKS=NOISE_BLOCKS,
        PARAMETER_BLOCKS=PARAMETER_BLOCKS, BLOCK=512, num_warps=4,
    )  # fmt: skip
    return words, noise


def augment_drawn(images: Tensor, seeds: Tensor, steps: Tensor) -> Tensor:
    """Return what ``builders.recipe.augmentation.augment`` returns in float32, for images of all members of a fleet.

    Images are uint8 ``(members * batch, 3, 32, 32)``, seeds and steps int64 ``(members,)``.
    """
    words, noise = draw(seeds, steps, len(images) // len(seeds))
    out = torch.empty(len(images), 3, SIDE, SIDE, dtype=torch.float32, device=images.device)
    change(images, parameters_of(words), noise, out)
    return out
