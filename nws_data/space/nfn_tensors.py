"""Weight vectors as the per-layer tensors that permutation-equivariant weight-space networks take, and back.

Layout: a list of weights ``(B, 1, out, in, *filter)`` and a list of biases ``(B, C, out)``, one entry a layer, as in
Zhou et al. 2023, "Permutation equivariant neural functionals". Every hidden axis is an axis of its own, so the kernel
after the flattened features is ``(B, 1, out, channels, positions)``: the positions stand where a filter would.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nws_data.errors import SelectionError
from nws_data.space.architecture import Architecture, Layer


def to_nfn(vectors: Tensor, architecture: Architecture) -> tuple[list[Tensor], list[Tensor]]:
    """Return the weights and biases of a batch, one tensor of each a layer, input side first.

    Args:
        vectors: ``(B, n_weights)`` of one architecture, of any type.
        architecture: theirs.

    Returns:
        Kernels ``(B, 1, out, in, *filter)`` and biases ``(B, C, out)`` with the channels bias, beta, gamma, mean and
        variance where the layer has batch norm (C = 5) and bias alone where not (C = 1, the output layer).

    Raises:
        SelectionError: vectors of another shape.
    """
    if vectors.ndim != 2 or vectors.shape[1] != architecture.n_weights:
        raise SelectionError(f"vectors must have shape (B, {architecture.n_weights}), got {tuple(vectors.shape)}")
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    before: Layer | None = None
    for layer in architecture.layers:
        kernel = vectors[:, layer["kernel"].slice]
        if before is not None and before.is_conv and not layer.is_conv:
            kernel = kernel.view(-1, layer.n_out, layer.n_in // before.n_out, before.n_out).transpose(2, 3)
        else:
            kernel = kernel.view(-1, *layer["kernel"].shape)
        weights.append(kernel.unsqueeze(1))
        biases.append(torch.stack([vectors[:, t.slice] for t in layer.tensors if t.kind != "kernel"], 1))
        before = layer
    return weights, biases


def from_nfn(weights: list[Tensor], biases: list[Tensor], architecture: Architecture) -> Tensor:
    """Return the weight vectors ``(B, n_weights)``, a copy, of what :func:`to_nfn` returned."""
    parts: list[Tensor] = []
    before: Layer | None = None
    for layer, weight, bias in zip(architecture.layers, weights, biases, strict=True):
        flattened = before is not None and before.is_conv and not layer.is_conv
        kernel = weight[:, 0].transpose(2, 3) if flattened else weight[:, 0]
        parts += [kernel.flatten(1), bias.flatten(1)]
        before = layer
    return torch.cat(parts, 1)
