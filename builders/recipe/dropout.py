"""Dropout as bits of counter-based random words: the same in every backend."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nws_data.randomness import Purpose, words


def dropout_mask(seeds: Sequence[int] | Tensor, steps: Sequence[int] | Tensor, batch_size: int, units: int) -> Tensor:
    """Return which units to keep, bool ``(members, batch_size, units)``, each with probability one half.

    Element (image b, unit u) of a member is bit ``i % 32`` of random word ``i // 32`` with ``i = b * units + u``. Seeds
    and steps may be int64 tensors ``(members,)``; the mask is on their device.
    """
    n = batch_size * units
    seeds, steps = torch.as_tensor(seeds), torch.as_tensor(steps)
    drawn = words(seeds, Purpose.DROPOUT, steps, -(-n // 32), seeds.device).to(torch.int32)
    place = torch.arange(32, dtype=torch.int32, device=seeds.device)
    bits = drawn.unsqueeze(-1).bitwise_right_shift(place).bitwise_and_(1)
    return bits.flatten(1)[:, :n].reshape(len(seeds), batch_size, units).to(torch.bool)
