"""Permutations of hidden channels and units: which axes of a weight vector move together, and how to move them.

Networks that differ by such a permutation compute the same function. Every hidden layer is a group of its own: its
outputs may be put in any order when all its tensors and the next layer's inputs follow. Permutation augmentation draws
orders by item and epoch.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nws_data.errors import SelectionError, check_one_of
from nws_data.randomness import Purpose, permutation, words
from nws_data.space.architecture import Architecture, TensorSlice


@dataclass(frozen=True)
class PermutedAxis:
    """One axis that follows a group: ``vector[slice].view(shape)``, permuted along ``axis``."""

    tensor: TensorSlice
    shape: tuple[int, ...]  # the tensor's own, but (units, positions, channels) where features were flattened
    axis: int


@dataclass(frozen=True)
class PermutationGroup:
    """The outputs of one hidden layer."""

    name: str  # of the layer
    size: int
    axes: tuple[PermutedAxis, ...]  # the first is that of the layer's kernel


def permutation_spec(architecture: Architecture) -> tuple[PermutationGroup, ...]:
    """Return the groups of an architecture, one for each layer but the output layer, input side first."""
    groups = []
    for layer, after in itertools.pairwise(architecture.layers):
        outputs = [PermutedAxis(tensor, tensor.shape, 0) for tensor in layer.tensors]
        kernel = after["kernel"]
        shape, axis = kernel.shape, 1
        if layer.is_conv and not after.is_conv:  # flattened features lie in the order height, width, channel
            shape, axis = (after.n_out, after.n_in // layer.n_out, layer.n_out), 2
        groups.append(PermutationGroup(layer.name, layer.n_out, (*outputs, PermutedAxis(kernel, shape, axis))))
    return tuple(groups)


def random_permutations(architecture: Architecture, seed: int) -> dict[str, Tensor]:
    """Return a uniformly random permutation for each group by name, int64 ``(size,)``; a function of the seed alone."""
    groups = permutation_spec(architecture)
    return {group.name: permutation(seed, Purpose.PERMUTATION, i, group.size) for i, group in enumerate(groups)}


def permute(vector: Tensor, architecture: Architecture, permutations: Mapping[str, Tensor]) -> Tensor:
    """Return the weight vector of the same function with hidden channels and units in another order.

    Args:
        vector: ``(..., n_weights)``: one vector or a batch of one architecture.
        architecture: what it belongs to.
        permutations: int64 ``(size,)`` by layer name: output ``i`` of the result is output ``permutations[name][i]``.
            Layers that are not named stay.

    Returns:
        A new tensor of the same shape and dtype.

    Raises:
        SelectionError: a vector of another length, an unknown layer, or something that is not a permutation of it.
    """
    if vector.shape[-1:] != (architecture.n_weights,):
        raise SelectionError(f"vector must end in {architecture.n_weights} values, got shape {tuple(vector.shape)}")
    sizes = {group.name: group.size for group in permutation_spec(architecture)}
    for name, order in permutations.items():
        check_one_of("hidden layer", name, sizes)
        if not torch.equal(order.sort().values, torch.arange(sizes[name], device=order.device)):
            raise SelectionError(f"{name}: expected a permutation of 0..{sizes[name] - 1}, got shape {tuple(order.shape)}")
    return vector[..., _places(architecture, {name: order[None] for name, order in permutations.items()}, 1)[0]]


def permute_each(vectors: Tensor, architecture: Architecture, orders: Mapping[str, Tensor]) -> Tensor:
    """Return vectors ``(B, n_weights)``, each in an order of its own: int64 ``(B, size)`` by layer; see :func:`permute`."""
    return vectors.gather(1, _places(architecture, orders, len(vectors)).to(vectors.device))


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
    drawn = words(keys, Purpose.PERMUTATION_AUGMENTATION, epoch, sum(sizes)).split(sizes, 1)
    orders = {group.name: part.sort(dim=1, stable=True).indices for group, part in zip(groups, drawn, strict=True)}
    return permute_each(vectors, architecture, orders)


def _places(architecture: Architecture, orders: Mapping[str, Tensor], n: int) -> Tensor:
    """Return where each value of ``n`` permuted vectors stood before, int64 ``(n, n_weights)``."""
    index = torch.arange(architecture.n_weights, device="cpu").repeat(n, 1)
    for group in permutation_spec(architecture):
        if group.name not in orders:
            continue
        for moved in group.axes:
            part = index[:, moved.tensor.slice].unflatten(1, moved.shape)
            at = orders[group.name].view(-1, *(group.size if axis == moved.axis else 1 for axis in range(len(moved.shape))))
            index[:, moved.tensor.slice] = part.gather(moved.axis + 1, at.expand_as(part)).flatten(1)
    return index
