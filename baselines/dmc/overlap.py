"""The local DMC on many windows of one vector at once: what windows share is computed once.

Windows whose starts differ by multiples of the pools' product see the same values in every layer, but for the places near
their ends that the zeros beyond them reach. So each layer is computed once over the whole stretch of the vector, and for
each window anew on two short strips, in which the zeros are. The results are those of the windows alone, but for rounding.
100 windows of 5,000 on a vector of 126,000 values so cost a third of the operations, on a convolutional part of 46,000 a
sixth.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
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
_VALUES = 2**17
"""Values of the vectors worked on together, about: few enough that a layer's outputs stay near the processor."""


def stride(layers: DMCLayers) -> int:
    """Return the product of the pools: windows share what they see when their starts differ by multiples of it."""
    return int(2 ** sum(layer.pool for layer in layers.convolutions))


def shares(layers: DMCLayers, view: WeightView) -> bool:
    """Whether :func:`outputs` can take a view: fixed windows on a grid, long enough that their strips do not meet."""
    if type(view) is not FixedWindows or view.transform is not None or view.per_vector == 1:
        return False
    return view.grid % stride(layers) == 0 and _strips(layers) is not None


def outputs(network: DMCNetwork, view: FixedWindows, device: str) -> Iterator[Tensor]:
    """Yield the network's outputs ``(n, n_outputs)`` for the items of a view that :func:`shares`, batch by batch in order.

    The network must be in evaluation mode and use running statistics.
    """
    data = view.data
    starts = view.starts().reshape(len(data), -1)
    offsets = starts - view.first_start[:, None]
    for rows in _batches(offsets, view.length):
        places, of = np.unique(offsets[rows[0]], return_inverse=True)
        first = data.value_offset[rows] + view.first_start[rows]
        spans = data.store.gather(data.shard_index[rows], first, int(places[-1]) + view.length)
        features = _features(network, spans.to(device), torch.from_numpy(places).to(device))
        found = network.classified(features).view(len(rows), len(places), -1)
        yield found[:, torch.from_numpy(of).to(device)].flatten(0, 1)


def _batches(offsets: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """Yield rows that follow each other and whose windows lie alike, as int64 ``(n,)``."""
    for _, group in groupby(range(len(offsets)), key=lambda row: offsets[row].tobytes()):
        rows = np.array(list(group))
        n = max(1, _VALUES // (int(offsets[rows[0]].max()) + length))
        yield from (rows[first : first + n] for first in range(0, len(rows), n))


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


def _features(network: DMCNetwork, spans: Tensor, places: Tensor) -> Tensor:
    """Return what enters the matrices ``(rows * windows, width)`` of windows at ``places`` ``(windows,)`` of every span.

    All is kept as ``(n, length, channels)``. Spans are float32 ``(rows, values)``.
    """
    strips, n = _strips(network.layers), len(spans) * len(places)
    assert strips is not None
    shared = INPUTS[network.inputs](spans)[:, :, None]
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
    """Return the pieces ``(rows * starts, length, channels)`` of values ``(rows, n, channels)``, row after row."""
    rows, n, channels = values.shape
    places = starts[:, None] + torch.arange(length, device=values.device)
    every = torch.arange(rows, device=values.device)[:, None] * n + places.flatten()
    return values.reshape(-1, channels)[every.flatten()].view(-1, length, channels)


def _applied(convolution: nn.Module, norm: nn.Module, x: Tensor, padding: int) -> Tensor:
    """Return a layer's outputs ``(n, length, channels)`` before its pool."""
    weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
    image = x[:, None].permute(0, 3, 1, 2)  # (n, channels, 1, length), channels_last in memory
    out: Tensor = norm(F.conv2d(image, weight, bias, padding=(0, padding)))
    return out.permute(0, 2, 3, 1).squeeze(1)


def _pooled(x: Tensor) -> Tensor:
    even = x.shape[1] // 2 * 2
    return torch.maximum(x[:, 0:even:2], x[:, 1:even:2])
