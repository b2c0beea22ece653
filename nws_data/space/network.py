"""A snapshot as a live network: Algorithm 1 as a ``torch.nn.Module``, and weight vector to ``state_dict`` and back.

Source: Eilertsen et al. 2020, Algorithm 1 and Section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nws_data.errors import FormatError
from nws_data.space.architecture import Architecture, TensorSlice
from nws_data.space.hyperparameters import HyperParameters

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}

BATCH_NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics: the paper's decay of 0.9 in PyTorch's terms."""

_STATE_NAMES = {
    "kernel": "{}.weight",
    "bias": "{}.bias",
    "beta": "{}_norm.bias",
    "gamma": "{}_norm.weight",
    "mean": "{}_norm.running_mean",
    "variance": "{}_norm.running_var",
}


class Network(nn.Module):
    """One classifier of the dataset: float ``(B, 3, 32, 32)`` in [0, 1] to logits ``(B, 20)``.

    Conv layers: convolution, batch norm, activation, and a 2x2 max-pool at the end of a block. Flattened in the order
    height, width, channel. Hidden fully connected layers: linear, activation, batch norm, dropout. Units 10 to 19 of
    the output are never a label.

    The dataset's running variances were updated with the biased batch variance; PyTorch's batch norm uses the unbiased
    one when *training goes on* in training mode. Evaluation mode is exact.
    """

    def __init__(self, architecture: Architecture, activation: str) -> None:
        super().__init__()
        self.architecture = architecture
        self.activation = ACTIVATIONS[activation]
        for layer in architecture.layers:
            if layer.is_conv:
                self.add_module(layer.name, nn.Conv2d(layer.n_in, layer.n_out, architecture.filter_size, padding="same"))
            else:
                self.add_module(layer.name, nn.Linear(layer.n_in, layer.n_out))
            if layer.has_norm:
                norm = nn.BatchNorm2d if layer.is_conv else nn.BatchNorm1d
                self.add_module(f"{layer.name}_norm", norm(layer.n_out, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(B, 20)`` of float images ``(B, 3, 32, 32)`` in [0, 1]."""
        x = images
        for layer in self.architecture.layers:
            module = self.get_submodule(layer.name)
            if layer.is_conv:
                x = self.activation(self._norm(layer.name, module(x)))
                x = F.max_pool2d(x, 2) if layer.pool_after else x
                continue
            x = module(x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x)
            if not layer.is_output:
                x = F.dropout(self._norm(layer.name, self.activation(x)), 0.5, self.training)
        return x

    def _norm(self, name: str, x: Tensor) -> Tensor:
        """Apply a layer's batch norm, if the architecture has it."""
        norm: Tensor = self.get_submodule(f"{name}_norm")(x) if self.architecture.batch_norm else x
        return norm


def build_network(hyperparameters: HyperParameters) -> Network:
    """Return a network with PyTorch's default weights, in training mode; see :func:`load_network` for a snapshot's."""
    return Network(Architecture.of(hyperparameters), hyperparameters.activation)


def load_network(vector: Tensor | np.ndarray, hyperparameters: HyperParameters) -> Network:
    """Return the classifier that a snapshot is, in evaluation mode.

    Args:
        vector: the weight vector, float ``(n_weights,)``; it is copied.
        hyperparameters: of the snapshot's training.

    Raises:
        FormatError: a vector of another length or type.
    """
    network = build_network(hyperparameters)
    network.load_state_dict(state_dict_from_vector(vector, network.architecture))
    return network.eval()


def state_names(architecture: Architecture) -> Iterator[tuple[str, TensorSlice]]:
    """Yield (name in the ``state_dict``, tensor) in vector order: ``conv1.weight``, ..., ``conv1_norm.running_var``, ..."""
    for layer in architecture.layers:
        for tensor in layer.tensors:
            yield _STATE_NAMES[tensor.kind].format(layer.name), tensor


def state_dict_from_vector(vector: Tensor | np.ndarray, architecture: Architecture) -> dict[str, Tensor]:
    """Return a weight vector as a ``state_dict`` of :class:`Network`.

    Args:
        vector: float ``(n_weights,)``. Of a tensor the entries are views, through which gradients flow (see
            ``torch.func.functional_call``) but for the running statistics, which PyTorch's batch norm cannot
            differentiate: these are detached. An array is copied.
        architecture: the snapshot's.

    Raises:
        FormatError: a vector of another length or type.
    """
    values = vector if isinstance(vector, Tensor) else torch.tensor(np.asarray(vector))
    if values.shape != (architecture.n_weights,) or not values.is_floating_point():
        raise FormatError(
            f"the weight vector of this architecture has shape ({architecture.n_weights},) and a floating type, "
            f"got {tuple(values.shape)} {values.dtype}; is it another training's?"
        )
    return {
        name: (values.detach() if tensor.kind in ("mean", "variance") else values)[tensor.slice].view(tensor.shape)
        for name, tensor in state_names(architecture)
    }
