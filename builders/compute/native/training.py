"""One training after another: forward, backward and update as a short list of calls, without autograd.

oneDNN computes the convolutions (channels last) and matrix products; everything between is a kernel of kernels.c that
touches each activation once or twice. Weights, gradients and statistics are in the vectors' dtype, activations and
products in the compute dtype. The activation comes after the pool, which is exact since all four are monotone.

Source: Eilertsen et al. 2020, Algorithm 1; dropout 0.5 and TensorFlow's batch norm as in the authors' scripts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from builders.compute.backend import compute_dtype, vector_dtype
from builders.compute.native.augmentation import augment
from builders.compute.native.convolution import Convolution
from builders.compute.native.library import images_in, required_kernels
from builders.plan.shape import Shape
from builders.recipe.constants import ACTIVATION_CODES
from builders.recipe.optimizers import OPTIMIZERS
from nws_data.randomness import Purpose
from nws_data.space.architecture import IMAGE_SHAPE, Architecture, Layer, TensorSlice
from nws_data.space.hyperparameters import HyperParameters
from nws_data.space.network import ACTIVATIONS, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM


class _Norm(NamedTuple):
    """Addresses of a layer's batch norm: parameters, gradients, running and batch statistics; 0 where there is no norm."""

    gamma: int = 0
    beta: int = 0
    running_mean: int = 0
    running_variance: int = 0
    dgamma: int = 0
    dbeta: int = 0
    mean: int = 0
    rstd: int = 0


class NativeTraining:
    """See :class:`builders.compute.backend.Training`; bfloat16 is for products and activations alone.

    Raises:
        BuildError: the kernels cannot be compiled here.
    """

    def __init__(self, shape: Shape, precision: str) -> None:
        dtype, n = vector_dtype(precision), shape.architecture.n_weights
        self._library = required_kernels(dtype)
        self._architecture, self._layers = shape.architecture, shape.architecture.layers
        self._dtype = compute_dtype(precision)
        self._bf16 = int(self._dtype == torch.bfloat16)
        self.vector, self._m, self._v, self._gradient = (torch.zeros(n, dtype=dtype) for _ in range(4))
        self._convolutions = {layer.name: Convolution(layer, self._dtype) for layer in self._layers if layer.is_conv}
        self._units = sum(layer.n_out for layer in self._layers if not layer.is_conv and not layer.is_output)
        self._n_dropout = shape.batch_size * self._units
        self._keep = torch.zeros(self._n_dropout + 1, dtype=torch.uint8)
        self._words = torch.zeros(self._n_dropout // 32 + 8, dtype=torch.int32)
        self._moments = {layer.name: torch.zeros(2, layer.n_out, dtype=dtype) for layer in self._layers}
        self._norms = {layer.name: self._norm(layer) for layer in self._layers}
        self._images = torch.zeros(shape.batch_size, *IMAGE_SHAPE[1:], IMAGE_SHAPE[0], dtype=self._dtype)

    def load(self, vector: Tensor, hyperparameters: HyperParameters, seed: int) -> None:
        """Start a training."""
        self._hyperparameters, self._seed = hyperparameters, seed
        self._coefficients, self._code = OPTIMIZERS[hyperparameters.optimizer], ACTIVATION_CODES[hyperparameters.activation]
        self.vector.copy_(vector)
        self._m.zero_()
        self._v.fill_(self._coefficients.v_start)

    @torch.inference_mode()
    def step(self, images: Tensor, labels: Tensor, step: int, rate: float) -> float:
        """Train on one batch; return the loss before the update."""
        if self._hyperparameters.augmentation:
            self._images.copy_(augment(images, self._seed, step).permute(0, 2, 3, 1))
        else:
            images_in(self._library, images, self._images)
        loss, c = self._gradients(labels.to(torch.uint8), step), self._coefficients
        self._library.update(
            len(self.vector), self.vector.data_ptr(), self._m.data_ptr(), self._v.data_ptr(), self._gradient.data_ptr(),
            rate, c.b1, c.c1, c.b2, c.s2, c.eps_inside, c.eps_outside,
        )  # fmt: skip
        return loss

    def scorer(self) -> Callable[[Tensor], Tensor]:
        """Return the logits of the network in evaluation."""
        return _scorer(self.vector, self._architecture, self._hyperparameters.activation)

    def _gradients(self, labels: Tensor, step: int) -> float:
        """Compute the loss gradient of the images, update the running statistics, and return the mean cross-entropy."""
        self._library.dropout_mask(
            self._seed, int(Purpose.DROPOUT), step, self._n_dropout, self._words.data_ptr(), self._keep.data_ptr()
        )
        kinds = ("kernel", "bias")
        weights = {y.name: [self._part(self.vector, y, kind).to(self._dtype) for kind in kinds] for y in self._layers}
        x, tape, unit = self._images, [], 0
        for layer in self._layers:
            if layer.is_conv:
                y, z = self._conv_forward(layer, x, *weights[layer.name])
            else:
                x = x.flatten(1)
                z = torch.addmm(weights[layer.name][1], x, weights[layer.name][0].t())
                y = z if layer.is_output else self._hidden_forward(layer, z, unit)
            tape.append((layer, x, z, y, unit))
            unit += 0 if layer.is_conv else layer.n_out
            x = y
        bias = self._address(self._gradient, self._layers[-1]["bias"])
        loss = self._library.cross_entropy(x.data_ptr(), self._bf16, len(x), x.shape[1], labels.data_ptr(), bias)
        dy = x
        while tape:  # an activation's memory is free for the gradients of the layers before it
            layer, x, z, y, unit = tape.pop()
            if layer.is_conv:
                dy = self._conv_backward(layer, x, z, y, dy)
                continue
            if not layer.is_output:
                self._hidden_backward(layer, z, dy, unit)
            dkernel = self._part(self._gradient, layer, "kernel")
            if self._bf16:
                dkernel.copy_(dy.t() @ x)
            else:
                torch.mm(dy.t(), x, out=dkernel)
            dy = (dy @ weights[layer.name][0]).view_as(x)
        return float(loss)

    def _part(self, vector: Tensor, layer: Layer, kind: str) -> Tensor:
        return vector[layer[kind].slice].view(layer[kind].shape)

    def _address(self, vector: Tensor, part: TensorSlice) -> int:
        return vector.data_ptr() + part.start * vector.element_size()

    def _norm(self, layer: Layer) -> _Norm:
        if not layer.has_norm:
            return _Norm()
        own = [self._address(self.vector, layer[kind]) for kind in ("gamma", "beta", "mean", "variance")]
        gradients = [self._address(self._gradient, layer[kind]) for kind in ("gamma", "beta")]
        return _Norm(*own, *gradients, *(moments.data_ptr() for moments in self._moments[layer.name]))

    def _conv_forward(self, layer: Layer, x: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return the layer's output and that of its convolution, both ``(batch, height, width, channels)``."""
        norm = self._norms[layer.name]
        z = self._convolutions[layer.name].forward(x, kernel, bias)
        batch, side, _, channels = z.shape
        pooled = side // 2 if layer.pool_after else side
        y = torch.empty(batch, pooled, pooled, channels, dtype=self._dtype)
        self._library.conv_forward(
            z.data_ptr(), self._bf16, batch, side, channels, norm.gamma, norm.beta, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM,
            layer.pool_after, self._code, norm.mean, norm.rstd, norm.running_mean, norm.running_variance, y.data_ptr(),
        )  # fmt: skip
        return y, z

    def _conv_backward(self, layer: Layer, x: Tensor, z: Tensor, y: Tensor, dy: Tensor) -> Tensor:
        """Write the layer's gradients, that of ``z`` into ``z``; return that of its input, for the first layer whatever."""
        batch, side, _, channels = z.shape
        norm = self._norms[layer.name]
        self._library.conv_backward(
            z.data_ptr(), y.data_ptr(), dy.data_ptr(), self._bf16, batch, side, channels, norm.gamma, norm.beta,
            layer.pool_after, self._code, norm.mean, norm.rstd, norm.dgamma, norm.dbeta,
            self._address(self._gradient, layer["bias"]),
        )  # fmt: skip
        dx = self._convolutions[layer.name].backward(
            x, z, self._part(self._gradient, layer, "kernel"), needs_dx=layer is not self._layers[0]
        )
        return z if dx is None else dx

    def _hidden_forward(self, layer: Layer, u: Tensor, unit: int) -> Tensor:
        """Activate ``u`` in place; return the layer's output."""
        out, norm = torch.empty_like(u), self._norms[layer.name]
        self._library.hidden_forward(
            u.data_ptr(), self._bf16, *u.shape, norm.gamma, norm.beta, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, self._code,
            self._keep.data_ptr() + unit, self._units, norm.mean, norm.rstd, norm.running_mean, norm.running_variance,
            out.data_ptr(),
        )  # fmt: skip
        return out

    def _hidden_backward(self, layer: Layer, v: Tensor, dy: Tensor, unit: int) -> None:
        """Turn ``dy`` into the gradient of the layer's product in place; write its other gradients."""
        norm = self._norms[layer.name]
        self._library.hidden_backward(
            v.data_ptr(), dy.data_ptr(), self._bf16, *v.shape, norm.gamma, self._code, self._keep.data_ptr() + unit,
            self._units, norm.mean, norm.rstd, norm.dgamma, norm.dbeta, self._address(self._gradient, layer["bias"]),
        )  # fmt: skip


def _scorer(vector: Tensor, architecture: Architecture, activation: str) -> Callable[[Tensor], Tensor]:
    """Return the network in evaluation, with batch norm folded into the kernels, which is exact but for rounding.

    A conv layer's norm follows its kernel and is folded into it; a fully connected layer's norm follows the activation and
    is folded into the next kernel. ``vector`` is ``(n_weights,)``, float32 or float64, and so are all products.
    """
    library, code = required_kernels(vector.dtype), ACTIVATION_CODES[activation]
    folded = [[part.to(vector.dtype) for part in parts] for parts in _fold(vector.double(), architecture)]
    convolutions = {layer.name: Convolution(layer, vector.dtype) for layer in architecture.layers if layer.is_conv}
    widest = max(layer.n_out for layer in architecture.layers)
    ones, zeros = vector.new_ones(widest), vector.new_zeros(widest)

    def logits(images: Tensor) -> Tensor:
        x = vector.new_empty(len(images), *IMAGE_SHAPE[1:], IMAGE_SHAPE[0])
        images_in(library, images, x)
        for layer, (kernel, bias) in zip(architecture.layers, folded, strict=True):
            if not layer.is_conv:
                x = F.linear(x.flatten(1), kernel, bias)
                x = x if layer.is_output else ACTIVATIONS[activation](x)
                continue
            z = convolutions[layer.name].forward(x, kernel, bias)
            batch, side, _, channels = z.shape
            x = z.new_empty(batch, side // 2, side // 2, channels) if layer.pool_after else torch.empty_like(z)
            library.scale_pool_activate(
                z.data_ptr(), 0, batch, side, channels, ones.data_ptr(), zeros.data_ptr(), layer.pool_after, code,
                x.data_ptr(),
            )  # fmt: skip
        return x

    return logits


def _fold(vector: Tensor, architecture: Architecture) -> list[tuple[Tensor, Tensor]]:
    folded = []
    scale_in: Tensor | None = None  # norm of the fully connected layer before, not yet applied
    shift_in = torch.empty(0)
    for layer in architecture.layers:
        kernel, bias = (vector[layer[kind].slice].view(layer[kind].shape) for kind in ("kernel", "bias"))
        if scale_in is not None:
            kernel, bias = kernel * scale_in, bias + kernel @ shift_in
            scale_in = None
        if layer.has_norm:
            beta, gamma, mean, variance = (vector[layer[kind].slice] for kind in ("beta", "gamma", "mean", "variance"))
            scale = gamma / torch.sqrt(variance + BATCH_NORM_EPS)
            shift = beta - mean * scale
            if layer.is_conv:
                kernel, bias = kernel * scale.view(-1, 1, 1, 1), bias * scale + shift
            else:
                scale_in, shift_in = scale, shift
        folded.append((kernel.contiguous(memory_format=torch.channels_last) if layer.is_conv else kernel, bias))
    return folded
