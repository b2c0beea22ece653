"""The local DMC on many windows of one vector at once: what windows share is computed once.

Windows whose starts differ by multiples of the pools' product see the same values in every layer, but for the places near
their ends that the zeros beyond them reach. So each layer is computed once over the whole stretch of the vector, and for
each window anew on two short strips, in which the zeros are. The results are those of the windows alone, but for rounding.
100 windows of 5,000 on a vector of 126,000 values so cost a third of the operations, on a convolutional part of 46,000 a
sixth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.dmc.layers import KERNEL, DMCLayers
from baselines.dmc.network import INPUTS, DMCNetwork
from nws_data.read.views import FixedWindows

if TYPE_CHECKING:
    from nws_data.read.views import WeightView

_REACH = KERNEL // 2


def stride(layers: DMCLayers) -> int:
    """Return the product of the pools: windows share what they see when their starts differ by multiples of it."""
    return int(2 ** sum(layer.pool for layer in layers.convolutions))


def shares(layers: DMCLayers, view: WeightView) -> bool:
    """Whether :func:`outputs` can take a view: fixed windows on a grid, long enough that their strips do not meet."""
    if type(view) is not FixedWindows or view.transform is not None or view.per_vector == 1:
        return False
    return view.grid % stride(layers) == 0 and _strips(layers) is not None


def outputs(network: DMCNetwork, view: FixedWindows, device: str) -> Iterator[Tensor]:
    """Yield the network's outputs ``(n, n_outputs)`` for the items of a view that :func:`shares`, vector by vector.

    The network must be in evaluation mode and use running statistics.
    """
    data, firsts = view.data, view.first_start
    for row, starts in enumerate(view.starts().reshape(len(data), -1)):
        places, of = np.unique(starts - firsts[row], return_inverse=True)
        at = data.shard_index[[row]], data.value_offset[[row]] + firsts[[row]]
        span = data.store.gather(*at, int(places[-1]) + view.length)
        features = _features(network, span.to(device), torch.from_numpy(places).to(device))
        yield network.classified(features)[torch.from_numpy(of).to(device)]


def _strips(layers: DMCLayers) -> list[tuple[int, int, int]] | None:
    """Return of each convolution the length of its input and how many outputs at either end are computed for each window.

    Those before a pool are even at the left, and start at an even place at the right. None where they would meet.
    """
    length, left, right, found = layers.length, 0, 0, []
    for layer in layers.convolutions:
        known = left + right
        left, right = left + _REACH, right + _REACH
        if layer.pool:
            left, right = left + left % 2, right + (length - right) % 2
        if left + right + known > length:
            return None
        found.append((length, left, right))
        if layer.pool:
            left, right, length = left // 2, length // 2 - (length - right) // 2, length // 2
    return found


def _features(network: DMCNetwork, span: Tensor, places: Tensor) -> Tensor:
    """Return what enters the matrices ``(windows, width)``, of windows at ``places`` ``(windows,)`` in a span ``(1, n)``.

    All is kept as ``(n, length, channels)``.
    """
    strips, n = _strips(network.layers), len(places)
    assert strips is not None
    shared = INPUTS[network.inputs](span)[:, :, None]
    left = right = shared.new_empty(n, 0, 1)
    length = network.layers.length
    layers = zip(network.layers.convolutions, network.convolutions, network.convolution_norms, strips, strict=True)
    for layer, convolution, norm, (length, n_left, n_right) in layers:
        inner = _pieces(shared, places + left.shape[1], n_left + _REACH - left.shape[1])
        begin = torch.cat([inner.new_zeros(n, _REACH, layer.n_in), left, inner], 1)
        first = length - n_right - _REACH
        inner = _pieces(shared, places + first, length - right.shape[1] - first)
        end = torch.cat([inner, right, inner.new_zeros(n, _REACH, layer.n_in)], 1)
        left, right, shared = (_applied(convolution, norm, x, pad) for x, pad in ((begin, 0), (end, 0), (shared, _REACH)))
        if layer.pool:
            left, right, shared = _pooled(left), _pooled(right), _pooled(shared)
            places, length = places // 2, length // 2
    middle = _pieces(shared, places + left.shape[1], length - left.shape[1] - right.shape[1])
    return torch.cat([left, middle, right], 1).transpose(1, 2).flatten(1)


def _pieces(values: Tensor, starts: Tensor, length: int) -> Tensor:
    """Return the pieces ``(starts, length, channels)`` of values ``(1, n, channels)``."""
    return values[0, starts[:, None] + torch.arange(length, device=values.device)]


def _applied(convolution: nn.Module, norm: nn.Module, x: Tensor, padding: int) -> Tensor:
    """Return a layer's outputs ``(n, length, channels)`` before its pool."""
    weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
    image = x[:, None].permute(0, 3, 1, 2)  # (n, channels, 1, length), channels_last in memory
    out: Tensor = norm(F.conv2d(image, weight, bias, padding=(0, padding)))
    return out.permute(0, 2, 3, 1).squeeze(1)


def _pooled(x: Tensor) -> Tensor:
    even = x.shape[1] // 2 * 2
    return torch.maximum(x[:, 0:even:2], x[:, 1:even:2])
