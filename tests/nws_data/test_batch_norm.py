"""Batch norm in channels_last against float64, where PyTorch's loses digits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nws_data.batch_norm import batch_norm


def plain(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ReLU and batch norm written down with sums; the values, mean and variance."""
    x = F.relu(x)
    dims = [i for i in range(x.dim()) if i != 1]
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, keepdim=True, correction=0)
    shape = mean.shape
    return (x - mean) / (variance + 1e-5).sqrt() * weight.view(shape) + bias.view(shape), mean.flatten(), variance.flatten()


def error(got: Tensor, expected: Tensor) -> float:
    return ((got.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((16, 8, 1, 92868), marks=pytest.mark.slow),
        (64, 8, 1, 5000),
        (13, 128, 1, 1451),
        (64, 16, 16, 16),
        (67, 24, 1, 1),
        (64, 1024),
    ],
    ids=str,
)
def test_float32_is_that_of_float64(shape):
    """The first size is that of the DMC's first layer: PyTorch's own is off by 1e-3 there. 13, 67 and 1,451 are primes."""
    generator = torch.Generator().manual_seed(0)
    x, dy = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator) + 0.5
    if len(shape) == 4:
        x, dy = (part.contiguous(memory_format=torch.channels_last) for part in (x, dy))
    weight, bias = (torch.randn(shape[1], generator=generator) for _ in range(2))
    leaves = [part.requires_grad_() for part in (x, weight, bias)]
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    got, expected = batch_norm(*leaves, 1e-5, relu=True), plain(*wide)
    assert got[0].is_contiguous(memory_format=torch.channels_last if len(shape) == 4 else torch.contiguous_format)
    assert max(error(ours.detach(), theirs.detach()) for ours, theirs in zip(got, expected, strict=True)) < 1e-6
    gradients = torch.autograd.grad(got[0], leaves, dy), torch.autograd.grad(expected[0], wide, dy.double())
    assert max(error(ours, theirs) for ours, theirs in zip(*gradients, strict=True)) < 3e-6


def test_any_layout_and_float64():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 4, 5, dtype=torch.float64, generator=generator).requires_grad_()
    dy = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    weight, bias = (torch.randn(3, dtype=torch.float64, generator=generator) for _ in range(2))
    got, expected = batch_norm(x, weight, bias, 1e-5, relu=True)[0], plain(x, weight, bias)[0]
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got, x, dy)[0], torch.autograd.grad(expected, x, dy)[0])
