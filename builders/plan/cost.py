"""What a training costs in floating-point operations."""

from __future__ import annotations

import math

from nws_data.space.architecture import IMAGE_SHAPE, Architecture


def forward_flop(architecture: Architecture) -> int:
    """Return the operations of one image's forward pass: two for each multiply-add of convolutions and matrices."""
    area, flop = math.prod(IMAGE_SHAPE[1:]), 0
    for layer in architecture.layers:
        flop += 2 * math.prod(layer["kernel"].shape) * (area if layer.is_conv else 1)
        area //= 4 if layer.pool_after else 1
    return flop


def training_flop(architecture: Architecture) -> int:
    """Return the operations of training on one image once: forward, and twice that backward."""
    return 3 * forward_flop(architecture)
