"""Algorithm 1 as data: the layers of a network and where each of their tensors lies in the weight vector.

Source: Eilertsen et al. 2020, Algorithm 1 and Section 3. The printed counts (92,868 values of the fixed
architecture, 16,880 of them convolutional) are tests.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from nws_data.errors import HyperParameterError, SelectionError, check_one_of, one_of
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters

IMAGE_SHAPE = (3, 32, 32)
N_CLASSES = 10
"""Classes of every image set."""

N_OUTPUTS = 20
"""Units of the output layer. Ten are never a label; with ten the paper's counts do not come out."""

TensorKind = Literal["kernel", "bias", "beta", "gamma", "mean", "variance"]
KINDS: tuple[TensorKind, ...] = get_args(TensorKind)
"""Kinds of tensors in a layer, in vector order; the last four belong to batch norm."""

Part = Literal["all", "conv", "fc"]
PARTS: tuple[Part, ...] = get_args(Part)
"""Parts of a weight vector: all of it, its convolutional layers, its fully connected layers."""

_CONVS_PER_BLOCK = {3: (1, 1, 1), 4: (1, 1, 2), 5: (1, 2, 2)}
_ARCHITECTURE_FIELDS = ("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc")


@dataclass(frozen=True)
class TensorSlice:
    """One tensor of a layer inside the weight vector: ``vector[start:stop].reshape(shape)``."""

    kind: str
    start: int
    stop: int
    shape: tuple[int, ...]

    @property
    def slice(self) -> slice:
        """The position as a Python slice."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Layer:
    """One convolution or fully connected layer with its tensors."""

    name: str  # conv1, conv2, ..., fc1, fc2, ...
    is_conv: bool
    n_in: int  # input channels or units
    n_out: int
    pool_after: bool  # a 2x2 max-pool follows
    is_output: bool  # the last layer: no activation, norm or dropout
    tensors: tuple[TensorSlice, ...]

    def __getitem__(self, kind: str) -> TensorSlice:
        """Return the tensor of a kind; raises ``SelectionError`` when the layer has none."""
        for tensor in self.tensors:
            if tensor.kind == kind:
                return tensor
        raise SelectionError(f"{self.name}: {one_of(kind, [t.kind for t in self.tensors])}")

    @property
    def has_norm(self) -> bool:
        """Whether batch norm belongs to the layer."""
        return len(self.tensors) > 2

    @property
    def fan_in(self) -> int:
        """Inputs of one output value: in-channels times filter area, or input units."""
        return math.prod(self["kernel"].shape[1:])

    @property
    def fan_out(self) -> int:
        """Out-channels times filter area, or output units."""
        kernel = self["kernel"].shape
        return kernel[0] * math.prod(kernel[2:])


@dataclass(frozen=True)
class Architecture:
    """The five architectural hyper-parameters and what follows from them."""

    filter_size: int
    depth_conv: int
    depth_fc: int
    width_conv: int
    width_fc: int
    batch_norm: bool = True

    def __post_init__(self) -> None:
        for name in _ARCHITECTURE_FIELDS:
            check_one_of(name, getattr(self, name), CLASSES[name], HyperParameterError)

    @classmethod
    def of(cls, hyperparameters: HyperParameters) -> Architecture:
        """Return the architecture that a training's hyper-parameters describe."""
        fields = {name: getattr(hyperparameters, name) for name in _ARCHITECTURE_FIELDS}
        return cls(**fields, batch_norm=hyperparameters.batch_norm)

    @property
    def is_fixed(self) -> bool:
        """Whether it is the architecture of the population ``fixed``, with batch norm."""
        return self == Architecture(**FIXED_ARCHITECTURE, batch_norm=True)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, input side first, with the slice of every tensor."""
        return _layers(self)

    @property
    def n_weights(self) -> int:
        """Length of the weight vector."""
        return self.layers[-1].tensors[-1].stop

    @property
    def n_weights_conv(self) -> int:
        """Length of the conv part: everything before the first FC kernel."""
        return next(layer for layer in self.layers if not layer.is_conv)["kernel"].start

    def layer(self, name: str) -> Layer:
        """Return the layer of that name, such as ``"conv1"``; raises ``SelectionError``."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise SelectionError(f"layer: {one_of(name, [layer.name for layer in self.layers])}")


def _tensors(start: int, kernel: tuple[int, ...], norm: bool) -> tuple[TensorSlice, ...]:
    tensors = []
    for kind in KINDS if norm else KINDS[:2]:
        shape = kernel if kind == "kernel" else kernel[:1]
        tensors.append(TensorSlice(kind, start, start + math.prod(shape), shape))
        start = tensors[-1].stop
    return tuple(tensors)


@lru_cache(maxsize=512)
def _layers(a: Architecture) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    n_in, start = IMAGE_SHAPE[0], 0
    # Blocks of w, 2w, 4w channels with 4w = width_conv, a pool behind each.
    convs = [(a.width_conv // 4 * 2**i, j == n - 1) for i, n in enumerate(_CONVS_PER_BLOCK[a.depth_conv]) for j in range(n)]
    for i, (n_out, pool) in enumerate(convs, 1):
        tensors = _tensors(start, (n_out, n_in, a.filter_size, a.filter_size), a.batch_norm)
        layers.append(Layer(f"conv{i}", True, n_in, n_out, pool, False, tensors))
        n_in, start = n_out, tensors[-1].stop
    n_in *= (IMAGE_SHAPE[1] // 8) * (IMAGE_SHAPE[2] // 8)
    # width_fc units, halved each time, then the outputs.
    for i, n_out in enumerate([*(a.width_fc // 2**i for i in range(a.depth_fc - 1)), N_OUTPUTS], 1):
        last = i == a.depth_fc
        tensors = _tensors(start, (n_out, n_in), a.batch_norm and not last)
        layers.append(Layer(f"fc{i}", False, n_in, n_out, False, last, tensors))
        n_in, start = n_out, tensors[-1].stop
    return tuple(layers)


def all_architectures(batch_norm: bool = True) -> list[Architecture]:
    """Return the 243 architectures of Table 1 in the order of its values."""
    grid = itertools.product(*(CLASSES[name] for name in _ARCHITECTURE_FIELDS))
    return [Architecture(**dict(zip(_ARCHITECTURE_FIELDS, values, strict=True)), batch_norm=batch_norm) for values in grid]
