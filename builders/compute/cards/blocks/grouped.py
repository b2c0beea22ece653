"""The conv block as one grouped convolution in channels_last: plain PyTorch, the path that the others are compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from builders.compute.cards.blocks.parts import activate, max_pool, norm


def grouped_block(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    beta: Tensor | None,
    gamma: Tensor | None,
    codes: Tensor,
    *,
    pool: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Apply the layer, see :class:`ConvBlock`. y's memory lies as ``(batch, H, W, members, C)``."""
    members, batch, height, width, _ = x.shape
    # Members side by side in the channels; a view when x comes from this function.
    stacked = x.permute(1, 2, 3, 0, 4).reshape(batch, height, width, -1).permute(0, 3, 1, 2)
    weight = kernel.to(x.dtype).flatten(0, 1)
    z = F.conv2d(stacked, weight, bias.to(x.dtype).flatten(), padding=kernel.shape[-1] // 2, groups=members)
    z = z.permute(0, 2, 3, 1).unflatten(3, (members, -1)).permute(3, 0, 1, 2, 4)
    y, mean, variance = norm(z, beta, gamma)
    return activate(max_pool(y) if pool else y, codes), mean, variance
