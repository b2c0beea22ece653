"""The kernels draw the numbers of the CPU path, bit for bit; ``blocks/test_compile.py`` compiles it for a card."""

from __future__ import annotations

import pytest
import torch

from builders.compute.cards.draw import augment_drawn, draw, draw_mask
from builders.recipe.augmentation import draw_noise
from builders.recipe.dropout import dropout_mask
from nws_data.randomness import Purpose
from nws_data.randomness import words as random_words
from tests.builders.compute.cards.blocks.grouped import augment_each

SEEDS, STEPS = [0, 2**62 + 12345, 7], [0, 99_999, 2**32 - 1]


@pytest.fixture
def slots(device_bank):
    return tuple(torch.tensor(values, device=device_bank.device) for values in (SEEDS, STEPS))


def test_words_and_noise_are_those_of_the_cpu_path(slots):
    words, noise = draw(*slots, per_member=4)
    expected = [draw_noise(*one, slice(0, 4), device=noise.device) for one in zip(SEEDS, STEPS, strict=True)]
    assert torch.equal(noise, torch.cat(expected))
    assert torch.equal(words.view(3, 48), random_words(slots[0], Purpose.AUGMENTATION, slots[1], 48, words.device))
    assert len({row.numpy().tobytes() for row in words.cpu()}) == 12


@pytest.mark.parametrize(("batch", "units"), [(4, 1), (32, 129), (3, 43)])  # one block alone, several programs, odd
def test_masks_are_those_of_the_cpu_path(slots, batch, units):
    kept = draw_mask(*slots, batch, units)
    assert torch.equal(kept, dropout_mask(*slots, batch, units))
    assert kept.any() and not kept.all()


def test_images_are_those_of_the_cpu_path(slots, device_bank):
    rows = torch.tensor([device_bank.first_row("colour", "train") + i for i in range(6)], device=device_bank.device)
    images = device_bank.gather(rows)[0]
    assert torch.equal(augment_drawn(images, *slots), augment_each(images, *slots))
