"""The DMC as a PyTorch module.

A convolution over the vector is a 2D one with a 1x5 kernel in channels_last memory: on a CPU the fastest way measured,
a step of 5,000 values took 0.66 of the time of ``Conv1d``. The gradient of its kernel is a matrix product for each of the
five taps there, where oneDNN's own takes most of a step with AVX2. ``torch.compile`` gave nothing on top.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.dmc.layers import KERNEL, DMCLayers
from nws_data.batch_norm import batch_norm
from nws_data.randomness import Purpose, bits

INPUTS: dict[str, Callable[[Tensor], Tensor]] = {"raw": lambda x: x, "asinh": lambda x: torch.asinh(20 * x)}
"""What happens to weights before the first layer. ``raw`` is the paper's.

Running variances of batch norm reach thousands where most weights are below 0.1. Raw, a batch that holds such values has
other statistics than one that does not, and the running statistics fit neither. asinh keeps sign and order, is linear
below 0.05 and logarithmic above.
"""

_MOMENTUM = 0.1  # share of a batch in the running statistics: the authors' decay of 0.9
_EPS = 1e-5  # added to the variance


class DMCNetwork(nn.Module):
    """A DMC: float ``(n, length)`` to logits, or one number, ``(n, n_outputs)``.

    Each layer but the last: convolution or matrix, ReLU, batch norm, then a max-pool or dropout of one half. Weights
    are Glorot normals truncated at two sigma, biases start at 0, factors of batch norm as normals of mean 1 and sigma
    0.002. Both initial weights and dropout are functions of the seed, dropout also of :attr:`step`: nothing is drawn
    from a global generator.

    Args:
        layers: from :meth:`DMCLayers.of`.
        seed: in [0, 2^63).
        inputs: a name of :data:`INPUTS`.
        batch_statistics: normalise by the batch's own statistics in evaluation mode too, as the original did at test time.

    Attributes:
        step: the training step, which chooses the dropout masks; the caller counts.

    Source: Eilertsen et al. 2020, Supplement F, Table 3; batch norm as in the authors' scripts, through TensorLayer.
    """

    def __init__(self, layers: DMCLayers, seed: int = 0, inputs: str = "raw", batch_statistics: bool = False) -> None:
        super().__init__()
        self.layers, self.seed, self.step, self.inputs = layers, seed, 0, inputs
        shape: dict[str, Any] = {"kernel_size": (1, KERNEL), "padding": (0, KERNEL // 2)}
        made = (nn.utils.skip_init(nn.Conv2d, c.n_in, c.n_out, **shape) for c in layers.convolutions)
        self.convolutions = nn.ModuleList(layer.to(memory_format=torch.channels_last) for layer in made)
        self.convolution_norms = nn.ModuleList(ReLUBatchNorm(c.n_out, batch_statistics) for c in layers.convolutions)
        pairs = zip(layers.widths, layers.widths[1:], strict=False)
        self.matrices = nn.ModuleList(nn.utils.skip_init(nn.Linear, n_in, n_out) for n_in, n_out in pairs)
        self.matrix_norms = nn.ModuleList(ReLUBatchNorm(n, batch_statistics) for n in layers.widths[1:-1])
        _initialise([*self.convolutions, *self.matrices], [*self.convolution_norms, *self.matrix_norms], seed)

    def forward(self, weights: Tensor) -> Tensor:
        """Return the logits ``(n, n_outputs)`` of weights ``(n, length)``."""
        weights = INPUTS[self.inputs](weights)
        x = weights[:, None, None, :].contiguous(memory_format=torch.channels_last)
        for layer, convolution, norm in zip(
            self.layers.convolutions, self.convolutions, self.convolution_norms, strict=True
        ):
            x = norm(convolve(x, convolution))
            x = F.max_pool2d(x, (1, 2)) if layer.pool else x
        return self.classified(x.flatten(1))

    def classified(self, x: Tensor) -> Tensor:
        """Return the logits ``(n, n_outputs)`` of what the convolutions make of weights, ``(n, width)``."""
        masks = self._masks(len(x), x.device) if self.training else None
        for number, norm in enumerate(self.matrix_norms):
            x = norm(self.matrices[number](x))
            x = x if masks is None else x * masks[number].to(x.dtype)
        out: Tensor = self.matrices[-1](x)
        return out

    def _masks(self, n: int, device: torch.device) -> list[Tensor]:
        """Return a mask of 0 and 2 for each hidden matrix, ``(n, width)``: one random bit decides a unit."""
        widths = self.layers.widths[1:-1]
        drawn = bits(self.seed, Purpose.DROPOUT, self.step, n * sum(widths), device) * 2
        return list(drawn.view(n, -1).split(widths, dim=1))


def convolve(x: Tensor, convolution: nn.Module) -> Tensor:
    """Return a convolution of ``(n, channels in, 1, length)``, ``(n, channels out, 1, length)``."""
    if x.device.type != "cpu":
        return convolution(x)
    return _ByTaps.apply(x, convolution.get_parameter("weight"), convolution.get_parameter("bias"))


_backward = torch.ops.aten.convolution_backward.default


class _ByTaps(torch.autograd.Function):
    """A "same" convolution with a kernel ``(out, in, 1, KERNEL)`` whose gradient is taken tap by tap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel)
        return F.conv2d(x, kernel, bias, padding=(0, KERNEL // 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        (dy,), (x, kernel) = gradients, ctx.saved_tensors
        dx = None
        if ctx.needs_input_grad[0]:
            padding, wanted = (0, KERNEL // 2), (True, False, False)
            dx = _backward(dy, x, kernel, None, (1, 1), padding, (1, 1), False, (0, 0), 1, wanted)[0]
        out, length = dy[:, :, 0].transpose(1, 2), dy.shape[3]  # (n, length, channels)
        into = F.pad(x[:, :, 0].transpose(1, 2), (0, 0, KERNEL // 2, KERNEL // 2))
        taps = [torch.bmm(into[:, k : k + length].transpose(1, 2), out).sum(0) for k in range(KERNEL)]
        return dx, torch.stack(taps).permute(2, 1, 0)[:, :, None], out.sum((0, 1))


class ReLUBatchNorm(nn.Module):
    """ReLU, then batch norm over dimension 1 whose running variance takes the biased variance of the batch.

    PyTorch's own takes the unbiased one. Input ``(n, width)`` or ``(n, width, 1, length)``, n at least 2 in training. With
    ``batch_statistics`` it normalises by the batch in evaluation mode as well; nothing is updated there.

    Source: decay and eps as in the authors' scripts, through TensorLayer.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, batch_statistics: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.batch_statistics = batch_statistics

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised input; in training move the running statistics."""
        if not self.training and not self.batch_statistics:
            return F.batch_norm(F.relu(x), self.running_mean, self.running_var, self.weight, self.bias, eps=_EPS)
        y, mean, variance = batch_norm(x, self.weight, self.bias, _EPS, relu=True)
        if self.training:
            self.running_mean.lerp_(mean, _MOMENTUM)
            self.running_var.lerp_(variance, _MOMENTUM)
        return y


def _initialise(modules: list[nn.Module], norms: list[nn.Module], seed: int) -> None:
    """Fill weights with Glorot normals truncated at two sigma, as TensorFlow up to about 1.7; biases with 0.

    Then the factors of batch norm, layer by layer.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in modules:
        weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(weight)
        sigma = math.sqrt(2 / (fan_in + fan_out))
        nn.init.trunc_normal_(weight, 0.0, sigma, -2 * sigma, 2 * sigma, generator=generator)
        nn.init.zeros_(bias)
    for norm in norms:
        nn.init.normal_(norm.get_parameter("weight"), 1.0, 0.002, generator=generator)
