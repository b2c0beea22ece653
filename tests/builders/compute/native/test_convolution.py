"""Convolutions of blocks of pixels equal plain ones, with all gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from builders.compute.native.convolution import PIXELS, Convolution
from nws_data.space.architecture import Layer, all_architectures


def layers() -> list[Layer]:
    """Every kind of conv layer, once: filter size, channels and width decide."""
    found = {}
    for architecture in all_architectures():
        for layer in architecture.layers:
            if layer.is_conv:
                found[layer["kernel"].shape] = layer
    return list(found.values())


@pytest.mark.parametrize("pixels", [1, 2, 4])
@pytest.mark.parametrize("layer", layers(), ids=lambda layer: "x".join(map(str, layer["kernel"].shape)))
def test_it_equals_a_plain_convolution(layer, pixels):
    generator = torch.Generator().manual_seed(0)
    n_out, n_in, f, _ = layer["kernel"].shape
    x = torch.randn(2, 8, 8, n_in, generator=generator, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(n_out, n_in, f, f, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(n_out, generator=generator, dtype=torch.float64)
    dz = torch.randn(2, 8, 8, n_out, generator=generator, dtype=torch.float64)
    expected = F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, padding=f // 2).permute(0, 2, 3, 1)
    expected.backward(dz)

    convolution = Convolution(layer, torch.float64, pixels)
    with torch.no_grad():
        z = convolution.forward(x.detach(), kernel.detach(), bias)
        dkernel = torch.empty_like(kernel)
        dx = convolution.backward(x.detach(), dz, dkernel, needs_dx=True)
    torch.testing.assert_close(z, expected.detach(), rtol=0, atol=1e-11)
    torch.testing.assert_close(dkernel, kernel.grad, rtol=0, atol=1e-11)
    torch.testing.assert_close(dx, x.grad, rtol=0, atol=1e-11)


def test_the_first_layer_needs_no_gradient_of_images():
    layer = all_architectures()[0].layers[0]
    convolution = Convolution(layer, torch.float32)
    x, dkernel = torch.rand(2, 32, 32, 3), torch.empty(layer["kernel"].shape)
    z = convolution.forward(x, torch.rand(layer["kernel"].shape), torch.zeros(layer.n_out))
    assert convolution.backward(x, torch.ones_like(z), dkernel, needs_dx=False) is None


def test_the_table_names_layers_that_exist():
    shapes = {(f, n_in, n_out) for n_out, n_in, f, _ in (layer["kernel"].shape for layer in layers())}
    assert set(PIXELS) <= shapes
