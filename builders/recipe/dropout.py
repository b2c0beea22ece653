"""Dropout as bits of counter-based random words: the same in every backend."""

from __future__ import annotations

import torch
from torch import Tensor

from nws_data.randomness import Purpose, words


def dropout_mask(seed: int, step: int, batch_size: int, units: int, device: torch.device | str = "cpu") -> Tensor:
    """Return which units to keep, bool ``(batch_size, units)``, each with probability one half.

    Element (image b, unit u) is bit ``i % 32`` of random word ``i // 32`` with ``i = b * units + u``.
    """
    n = batch_size * units
    drawn = words(seed, Purpose.DROPOUT, step, -(-n // 32), device)
    bits = drawn[:, None].bitwise_right_shift(torch.arange(32, device=device)).bitwise_and_(1)
    return bits.flatten()[:n].view(batch_size, units).to(torch.bool)
