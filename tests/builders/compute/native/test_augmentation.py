"""The native augmentation has the bits of the one in PyTorch."""

from __future__ import annotations

import pytest
import torch

from builders.compute.native.augmentation import augment as native_augment
from builders.compute.native.library import required_kernels
from builders.recipe.augmentation import augment
from nws_data.randomness import Purpose, words


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize(("n", "seed", "step"), [(1, 0, 0), (32, 2**62 + 12345, 7), (130, 99, 2**31)])
def test_the_same_bits(n, planes, seed, step):
    images = torch.randint(0, 256, (n, planes, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    assert torch.equal(native_augment(images, seed, step), augment(images, seed, step))


@pytest.mark.parametrize("n", [1, 4, 63, 64, 65, 1000])
def test_the_same_words(n):
    out = torch.zeros(n, dtype=torch.int32)
    required_kernels(torch.float32).philox_words(2**40 + 3, int(Purpose.INITIALIZATION), 5, n, out.data_ptr())
    assert torch.equal(out.long() & 0xFFFFFFFF, words(2**40 + 3, Purpose.INITIALIZATION, 5, n))
