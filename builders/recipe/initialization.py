"""The four initialisers as in TensorFlow up to about 1.7, drawn from the counter-based generator in float64.

Source: Eilertsen et al. 2020, Supplement A.1; gamma's noise from the authors' scripts.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nws_data.randomness import Purpose, words
from nws_data.space.architecture import Architecture, Layer
from nws_data.space.hyperparameters import HyperParameters

CONSTANT = 0.1
GAMMA_STD = 0.002
"""Without this noise a constant initialisation would leave all channels of a layer equal for ever."""


def initial_vector(hyperparameters: HyperParameters, seed: int) -> Tensor:
    """Return the weight vector before any training, float64 ``(n_weights,)``.

    Kernels are drawn by the training's initialisation; biases, beta and running means are 0, running variances 1,
    gamma N(1, 0.002). Element ``i`` uses random word ``i`` of the training's seed, whatever the kind of tensor.
    """
    architecture = Architecture.of(hyperparameters)
    u = (words(seed, Purpose.INITIALIZATION, 0, architecture.n_weights).double() + 0.5) / 2**32
    vector = torch.zeros(architecture.n_weights, dtype=torch.float64)
    for layer in architecture.layers:
        kernel = layer["kernel"].slice
        vector[kernel] = _kernel(hyperparameters.initialization, u[kernel], layer)
        if layer.has_norm:
            vector[layer["gamma"].slice] = 1 + GAMMA_STD * torch.special.ndtri(u[layer["gamma"].slice])
            vector[layer["variance"].slice] = 1.0
    return vector


def _kernel(initialization: str, u: Tensor, layer: Layer) -> Tensor:
    fans = layer.fan_in + layer.fan_out
    if initialization == "constant":
        return torch.full_like(u, CONSTANT)
    if initialization == "random_normal":
        return torch.special.ndtri(u)
    if initialization == "glorot_uniform":
        return (2 * u - 1) * math.sqrt(6 / fans)
    # glorot_normal, truncated at two sigma by inverting the distribution function between the cuts; the standard deviation
    # is not corrected for the cut, as in TensorFlow up to about 1.7 (later versions divide by 0.8796).
    low = 0.5 * math.erfc(math.sqrt(2))
    return torch.special.ndtri(low + u * (1 - 2 * low)) * math.sqrt(2 / fans)
