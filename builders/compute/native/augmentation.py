"""The augmentation of builders/recipe/augmentation.py, bit for bit, with random words and noise drawn by kernels.c."""

from __future__ import annotations

import torch
from torch import Tensor

from builders.compute.native.library import required_kernels
from builders.recipe import augmentation as recipe
from nws_data.randomness import Purpose


def augment(images: Tensor, seed: int, step: int) -> Tensor:
    """Return the augmented images of a training's step; arguments as in :func:`builders.recipe.augmentation.augment`.

    Returns:
        float32 ``(B, 3, 32, 32)`` in [0, 1], channels last in memory.
    """
    library, n = required_kernels(torch.float32), len(images)
    drawn = torch.empty(n, 4 * recipe.PARAMETER_BLOCKS, dtype=torch.int32)
    library.philox_words(seed, int(Purpose.AUGMENTATION), step, drawn.numel(), drawn.data_ptr())
    parameters = recipe.parameters_of(drawn.long() & 0xFFFFFFFF)
    table = recipe.normal_quantiles(torch.device("cpu"), torch.float32)
    words, noise = torch.empty(4 * recipe.NOISE_BLOCKS, dtype=torch.int32), torch.empty(8 * recipe.NOISE_BLOCKS)
    side, out = recipe.SIDE, torch.empty(n, recipe.SIDE, recipe.SIDE, 3)
    for start in range(0, n, recipe.CPU_CHUNK):
        rows = slice(start, min(start + recipe.CPU_CHUNK, n))
        own = {name: value[rows] for name, value in parameters.items()}
        x, std = recipe.transform(images[rows], own, torch.float32).contiguous(), own["noise_std"].float()
        library.add_noise(
            x.data_ptr(), len(x), x.shape[1], side * side, std.data_ptr(), table.data_ptr(), seed, int(Purpose.NOISE), step,
            start, words.data_ptr(), noise.data_ptr(), out[rows].data_ptr(),
        )  # fmt: skip
    return out.permute(0, 3, 1, 2)
