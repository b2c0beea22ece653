"""A step of a device fleet, or the scoring of a network, as a fixed list of Triton launches on static tensors.

Forward, a conv layer: convolution (also each tile's moments), moments, finish. Backward: two sums of batch norm over tiles,
the gradient through activation, pool and norm (also each tile's sum for the bias), the data gradient (the same convolution
with the turned window; not for the images), the kernel gradient over splits of the pixels; each with the sum over tiles or
splits. A fully connected layer is one launch forward and two backward. Nothing is allocated and no value is seen by the
host, so the list can be captured as a CUDA graph.

Tile sizes are a fixed function of the layer and dtype: autotuning would choose by timing, and with the tile the order of
the sums and so the bits change. Outside products every operation is rounded by itself: forward and backward must find the
same greatest cell of a pool.

On the CPU the kernels run in Triton's interpreter, slowly: start Python with ``TRITON_INTERPRET=1``.

Source: Eilertsen et al. 2020, Algorithm 1; dropout 0.5 and TensorFlow's batch norm as in the authors' scripts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.kernels import convolution, dense, norm
from builders.compute.cards.kernels.images import images_kernel
from builders.compute.cards.kernels.update import advance_kernel, update_kernel
from builders.compute.cards.state import State
from builders.recipe.augmentation import RANGES, normal_quantiles
from nws_data.space.architecture import IMAGE_SHAPE, Architecture, Layer
from nws_data.space.network import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM

SPLIT = 2048
"""Pixels whose products one program of the kernel gradient adds up."""

_PIXELS = 128  # of one convolution tile
_ELEMENTS = 1024  # of one elementwise tile
_CHANNELS = 4  # of images: with three, the kernels would load values one by one
_SCORED_ROWS = 128  # images of one tile of a fully connected layer, where no sum goes over the batch


class Program:
    """The launches of training steps of all slots, or of scoring the next images of each.

    Args:
        architecture: of all slots.
        state: what they read and change.
        bank: the images.
        dtype: of products and activations.
        precision: of float32 products, Triton's ``input_precision``.
        correct: while scoring, takes for each of the state's rows 1 where the image is classified correctly, uint8. None
            makes training steps.
    """

    def __init__(
        self,
        architecture: Architecture,
        state: State,
        bank: DeviceBank,
        dtype: torch.dtype,
        precision: str,
        correct: Tensor | None = None,
    ) -> None:
        self.state, self.dtype, self.precision, self.correct = state, dtype, precision, correct
        # Products of full float32, off the matrix units: a deep tile would only cost registers.
        self.exact = dtype != torch.bfloat16 and precision == "ieee"
        self._depth = 16 if self.exact else 32
        self.size, self._longest, self._batch = state.rows.shape
        self.n_weights, self._layers = architecture.n_weights, architecture.layers
        self._units = sum(layer.n_out for layer in self._layers if not layer.is_conv and not layer.is_output)
        self.statistics = state.vectors if correct is not None else state.values
        self.launches: list[Callable[[], object]] = []
        layers, inputs = self._forward(bank)
        if correct is None:
            self._backward(layers, inputs)
            self._update()
        self.launch(advance_kernel, (1,), self.size, BLOCK=_power_of_two(self.size))

    def run(self) -> None:
        """Enqueue all launches."""
        for launch in self.launches:
            launch()

    def launch(self, kernel: Any, grid: tuple[int, ...], *arguments: object, **constants: object) -> None:
        """Add a launch; every kernel takes the slots first. Without a product nothing is fused."""
        constants = {"enable_fp_fusion": "PRECISION" in constants, "num_warps": 4} | constants
        self.launches.append(partial(kernel[grid], self.state.slots, *arguments, **constants))

    def zeros(self, *sizes: int, wide: bool = False) -> Tensor:
        """Return memory for one tensor of all slots: activations, or sums."""
        vectors = self.state.vectors
        return torch.zeros(self.size, *sizes, dtype=vectors.dtype if wide else self.dtype, device=vectors.device)

    def _forward(self, bank: DeviceBank) -> tuple[list[ConvLayer], list[Tensor]]:
        """Add the forward pass; return the conv layers, and what each fully connected layer takes in and gives out.

        Of the latter, x of the first, then of each hidden layer its value after the activation and y, the next one's x, and
        at last the gradient of the logits.
        """
        state, device = self.state, self.state.vectors.device
        bounds = torch.tensor(list(RANGES.values()), dtype=torch.float64)
        ranges = torch.stack([bounds[:, 0], bounds[:, 1] - bounds[:, 0]], 1).to(device, torch.float32)
        side = IMAGE_SHAPE[1]
        x = self.zeros(self._batch, side, side, _CHANNELS)
        self.launch(
            images_kernel, (self._batch, self.size), state.rows, bank.images, ranges,
            normal_quantiles(device, torch.float32), x, self._longest,
            BATCH=self._batch, AUGMENTING=self.correct is None, num_warps=8,
        )  # fmt: skip
        convs = [layer for layer in self._layers if layer.is_conv]
        places = [_packed_places(layer) for layer in convs]
        self.packed = self.zeros(sum(map(len, places)))
        n = self.packed.shape[1]
        self.launch(convolution.pack_kernel, (-(-n // _ELEMENTS), self.size), state.vectors, torch.cat(places).to(device),
                     self.packed, n, self.n_weights, BLOCK=_ELEMENTS)  # fmt: skip
        layers, packed_at = [], 0
        for layer, place in zip(convs, places, strict=True):
            layers.append(ConvLayer(self, layer, x, packed_at))
            x, packed_at = layers[-1].forward(), packed_at + len(place)
        inputs, unit = [x.flatten(2)], 0
        for layer in self._layers[len(convs) : -1]:
            y = self.zeros(self._batch, layer.n_out)
            a = torch.zeros_like(y) if self.correct is None else y  # while scoring nobody reads it
            tiles = self._dense_tiles()
            grid = (-(-self._batch // tiles["BLOCK_B"]), -(-layer.n_out // tiles["BLOCK_N"]), self.size)
            self.launch(
                dense.hidden_kernel, grid, inputs[-1], state.vectors, state.values, a, y, layer["kernel"].start,
                self.n_weights, unit, self._units, N_IN=layer.n_in, N_OUT=layer.n_out, TRAINING=self.correct is None,
                NORM=layer.has_norm, EPS=BATCH_NORM_EPS, **tiles,
            )  # fmt: skip
            inputs += [a, y]
            unit += layer.n_out
        self._output(bank, inputs)
        return layers, inputs

    def _output(self, bank: DeviceBank, inputs: list[Tensor]) -> None:
        state, layer, out = self.state, self._layers[-1], self.correct
        if out is None:
            out = self.zeros(self._batch, layer.n_out)
            inputs.append(out)
        tiles = self._dense_tiles() | {"BLOCK_N": _power_of_two(layer.n_out)}
        self.launch(
            dense.output_kernel, (-(-self._batch // tiles["BLOCK_B"]), self.size), state.rows, bank.labels,
            inputs[-2 if self.correct is None else -1], state.vectors, state.values, state.losses, out,
            layer["kernel"].start, self.n_weights, self._longest,
            N_IN=layer.n_in, N_OUT=layer.n_out, TRAINING=self.correct is None, **tiles,
        )  # fmt: skip

    def _backward(self, layers: list[ConvLayer], inputs: list[Tensor]) -> None:
        state, tiles, depth = self.state, self._dense_tiles(), self._depth
        *hidden, dz = inputs
        dense_layers, unit = self._layers[len(layers) :], self._units
        for i in reversed(range(len(dense_layers))):
            layer, x, first = dense_layers[i], hidden[2 * i], i == 0
            before = layer if first else dense_layers[i - 1]
            unit -= 0 if first else before.n_out
            a = x if first else hidden[2 * i - 1]
            self.launch(
                dense.weights_kernel, (-(-layer.n_out // 32), -(-layer.n_in // 32), self.size), x, dz, state.values,
                layer["kernel"].start, self.n_weights, BATCH=self._batch, N_IN=layer.n_in, N_OUT=layer.n_out,
                PRECISION=self.precision, BLOCK_N=32, BLOCK_I=32, BLOCK_K=depth,
            )  # fmt: skip
            dx = torch.zeros_like(x)
            self.launch(
                dense.inputs_kernel, (-(-layer.n_in // tiles["BLOCK_N"]), self.size), dz, a, state.vectors, state.values,
                dx, layer["kernel"].start, before["bias"].start, self.n_weights, unit, self._units, N_IN=layer.n_in,
                N_OUT=layer.n_out, HIDDEN=not first, NORM=layer.has_norm if first else before.has_norm, EPS=BATCH_NORM_EPS,
                **tiles,
            )  # fmt: skip
            dz = dx
        for conv in reversed(layers):
            dz = conv.backward(dz)
            if conv is not layers[0]:  # images need no gradient
                dz = conv.data_gradient(dz)

    def _update(self) -> None:
        state, optimizer = self.state, self.state.optimizer
        statistics = torch.zeros(self.n_weights, dtype=torch.int8)
        for layer in (layer for layer in self._layers if layer.has_norm):
            statistics[layer["mean"].start : layer["variance"].stop] = 1
        self.launch(
            update_kernel, (-(-self.n_weights // _ELEMENTS), self.size), state.vectors, optimizer.m, optimizer.v,
            state.values, statistics.to(state.vectors.device), optimizer.columns, state.rates, self._longest, self.n_weights,
            MOMENTUM=BATCH_NORM_MOMENTUM, BLOCK=_ELEMENTS,
        )  # fmt: skip

    def _dense_tiles(self) -> dict[str, Any]:
        rows = max(16, _power_of_two(self._batch)) if self.correct is None else _SCORED_ROWS
        sizes = {"BATCH": self._batch, "BLOCK_B": rows, "BLOCK_N": 16, "BLOCK_K": self._depth}
        return sizes | {"PRECISION": self.precision, "num_warps": 8 if rows > 64 else 4}


class ConvLayer:
    """Tensors and launches of one conv layer of a program."""

    def __init__(self, program: Program, layer: Layer, x: Tensor, packed_at: int) -> None:
        self._program, self._layer, self._x, self._packed_at = program, layer, x, packed_at
        _, batch, self._side, _, self._n_in = x.shape
        self._n_out, self._filter_size = layer.n_out, layer["kernel"].shape[-1]
        self._norm_at = layer["bias"].stop  # where beta, gamma, mean and variance lie in a vector, if the layer has them
        # Output pixels of an elementwise tile, which has all channels; Triton wants powers of two.
        self._block_q = _ELEMENTS // _power_of_two(layer.n_out)
        self._n_pixels = batch * self._side**2
        after = self._side // 2 if layer.pool_after else self._side
        self._n_after = batch * after**2
        self._z, self._y = program.zeros(*x.shape[1:4], layer.n_out), program.zeros(batch, after, after, layer.n_out)

    def forward(self) -> Tensor:
        """Add the forward pass; return y ``(members, batch, H', W', C_out)``."""
        program, state, layer = self._program, self._program.state, self._layer
        moments = layer.has_norm and program.correct is None
        n_tiles = -(-self._n_pixels // _PIXELS)
        parts = program.zeros(n_tiles, 2, self._n_out, wide=True) if moments else state.losses
        self._convolve(self._x, self._z, parts, moments=moments)
        if moments:
            channels = min(16, _power_of_two(self._n_out))
            tiles = min(4096 // channels, max(16, _power_of_two(n_tiles)))
            program.launch(
                norm.moments_kernel, (-(-self._n_out // channels), program.size), parts, state.values, self._n_pixels,
                n_tiles, self._norm_at, program.n_weights, C=self._n_out, TILE=_PIXELS, BLOCK_T=tiles, BLOCK_C=channels,
            )  # fmt: skip
        self._pointwise(norm.finish_kernel, self._z, state.vectors, program.statistics, self._y)
        return self._y

    def backward(self, dy: Tensor) -> Tensor:
        """Add the gradients of all parameters; return that of z."""
        program, state, layer = self._program, self._program.state, self._layer
        n_tiles = -(-self._n_after // self._block_q)
        if layer.has_norm:
            sums = program.zeros(n_tiles, 2, self._n_out, wide=True)
            self._pointwise(norm.norm_sums_kernel, dy, self._z, state.vectors, state.values, sums)
            self._sum(sums, self._norm_at)
        dz, sums = torch.zeros_like(self._z), program.zeros(n_tiles, self._n_out, wide=True)
        self._pointwise(norm.finish_gradient_kernel, dy, self._z, state.vectors, state.values, dz, sums)
        self._sum(sums, layer["bias"].start)
        self._kernel_gradient(dz)
        return dz

    def data_gradient(self, dz: Tensor) -> Tensor:
        """Add the gradient of x and return it."""
        dx = torch.zeros_like(self._x)
        self._convolve(dz, dx, self._program.state.losses, backward=True)
        return dx

    def _convolve(self, x: Tensor, out: Tensor, parts: Tensor, moments: bool = False, backward: bool = False) -> None:
        program, n_in, n_out = self._program, x.shape[-1], out.shape[-1]
        program.launch(
            convolution.conv_kernel, (-(-self._n_pixels // _PIXELS), program.size), x, program.packed,
            program.state.vectors, out, parts, self._packed_at, program.packed.shape[1], self._layer["bias"].start,
            program.n_weights, self._n_pixels, H=self._side, W=self._side, C_IN=n_in, C_OUT=n_out, F=self._filter_size,
            BACKWARD=backward, MOMENTS=moments, PRECISION=program.precision,
            **conv_tiles(
                n_in, n_out, self._filter_size, program.dtype, program.exact, program.correct is not None
            ),
        )  # fmt: skip

    def _kernel_gradient(self, dz: Tensor) -> None:
        program, n_splits, area = self._program, -(-self._n_pixels // SPLIT), self._filter_size**2
        depth, tiles = area * self._n_in, gradient_tiles(area * self._n_in, self._n_out, program.dtype, program.exact)
        parts = program.zeros(n_splits, depth, self._n_out, wide=True)
        program.launch(
            convolution.kernel_gradient_kernel, (-(-depth // tiles["BLOCK_K"]), n_splits, program.size), self._x, dz,
            parts, self._n_pixels, H=self._side, W=self._side, C_IN=self._n_in, C_OUT=self._n_out, F=self._filter_size,
            PRECISION=program.precision, SPLIT=SPLIT, **tiles,
        )  # fmt: skip
        self._sum(parts, self._layer["kernel"].start, area)

    def _sum(self, parts: Tensor, at: int, area: int = 0) -> None:
        """Add the sum of parts ``(members, n_parts, ...)`` into the values from ``at``."""
        program, n_parts, n = self._program, parts.shape[1], parts[0, 0].numel()
        program.launch(
            convolution.sum_kernel, (-(-n // 64), program.size), parts, program.state.values, n_parts, at, program.n_weights,
            N=n, AREA=area, C_IN=self._n_in, CHANNELS=self._layer.n_in, C_OUT=self._n_out, BLOCK_S=32, BLOCK_J=64,
        )  # fmt: skip

    def _pointwise(self, kernel: Any, *tensors: Tensor) -> None:
        program, layer = self._program, self._layer
        program.launch(
            kernel, (-(-self._n_after // self._block_q), program.size), *tensors, self._norm_at, program.n_weights,
            self._n_after, H=self._side, W=self._side, C=self._n_out, POOL=layer.pool_after, NORM=layer.has_norm,
            EPS=BATCH_NORM_EPS, BLOCK_Q=self._block_q, BLOCK_C=_power_of_two(self._n_out),
        )  # fmt: skip


def conv_tiles(n_in: int, n_out: int, filter_size: int, dtype: torch.dtype, exact: bool, scoring: bool) -> dict[str, int]:
    """Return the launch options of a convolution with so many input and output channels."""
    columns = max(16, _power_of_two(n_out))
    if exact:
        return _tiles(_PIXELS, 16, columns, 8 if columns > 32 else 4, 2)
    deep = dtype == torch.bfloat16 and filter_size**2 * n_in >= 128
    # Float32 that is scored is split into three parts: more registers than four warps have.
    return _tiles(_PIXELS, 64 if deep else 32, columns, 8 if scoring else 4, 3)


def gradient_tiles(depth: int, n_out: int, dtype: torch.dtype, exact: bool) -> dict[str, int]:
    """Return the launch options of a kernel gradient of so many rows: pixels are what it sums over."""
    columns = max(16, _power_of_two(n_out))
    rows = 64 if depth <= 64 else 128
    if exact:
        return _tiles(16, rows, columns, 8 if rows > 64 else 4, 2)
    return _tiles(64 if dtype == torch.bfloat16 else 32, rows, columns, 4, 3)


def _tiles(pixels: int, depth: int, columns: int, warps: int, stages: int) -> dict[str, int]:
    return {"BLOCK_P": pixels, "BLOCK_K": depth, "BLOCK_N": columns, "num_warps": warps, "num_stages": stages}


def _packed_places(layer: Layer) -> Tensor:
    """Return for each value of a packed kernel ``(f, f, channels, C_out)`` its place in a vector, -1 for a zero."""
    kernel = layer["kernel"]
    places = torch.arange(kernel.start, kernel.stop, dtype=torch.int32).view(kernel.shape).permute(2, 3, 1, 0)
    return torch.nn.functional.pad(places, (0, 0, 0, -layer.n_in % 4), value=-1).flatten()


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
