"""Forward, backward and update of one network as a short list of calls, without autograd.

oneDNN computes the convolutions (channels last) and matrix products; everything between is a kernel of kernels.c that
touches each activation once or twice. Weights, gradients and statistics are in the vectors' dtype, activations and
products in ``compute_dtype``. The activation comes after the pool, which is exact since all four are monotone.

Source: Eilertsen et al. 2020, Algorithm 1; dropout 0.5 and TensorFlow's batch norm as in the authors' scripts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from builders.compute.native.convolution import Convolution
from builders.compute.native.kernels import Norm, check_sizes, dropout_mask, required_kernels
from builders.recipe.constants import ACTIVATION_CODES
from nws_data.space.architecture import IMAGE_SHAPE, Architecture, Layer
from nws_data.space.network import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM


class NativeNetwork:
    """The step of one network, whose buffers any training of that shape can use.

    Args:
        architecture: the network's.
        batch_size: images a step.
        dtype: of weight vectors: float32, or float64 in tests.
        compute_dtype: of activations and products: ``dtype``, or bfloat16.

    Raises:
        BuildError: the kernels cannot be compiled here.
    """

    def __init__(self, architecture: Architecture, batch_size: int, dtype: torch.dtype, compute_dtype: torch.dtype) -> None:
        check_sizes(architecture.layers)
        self.library = required_kernels(dtype)
        self.architecture, self.layers = architecture, architecture.layers
        self.activation = "relu"  # of the training that is going on; any may use the buffers
        self.n_weights = architecture.n_weights
        self.batch_size = batch_size
        self.compute_dtype = compute_dtype
        self._dtype = dtype
        self._bf16 = int(compute_dtype == torch.bfloat16)
        self._convolutions = {layer.name: Convolution(layer, compute_dtype) for layer in self.layers if layer.is_conv}
        self._size = torch.empty(0, dtype=dtype).element_size()
        hidden = [layer for layer in self.layers if not layer.is_conv and not layer.is_output]
        self._units = sum(layer.n_out for layer in hidden)
        n = batch_size * self._units
        self._keep, self._words = torch.zeros(n + 1, dtype=torch.uint8), torch.zeros(n // 32 + 8, dtype=torch.int32)
        self._moments = {layer.name: torch.zeros(2, layer.n_out, dtype=dtype) for layer in self.layers}
        self._norms: dict[tuple[int, int], dict[str, Norm]] = {}
        self.images = torch.zeros(batch_size, *IMAGE_SHAPE[1:], IMAGE_SHAPE[0], dtype=compute_dtype)

    def gradients(self, vector: Tensor, labels: Tensor, seed: int, step: int, out: Tensor) -> float:
        """Compute the loss gradient of ``self.images`` and update the running statistics inside ``vector``.

        Args:
            vector: weight vector ``(n_weights,)``; only running means and variances are changed.
            labels: uint8 ``(batch_size,)``.
            seed: the training's (dropout).
            step: steps taken before this one.
            out: ``(n_weights,)``; receives the gradients of the parameters, other values stay.

        Returns:
            Mean cross-entropy.
        """
        self._code = ACTIVATION_CODES[self.activation]
        dropout_mask(self.library, seed, step, self.batch_size * self._units, self._keep, self._words)
        weights = {layer.name: self._weights(vector, layer) for layer in self.layers}
        norms = self._norms_of(vector, out)
        x, tape, unit = self.images, [], 0
        for layer in self.layers:
            if layer.is_conv:
                y, z = self._conv_forward(layer, x, *weights[layer.name], norms[layer.name])
            else:
                x = x.flatten(1)
                z = torch.addmm(weights[layer.name][1], x, weights[layer.name][0].t())
                y = z if layer.is_output else self._hidden_forward(layer, z, norms[layer.name], unit)
            tape.append((layer, x, z, y, unit))
            unit += 0 if layer.is_conv else layer.n_out
            x = y
        bias = self._address(out, self.layers[-1]["bias"].slice)
        loss = self.library.cross_entropy(x.data_ptr(), self._bf16, len(x), x.shape[1], labels.data_ptr(), bias)
        dy = x
        for layer, x, z, y, unit in reversed(tape):
            if layer.is_conv:
                dy = self._conv_backward(layer, x, z, y, dy, norms[layer.name], out)
                continue
            if not layer.is_output:
                self._hidden_backward(layer, z, dy, norms[layer.name], unit, out)
            kernel = layer["kernel"]
            self._product(dy.t(), x, out[kernel.slice].view(kernel.shape))
            dy = (dy @ weights[layer.name][0]).view_as(x)
        return float(loss)

    def _product(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        if a.dtype == out.dtype:
            torch.mm(a, b, out=out)
        else:
            out.copy_(a @ b)

    def _weights(self, vector: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
        """Return a layer's kernel and bias, those of products in the compute dtype."""
        kernel, bias = (vector[layer[kind].slice].view(layer[kind].shape) for kind in ("kernel", "bias"))
        return (kernel, bias) if layer.is_conv else (kernel.to(self.compute_dtype), bias.to(self.compute_dtype))

    def _address(self, vector: Tensor, part: slice) -> int:
        return vector.data_ptr() + part.start * self._size

    def _norms_of(self, vector: Tensor, out: Tensor) -> dict[str, Norm]:
        """Return every layer's addresses; computed once for vectors that stay where they are."""
        key = vector.data_ptr(), out.data_ptr()
        if key not in self._norms:
            self._norms[key] = {layer.name: self._norm(layer, vector, out) for layer in self.layers}
        return self._norms[key]

    def _norm(self, layer: Layer, vector: Tensor, out: Tensor) -> Norm:
        if not layer.has_norm:
            return Norm(0, 0, 0, 0, 0, 0, 0, 0)
        gamma, beta, mean, variance = (layer[kind].slice for kind in ("gamma", "beta", "mean", "variance"))
        batch_mean, rstd = self._moments[layer.name]
        return Norm(
            gamma=self._address(vector, gamma),
            beta=self._address(vector, beta),
            dgamma=self._address(out, gamma),
            dbeta=self._address(out, beta),
            running_mean=self._address(vector, mean),
            running_variance=self._address(vector, variance),
            mean=batch_mean.data_ptr(),
            rstd=rstd.data_ptr(),
        )

    def _conv_forward(self, layer: Layer, x: Tensor, kernel: Tensor, bias: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
        """Return the layer's output and that of its convolution, both ``(batch, height, width, channels)``."""
        z = self._convolutions[layer.name].forward(x, kernel, bias)
        batch, side, _, channels = z.shape
        pooled = side // 2 if layer.pool_after else side
        y = torch.empty(batch, pooled, pooled, channels, dtype=self.compute_dtype)
        self.library.conv_forward(
            z.data_ptr(), self._bf16, batch, side, channels, norm.gamma, norm.beta, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM,
            layer.pool_after, self._code, norm.mean, norm.rstd, norm.running_mean, norm.running_variance, y.data_ptr(),
        )  # fmt: skip
        return y, z

    def _conv_backward(self, layer: Layer, x: Tensor, z: Tensor, y: Tensor, dy: Tensor, norm: Norm, out: Tensor) -> Tensor:
        """Write the layer's gradients; return that of its input, for the first layer whatever."""
        batch, side, _, channels = z.shape
        dz = torch.empty_like(z)
        self.library.conv_backward(
            z.data_ptr(), y.data_ptr(), dy.data_ptr(), self._bf16, batch, side, channels, norm.gamma, norm.beta,
            layer.pool_after, self._code, norm.mean, norm.rstd, dz.data_ptr(), norm.dgamma, norm.dbeta,
            self._address(out, layer["bias"].slice),
        )  # fmt: skip
        kernel = layer["kernel"]
        dkernel = out[kernel.slice].view(kernel.shape)
        dx = self._convolutions[layer.name].backward(x, dz, dkernel, needs_dx=layer is not self.layers[0])
        return dz if dx is None else dx

    def _hidden_forward(self, layer: Layer, u: Tensor, norm: Norm, unit: int) -> Tensor:
        """Activate ``u`` in place; return the layer's output."""
        out = torch.empty_like(u)
        self.library.hidden_forward(
            u.data_ptr(), self._bf16, *u.shape, norm.gamma, norm.beta, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, self._code,
            self._keep.data_ptr() + unit, self._units, norm.mean, norm.rstd, norm.running_mean, norm.running_variance,
            out.data_ptr(),
        )  # fmt: skip
        return out

    def _hidden_backward(self, layer: Layer, v: Tensor, dy: Tensor, norm: Norm, unit: int, out: Tensor) -> None:
        """Turn ``dy`` into the gradient of the layer's product in place; write its other gradients."""
        self.library.hidden_backward(
            v.data_ptr(), dy.data_ptr(), self._bf16, *v.shape, norm.gamma, self._code, self._keep.data_ptr() + unit,
            self._units, norm.mean, norm.rstd, norm.dgamma, norm.dbeta, self._address(out, layer["bias"].slice),
        )  # fmt: skip
