"""Permutations of a batch, each vector by its own: one gather. Permutation augmentation draws them by item and epoch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nws_data.errors import SelectionError
from nws_data.randomness import Purpose, words
from nws_data.space.architecture import Architecture
from nws_data.space.permutation import permutation_spec


def augment_permutations(vectors: Tensor, architecture: Architecture, seed: int, epoch: int, items: Tensor) -> Tensor:
    """Return the same functions with hidden channels and units in random orders, one order an item.

    Args:
        vectors: ``(B, n_weights)`` of one architecture.
        architecture: theirs.
        seed: in [0, 2^63).
        epoch: below 2^32.
        items: int64 ``(B,)`` below 2^32. The order is a function of (seed, epoch, item), not of the batch.

    Returns:
        A new tensor of the same shape and type.

    Raises:
        SelectionError: vectors or items of another shape.
    """
    if vectors.shape != (len(items), architecture.n_weights):
        raise SelectionError(
            f"vectors must have shape ({len(items)}, {architecture.n_weights}), one row an item, got {tuple(vectors.shape)}"
        )
    groups = permutation_spec(architecture)
    sizes = [group.size for group in groups]
    first, second = words(torch.full_like(items, seed), Purpose.PERMUTATION_AUGMENTATION, items, 2).unbind(1)
    keys = (first >> 1 << 32) | second  # a seed of its own for each item
    drawn = words(keys, Purpose.PERMUTATION_AUGMENTATION, epoch, sum(sizes))
    orders = [values.sort(dim=1, stable=True).indices for values in drawn.split(sizes, 1)]
    return permute_each(vectors, architecture, {group.name: order for group, order in zip(groups, orders, strict=True)})


def permute_each(vectors: Tensor, architecture: Architecture, orders: Mapping[str, Tensor]) -> Tensor:
    """Return each vector's function with hidden channels and units in an order of its own; see :func:`permute`.

    Args:
        vectors: ``(B, n_weights)`` of one architecture.
        architecture: theirs.
        orders: int64 ``(B, size)`` of permutations, by layer name; layers that are not named stay.

    Returns:
        A new tensor of the same shape and type.
    """
    index = torch.arange(architecture.n_weights).repeat(len(vectors), 1)
    for group in permutation_spec(architecture):
        if group.name not in orders:
            continue
        for moved in group.axes:
            part = index[:, moved.tensor.slice].unflatten(1, moved.shape)
            at = orders[group.name].view(-1, *(group.size if axis == moved.axis else 1 for axis in range(len(moved.shape))))
            index[:, moved.tensor.slice] = part.gather(moved.axis + 1, at.expand_as(part)).flatten(1)
    return vectors.gather(1, index.to(vectors.device))
