"""The kernels of kernels.c against PyTorch, one by one; whole steps are compared in test_fleet.py."""

from __future__ import annotations

import ctypes
import math

import pytest
import torch
import torch.nn.functional as F

from builders.compute.native.library import LONGEST_ROW, MOST_UNITS, images_in, required_kernels
from builders.recipe.augmentation import to_float
from builders.recipe.constants import ACTIVATION_CODES
from nws_data.randomness import Purpose, bits
from nws_data.space.architecture import IMAGE_SHAPE, all_architectures
from nws_data.space.network import ACTIVATIONS


def kernels() -> ctypes.CDLL:
    """Not at the import: all processes of a run import this file at once, and each would compile them."""
    return required_kernels(torch.float32)


def evaluate(z: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, pool: bool, activation: str) -> torch.Tensor:
    """Call scale_pool_activate on ``(batch, side, side, channels)``."""
    batch, side, _, channels = z.shape
    y = torch.empty(batch, side // 2, side // 2, channels) if pool else torch.empty_like(z)
    pointers = [t.data_ptr() for t in (z, scale, shift, y)]
    kernels().scale_pool_activate(
        pointers[0], 0, batch, side, channels, *pointers[1:3], pool, ACTIVATION_CODES[activation], pointers[3]
    )
    return y


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize(("channels", "side"), [(4, 32), (12, 32), (24, 16), (48, 8), (5, 8)])
def test_scale_pool_and_activation(channels, side, pool, activation):
    generator = torch.Generator().manual_seed(1)
    z = 3 * torch.randn(3, side, side, channels, generator=generator)
    scale, shift = torch.randn(2, channels, generator=generator)  # negative scales turn the order around
    expected = (z.double() * scale.double() + shift.double()).permute(0, 3, 1, 2)
    expected = ACTIVATIONS[activation](F.max_pool2d(expected, 2) if pool else expected).permute(0, 2, 3, 1)
    torch.testing.assert_close(evaluate(z, scale, shift, pool, activation).double(), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_at_the_ends_of_float32(activation):
    values = torch.tensor([-math.inf, -3e38, -200.0, -88.0, -1e-30, -0.0, 0.0, 1e-30, 88.0, 200.0, 3e38, math.inf])
    z = values.repeat(48 * 8 * 8 // 12 + 1)[: 8 * 8 * 48].view(1, 8, 8, 48).clone()
    found = evaluate(z, torch.ones(48), torch.zeros(48), False, activation)
    torch.testing.assert_close(found, ACTIVATIONS[activation](z), rtol=2e-6, atol=1e-37 if activation == "relu" else 2e-7)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_nan_wins_its_window_and_no_other(corner, activation):
    z = torch.randn(1, 8, 8, 16)
    z[0, 2 + corner[0], 4 + corner[1], 3] = math.nan
    found = evaluate(z, torch.ones(16), torch.zeros(16), True, activation)
    assert found[0, 1, 2, 3].isnan() and found.isnan().sum() == 1


@pytest.mark.parametrize("n", [1, 31, 32, 33, 4096, 32 * 224 + 7])
def test_dropout_masks_are_those_of_every_path(n):
    seed, step = 0x1234_5678_9ABC_DEF0, 77
    keep, words = torch.zeros(n, dtype=torch.uint8), torch.zeros(n // 32 + 8, dtype=torch.int32)
    kernels().dropout_mask(seed, int(Purpose.DROPOUT), step, n, words.data_ptr(), keep.data_ptr())
    assert torch.equal(keep, bits(seed, Purpose.DROPOUT, step, n))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("planes", [1, 3])
def test_images_are_those_of_every_path(planes, dtype):
    images = torch.randint(0, 256, (5, planes, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    out = torch.empty(5, 32, 32, 3, dtype=dtype)
    images_in(kernels(), images, out)
    assert torch.equal(out, to_float(images).permute(0, 2, 3, 1).to(dtype))
    images_in(kernels(), images.permute(0, 1, 3, 2), out)  # not contiguous
    assert torch.equal(out, to_float(images.permute(0, 1, 3, 2)).permute(0, 2, 3, 1).to(dtype))


def test_bfloat16_is_rounded_to_nearest_even():
    logits = 5 * torch.randn(1000, 20, generator=torch.Generator().manual_seed(4)).bfloat16()
    logits[3], logits[4, 7] = math.nan, math.inf
    labels, bias = torch.zeros(1000, dtype=torch.uint8), torch.zeros(20)
    exact, rounded = logits.float(), logits.clone()
    for values, bf16 in ((exact, 0), (rounded, 1)):
        kernels().cross_entropy(values.data_ptr(), bf16, 1000, 20, labels.data_ptr(), bias.data_ptr())
    assert exact[3].isnan().all() and exact[4].isnan().any()
    assert torch.equal(rounded.isnan(), exact.isnan())
    assert torch.equal(rounded.nan_to_num(), exact.bfloat16().nan_to_num())


def test_every_architecture_fits_the_buffers():
    for architecture in all_architectures():
        side = IMAGE_SHAPE[1]
        for layer in architecture.layers:
            assert layer.n_out <= MOST_UNITS and (not layer.is_conv or side * layer.n_out <= LONGEST_ROW), layer.name
            side //= 2 if layer.pool_after else 1


def test_cross_entropy():
    generator = torch.Generator().manual_seed(3)
    logits = 5 * torch.randn(64, 20, generator=generator)
    labels = torch.randint(0, 10, (64,), generator=generator).to(torch.uint8)
    leaf = logits.double().requires_grad_()
    loss = F.cross_entropy(leaf, labels.long())
    loss.backward()
    bias = torch.zeros(20)
    found = kernels().cross_entropy(logits.data_ptr(), 0, 64, 20, labels.data_ptr(), bias.data_ptr())
    assert found == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(logits.double(), leaf.grad, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(bias.double(), leaf.grad.sum(0), rtol=1e-4, atol=1e-7)
