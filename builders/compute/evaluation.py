"""Accuracy of one network on clean images with its running statistics.

The original evaluated in its training graph (augmented, batch statistics, moving them as it went); here evaluation is
clean and changes nothing, a deliberate deviation. It is in the weights' own precision, whatever the products of training
were rounded to, so that anybody who scores a snapshot again finds the recorded accuracy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from builders.recipe.augmentation import to_float
from nws_data.space.architecture import Architecture
from nws_data.space.network import ACTIVATIONS, BATCH_NORM_EPS


class FoldedNetwork:
    """A network for inference with batch norm folded into the kernels, which is exact but for rounding.

    A conv layer's norm follows its kernel and is folded into it; a fully connected layer's norm follows the
    activation and is folded into the next kernel. ``vector`` is ``(n_weights,)``.
    """

    def __init__(self, vector: Tensor, architecture: Architecture, activation: str) -> None:
        self._layers = architecture.layers
        self._activation = ACTIVATIONS[activation]
        self._dtype = vector.dtype
        self._folded = [
            (kernel.to(vector.dtype), bias.to(vector.dtype)) for kernel, bias in _fold(vector.double(), architecture)
        ]

    def logits(self, images: Tensor) -> Tensor:
        """Return ``(n, outputs)`` for uint8 images ``(n, 1 or 3, 32, 32)``."""
        x = to_float(images).to(self._dtype, memory_format=torch.channels_last)
        for layer, (kernel, bias) in zip(self._layers, self._folded, strict=True):
            if layer.is_conv:
                x = F.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)
                x = self._activation(F.max_pool2d(x, 2) if layer.pool_after else x)
            else:
                x = F.linear(x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x, kernel, bias)
                x = x if layer.is_output else self._activation(x)
        return x


def _fold(vector: Tensor, architecture: Architecture) -> list[tuple[Tensor, Tensor]]:
    folded = []
    scale_in: Tensor | None = None  # norm of the fully connected layer before, not yet applied
    shift_in = torch.empty(0)
    for layer in architecture.layers:
        kernel, bias = (vector[layer[kind].slice].view(layer[kind].shape) for kind in ("kernel", "bias"))
        if scale_in is not None:
            kernel, bias = kernel * scale_in, bias + kernel @ shift_in
            scale_in = None
        if layer.has_norm:
            beta, gamma, mean, variance = (vector[layer[kind].slice] for kind in ("beta", "gamma", "mean", "variance"))
            scale = gamma / torch.sqrt(variance + BATCH_NORM_EPS)
            shift = beta - mean * scale
            if layer.is_conv:
                kernel, bias = kernel * scale.view(-1, 1, 1, 1), bias * scale + shift
            else:
                scale_in, shift_in = scale, shift
        folded.append((kernel.contiguous(memory_format=torch.channels_last) if layer.is_conv else kernel, bias))
    return folded
