"""The DMC's layers against Table 3 and sizes worked out by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest

from baselines.dmc.layers import KERNEL, DMCLayers
from baselines.method import MethodError


def n_values(layers: DMCLayers) -> int:
    """All values of the network as the paper counts them: weights, biases and four of batch norm per unit."""
    total = sum((KERNEL * c.n_in + 1 + 4) * c.n_out for c in layers.convolutions)
    total += sum((n_in + 1 + 4) * n_out for n_in, n_out in pairwise(layers.widths[:-1]))
    return total + (layers.widths[-2] + 1) * layers.n_outputs


def pools(layers: DMCLayers) -> list[int]:
    return [number for number, layer in enumerate(layers.convolutions, start=1) if layer.pool]


def test_the_global_net_is_the_papers():
    layers = DMCLayers.of(92_868, 5)
    assert n_values(layers) == 10_948_997 and layers.flattened == 5632
    assert [c.n_out for c in layers.convolutions] == [8, 16, 32, 64] + [128] * 6 + [256] * 5
    assert pools(layers) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15]
    assert layers.widths == (5632, 1024, 1024, 1024, 1024, 64, 5)


def test_the_local_net_is_the_papers():
    layers = DMCLayers.of(5_000, 5)
    assert n_values(layers) == 10_407_685 and layers.flattened == 4864
    assert [c.n_out for c in layers.convolutions] == [8, 16, 32, 64, 128] + [256] * 7
    assert pools(layers) == [1, 2, 4, 6, 7, 8, 9, 12]
    assert layers.widths == (4864, 1024, 1024, 1024, 1024, 64, 5)


@pytest.mark.parametrize(
    ("length", "after", "flattened"),
    [
        (100, [1, 2, 4, 12], 6 * 256),  # 50, 25, 12: nothing over 50 is left before layer 7
        (500, [1, 2, 4, 6, 12], 15 * 256),  # 250, 125, 62, 31, 15
        (1_000, [1, 2, 4, 6, 7, 12], 15 * 256),  # 500, 250, 125, 62, 31, 15
        (10_000, [1, 2, 4, 6, 7, 8, 9, 10, 12], 19 * 256),  # 5000, 2500, 1250, 625, 312, 156, 78, 39, 19
        (20_000, [1, 2, 4, 6, 7, 8, 9, 10, 11, 12], 19 * 256),
        (40_000, [1, 2, 4, 6, 7, 8, 9, 10, 11, 12], 39 * 256),
        (50_000, [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15], 12 * 256),  # the global net: 50,000 / 4096
    ],
)
def test_pools_move_with_the_length(length, after, flattened):
    layers = DMCLayers.of(length, 3)
    assert pools(layers) == after and layers.flattened == flattened


def test_a_short_window_is_refused():
    assert DMCLayers.of(16, 2).flattened == 256
    with pytest.raises(MethodError, match="windows of at least 16 values, got 15"):
        DMCLayers.of(15, 2)
