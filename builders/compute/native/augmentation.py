"""The augmentation of builders/recipe/augmentation.py, bit for bit, with random words and noise drawn by kernels.c."""

from __future__ import annotations

import torch
from torch import Tensor

from builders.compute.native.library import required_kernels
from builders.recipe.augmentation import (
    CPU_CHUNK,
    NOISE_BLOCKS,
    PARAMETER_BLOCKS,
    SIDE,
    normal_quantiles,
    parameters_of,
    transform,
)
from nws_data.randomness import Purpose


def augment(images: Tensor, seed: int, step: int) -> Tensor:
    """Return the augmented images of a training's step; arguments as in :func:`builders.recipe.augmentation.augment`.

    Returns:
        float32 ``(B, 3, 32, 32)`` in [0, 1], channels last in memory.
    """
    library, n = required_kernels(torch.float32), len(images)
    drawn = torch.empty(n, 4 * PARAMETER_BLOCKS, dtype=torch.int32)
    library.philox_words(seed, int(Purpose.AUGMENTATION), step, drawn.numel(), drawn.data_ptr())
    parameters = parameters_of(drawn.long() & 0xFFFFFFFF)
    table = normal_quantiles(torch.device("cpu"), torch.float32)
    words, noise = torch.empty(4 * NOISE_BLOCKS, dtype=torch.int32), torch.empty(8 * NOISE_BLOCKS)
    out = torch.empty(n, SIDE, SIDE, 3)
    for start in range(0, n, CPU_CHUNK):
        rows = slice(start, min(start + CPU_CHUNK, n))
        x = transform(images[rows], {name: value[rows] for name, value in parameters.items()}, torch.float32).contiguous()
        std = parameters["noise_std"][rows].float()
        library.add_noise(
            x.data_ptr(), len(x), x.shape[1], SIDE * SIDE, std.data_ptr(), table.data_ptr(), seed, int(Purpose.NOISE), step,
            start, words.data_ptr(), noise.data_ptr(), out[rows].data_ptr(),
        )  # fmt: skip
    return out.permute(0, 3, 1, 2)
