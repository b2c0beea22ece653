"""Weight vectors as the per-layer tensors that permutation-equivariant weight-space networks take, and back.

Layout: that of the package ``nfn`` (Zhou et al. 2023, "Permutation equivariant neural functionals"), one entry a layer:
a list of weights ``(B, 1, out, in)``, of convolutions ``(B, 1, out, in, height, width)``, and of biases ``(B, C, out)``.
The kernel after the flattened features is ``(B, 1, out, channels, height, width)``: the positions stand where a filter
would, so that every hidden axis is an axis of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nws_data.errors import SelectionError
from nws_data.space.architecture import Architecture


def to_nfn(vectors: Tensor, architecture: Architecture) -> tuple[list[Tensor], list[Tensor]]:
    """Return the weights and biases of a batch, one tensor of each a layer, input side first.

    Args:
        vectors: ``(B, n_weights)`` of one architecture, of any type.
        architecture: theirs.

    Returns:
        Kernels ``(B, 1, out, in)`` or ``(B, 1, out, in, height, width)``, and biases ``(B, C, out)`` with the channels bias,
        beta, gamma, mean and variance where the layer has batch norm (C = 5) and bias alone where not (C = 1).

    Raises:
        SelectionError: vectors of another shape.
    """
    if vectors.ndim != 2 or vectors.shape[1] != architecture.n_weights:
        raise SelectionError(f"vectors must have shape (B, {architecture.n_weights}), got {tuple(vectors.shape)}")
    weights, biases = [], []
    for before, layer in zip((None, *architecture.layers), architecture.layers, strict=False):
        kernel = vectors[:, layer["kernel"].slice]
        if before is not None and before.is_conv and not layer.is_conv:  # features lie in the order height, width, channel
            side = math.isqrt(layer.n_in // before.n_out)
            kernel = kernel.view(-1, layer.n_out, side, side, before.n_out).permute(0, 1, 4, 2, 3)
        else:
            kernel = kernel.view(-1, *layer["kernel"].shape)
        weights.append(kernel.unsqueeze(1))
        biases.append(torch.stack([vectors[:, t.slice] for t in layer.tensors if t.kind != "kernel"], 1))
    return weights, biases


def from_nfn(weights: Sequence[Tensor], biases: Sequence[Tensor], architecture: Architecture) -> Tensor:
    """Return the weight vectors ``(B, n_weights)``, a copy, of what :func:`to_nfn` returned.

    Raises:
        SelectionError: tensors of other shapes than those of this architecture.
    """
    places = [part for kind in to_nfn(torch.arange(architecture.n_weights)[None], architecture) for part in kind]
    given = [*weights, *biases]
    expected, got = ([tuple(part.shape[1:]) for part in parts] for parts in (places, given))
    if expected != got:
        raise SelectionError(f"not the tensors of to_nfn for {architecture}: expected shapes {expected}, got {got}")
    vectors = given[0].new_empty(len(given[0]), architecture.n_weights)
    for part, place in zip(given, places, strict=True):
        vectors[:, place.flatten()] = part.flatten(1)
    return vectors
