"""Convolutions of few channels, computed as fewer pixels of more channels.

A layer of four channels fills a quarter of a vector of sixteen. In channels last, p neighbouring pixels of C channels are
one pixel of p C channels without moving a byte; a kernel of f taps becomes one of 2 ceil((f - 1) / 2 / p) + 1 taps with
p times the channels on both sides, most of them zeros or repeated. The extra products cost less than the empty lanes
where channels are few: PIXELS says where, as measured on Zen 4. It decides bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nws_data.space.architecture import Layer

_convolution = torch.ops.aten.convolution.default
_convolution_backward = torch.ops.aten.convolution_backward.default

PIXELS = {
    (3, 3, 4): 2,
    (3, 3, 8): 2,
    (5, 3, 4): 2,
    (5, 3, 8): 2,
    (5, 3, 12): 2,
    (5, 4, 8): 2,
    (5, 8, 8): 2,
    (7, 3, 4): 4,
    (7, 3, 8): 2,
    (7, 3, 12): 4,
    (7, 4, 8): 2,
    (7, 8, 8): 2,
}
"""(filter size, channels in, channels out) to the pixels taken together; 1 elsewhere."""


class Convolution:
    """A "same" convolution of stride 1 and its gradients, on ``(batch, height, width, channels)`` of the compute dtype.

    ``pixels`` are taken together, which must divide the width; None chooses by :data:`PIXELS`.
    """

    def __init__(self, layer: Layer, compute_dtype: torch.dtype, pixels: int | None = None) -> None:
        n_out, n_in, f, _ = self._shape = layer["kernel"].shape
        self._pixels = PIXELS.get((f, n_in, n_out), 1) if pixels is None else pixels
        self._dtype = compute_dtype
        reach = -(-(f // 2) // self._pixels)  # blocks to each side
        self._padding = [f // 2, reach]
        self._wide_shape = (self._pixels * n_out, self._pixels * n_in, f, 2 * reach + 1)
        self._spread: Tensor | None = None
        self._gather: Tensor | None = None
        if self._pixels > 1:
            self._spread, self._gather = _positions(n_out, n_in, f, self._pixels, reach)
        self._kernel = torch.empty(0)

    def forward(self, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """Return the convolution, in the compute dtype.

        Args:
            x: ``(batch, height, width, channels in)`` in the compute dtype, contiguous.
            kernel: ``(channels out, channels in, f, f)``; kept in the compute dtype for :meth:`backward`.
            bias: ``(channels out,)``.
        """
        self._kernel = self._widened(kernel)
        bias = bias.to(self._dtype)
        bias = bias if self._pixels == 1 else bias.repeat(self._pixels)
        z = _convolution(self._blocks(x), self._kernel, bias, [1, 1], self._padding, [1, 1], False, [0, 0], 1)
        return z.permute(0, 2, 3, 1).reshape(*x.shape[:3], self._shape[0])

    def backward(self, x: Tensor, dz: Tensor, dkernel: Tensor, needs_dx: bool) -> Tensor | None:
        """Write the kernel's gradient into ``dkernel`` and return that of ``x``, or None where it is not needed."""
        dx, wide, _ = _convolution_backward(
            self._blocks(dz), self._blocks(x), self._kernel, None, [1, 1], self._padding, [1, 1], False, [0, 0], 1,
            [needs_dx, True, False],
        )  # fmt: skip
        if self._gather is None:
            dkernel.copy_(wide)
        else:
            # A tap stands once for each pixel of a block; channels first, as the positions count.
            flat = wide.contiguous().view(-1).index_select(0, self._gather).to(dkernel.dtype)
            torch.sum(flat.view(self._pixels, -1), 0, out=dkernel.view(-1))
        return dx.permute(0, 2, 3, 1).reshape(x.shape) if needs_dx else None

    def _blocks(self, x: Tensor) -> Tensor:
        """Return a view in PyTorch's order of dimensions, ``pixels`` neighbours as channels of one pixel."""
        batch, height, width, channels = x.shape
        return x.view(batch, height, width // self._pixels, channels * self._pixels).permute(0, 3, 1, 2)

    def _widened(self, kernel: Tensor) -> Tensor:
        kernel = kernel.to(self._dtype)
        if self._spread is not None:
            flat = torch.cat([kernel.reshape(-1), kernel.new_zeros(1)])
            kernel = flat.index_select(0, self._spread).view(self._wide_shape)
        return kernel.contiguous(memory_format=torch.channels_last)


def _positions(n_out: int, n_in: int, f: int, pixels: int, reach: int) -> tuple[Tensor, Tensor]:
    """Return where values of the wide kernel come from, and where those of the kernel stand in the wide one.

    Both count in the tensors' logical order (output, input, row, column). The first has the kernel's length where the
    wide kernel is zero. The second is ``(pixels * kernel's length,)``, one copy of the kernel after another.
    """
    out = torch.arange(pixels * n_out)
    into = torch.arange(pixels * n_in)
    block = torch.arange(-reach, reach + 1)
    # Output pixel q of a block sees input pixel j of the block b away at distance b p + j - q.
    distance = block * pixels + (into // n_in).view(-1, 1) - (out // n_out).view(-1, 1, 1)
    tap = (distance + f // 2).unsqueeze(2).expand(-1, -1, f, -1)
    row = torch.arange(f).view(-1, 1)
    narrow = (((out % n_out).view(-1, 1, 1, 1) * n_in + (into % n_in).view(-1, 1, 1)) * f + row) * f + tap
    n = n_out * n_in * f * f
    spread = torch.where((tap >= 0) & (tap < f), narrow, n).reshape(-1)
    order = torch.sort(spread, stable=True).indices[: pixels * n]
    return spread, order.view(n, pixels).t().reshape(-1)
