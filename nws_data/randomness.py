"""Counter-based random numbers: Philox4x32-10 on tensors, the same bits on every device.

A random number here is a pure function of a key (a training's seed) and a counter (purpose, step, element),
so nothing depends on what was drawn before, on companions, on worker processes or on a restart.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), Section 5.

torch is imported by the functions: who needs only names and metadata does without it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

GENERATOR = "philox4x32-10/1"
"""Name and version of the generator, recorded with every training."""

_MASK = 0xFFFFFFFF
_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


class Purpose(IntEnum):
    """What a random number is for: the third counter word. Never renumber: stored datasets depend on it."""

    HYPERPARAMETERS = 0
    VALIDATION_SPLIT = 1
    INITIALIZATION = 2
    EPOCH_DRAW = 3
    EPOCH_ORDER = 4
    DROPOUT = 5
    AUGMENTATION = 6
    NOISE = 7
    WINDOW = 8
    PERMUTATION = 9
    VIEW_ORDER = 10
    LABEL_PERMUTATION = 11
    BOOTSTRAP = 12
    PERMUTATION_AUGMENTATION = 13


def philox(counter: tuple[Tensor | int, ...], key: tuple[Tensor | int, Tensor | int], like: Tensor) -> list[Tensor]:
    """Return the four output words of Philox4x32-10.

    Args:
        counter: four words, each an int64 tensor with values in [0, 2^32) or an int; they broadcast with ``like``.
        key: two words, likewise.
        like: int64 tensor that gives shape and device.

    Returns:
        Four int64 tensors shaped as ``like``, values in [0, 2^32).
    """
    import torch

    c = [like.new_empty(like.shape).copy_(w) if isinstance(w, torch.Tensor) else torch.full_like(like, w) for w in counter]
    k0, k1 = key
    product0, product1 = torch.empty_like(like), torch.empty_like(like)
    for _ in range(_ROUNDS):
        # The products wrap modulo 2^64; their sign bit is garbage that the masks below remove.
        torch.mul(c[0], _MULTIPLIERS[0], out=product0)
        torch.mul(c[2], _MULTIPLIERS[1], out=product1)
        torch.bitwise_right_shift(product1, 32, out=c[0]).bitwise_xor_(c[1]).bitwise_xor_(k0).bitwise_and_(_MASK)
        torch.bitwise_right_shift(product0, 32, out=c[2]).bitwise_xor_(c[3]).bitwise_xor_(k1).bitwise_and_(_MASK)
        torch.bitwise_and(product1, _MASK, out=c[1])
        torch.bitwise_and(product0, _MASK, out=c[3])
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c


def words(seed: Tensor | int, purpose: Purpose, step: Tensor | int, n: int, device: torch.device | str = "cpu") -> Tensor:
    """Return ``n`` random 32-bit words for each seed.

    Args:
        seed: the key, an int in [0, 2^63), or an int64 tensor ``(members,)`` of such.
        purpose: what they are for.
        step: the training step, epoch or other index, below 2^32; an int or an int64 tensor ``(members,)``.
        n: how many; element ``i`` is word ``i % 4`` of the block with counter ``(i // 4, step, purpose, 0)``.
        device: where to compute.

    Returns:
        int64 ``(n,)`` for an int seed, else ``(members, n)``; values in [0, 2^32).
    """
    import torch

    single = not isinstance(seed, torch.Tensor)
    seeds = torch.as_tensor(seed, dtype=torch.int64, device=device).reshape(-1, 1)
    steps = torch.as_tensor(step, dtype=torch.int64, device=device).reshape(-1, 1)
    block = torch.arange(-(-n // 4), dtype=torch.int64, device=device).expand(len(seeds), -1)
    out = philox((block, steps, int(purpose), 0), (seeds & _MASK, seeds >> 32), block)
    flat = torch.stack(out, dim=-1).flatten(1)[:, :n]
    return flat[0] if single else flat


def bits(seed: int, purpose: Purpose, step: int, n: int, device: torch.device | str = "cpu") -> Tensor:
    """Return ``n`` random bits, int64 ``(n,)``: element ``i`` is bit ``i % 32`` of word ``i // 32`` of :func:`words`."""
    import torch

    drawn = words(seed, purpose, step, -(-n // 32), device)
    return (drawn[:, None] >> torch.arange(32, device=device)).bitwise_and_(1).flatten()[:n]


def permutation(seed: int, purpose: Purpose, step: int, n: int, device: torch.device | str = "cpu") -> Tensor:
    """Return int64 ``(n,)``: 0..n-1 in the order of random words, ties by position."""
    import torch

    return torch.sort(words(seed, purpose, step, n, device), stable=True).indices
