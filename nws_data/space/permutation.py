"""Permutations of hidden channels and units: which axes of a weight vector move together, and how to move them.

Networks that differ by such a permutation compute the same function. Every hidden layer is a group of its own: its
outputs may be put in any order when all its tensors and the next layer's inputs follow.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nws_data.errors import SelectionError, one_of
from nws_data.randomness import Purpose, permutation
from nws_data.space.architecture import Architecture, TensorSlice


@dataclass(frozen=True)
class PermutedAxis:
    """One axis that follows a group: ``vector[slice].view(shape)``, permuted along ``axis``."""

    layer: str
    kind: str
    tensor: TensorSlice
    shape: tuple[int, ...]  # the tensor's own, but (units, positions, channels) where features were flattened
    axis: int


@dataclass(frozen=True)
class PermutationGroup:
    """The outputs of one hidden layer."""

    name: str  # of the layer
    size: int
    axes: tuple[PermutedAxis, ...]


def permutation_spec(architecture: Architecture) -> tuple[PermutationGroup, ...]:
    """Return the groups of an architecture, one for each layer but the output layer, input side first."""
    groups = []
    for layer, after in itertools.pairwise(architecture.layers):
        outputs = [PermutedAxis(layer.name, tensor.kind, tensor, tensor.shape, 0) for tensor in layer.tensors]
        kernel = after["kernel"]
        shape, axis = kernel.shape, 1
        if layer.is_conv and not after.is_conv:  # flattened features lie in the order height, width, channel
            shape, axis = (after.n_out, after.n_in // layer.n_out, layer.n_out), 2
        inputs = PermutedAxis(after.name, "kernel", kernel, shape, axis)
        groups.append(PermutationGroup(layer.name, layer.n_out, (*outputs, inputs)))
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
    groups = {group.name: group for group in permutation_spec(architecture)}
    out = vector.clone()
    for name, order in permutations.items():
        if name not in groups:
            raise SelectionError(f"hidden layer: {one_of(name, groups)}")
        if not torch.equal(order.sort().values, torch.arange(groups[name].size)):
            raise SelectionError(
                f"{name}: expected a permutation of 0..{groups[name].size - 1}, got shape {tuple(order.shape)}"
            )
        for moved in groups[name].axes:
            n, values = len(moved.shape), out[..., moved.tensor.slice].unflatten(-1, moved.shape)
            out[..., moved.tensor.slice] = values.index_select(values.dim() - n + moved.axis, order).flatten(-n)
    return out
