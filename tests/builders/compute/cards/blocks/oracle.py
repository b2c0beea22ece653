"""A conv layer by PyTorch's own functions, one member at a time in float64, and made-up layers to compare on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from builders.compute.cards.network import ConvBlock
from nws_data.space.architecture import IMAGE_SHAPE, Architecture, all_architectures

ACTIVATIONS = (F.relu, F.elu, torch.sigmoid, torch.tanh)
NAMES = ("x", "kernel", "bias", "beta", "gamma")


@dataclass(frozen=True)
class Case:
    """One made-up layer: its shape and how many members and images."""

    filter_size: int
    n_in: int
    n_out: int
    size: int
    pool: bool
    norm: bool = True
    members: int = 4  # one of each activation
    batch: int = 3
    exact: bool = False  # x and kernel of -1, 0, 1: exact sums in bfloat16 too, and many equal cells in the pool windows

    def __str__(self) -> str:
        flags = f"{'-pool' if self.pool else ''}{'' if self.norm else '-nonorm'}{'-exact' if self.exact else ''}"
        return f"f{self.filter_size}-{self.n_in}to{self.n_out}-{self.size}px-{self.members}x{self.batch}{flags}"


@dataclass
class Layer:
    """The inputs of a block and the gradient that comes back to it."""

    tensors: list[Tensor | None]  # x, kernel, bias, beta, gamma
    codes: Tensor
    dy: Tensor
    pool: bool

    def of(self, *members: int) -> Layer:
        """The layer of these members alone."""
        chosen = [None if t is None else t[list(members)].contiguous() for t in self.tensors]
        return Layer(chosen, self.codes[list(members)], self.dy[list(members)], self.pool)


def layer_shapes(architectures: Iterable[Architecture] | None = None) -> list[tuple[int, int, int, int, bool]]:
    """Every (filter size, channels in, out, image size, pool) of architectures, of all 243 if none are given."""
    shapes = set()
    for architecture in architectures or all_architectures():
        size = IMAGE_SHAPE[1]
        for layer in architecture.layers:
            if layer.is_conv:
                shapes.add((architecture.filter_size, layer.n_in, layer.n_out, size, layer.pool_after))
                size //= 2 if layer.pool_after else 1
    return sorted(shapes)


def make_layer(case: Case, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Layer:
    """Draw a layer from its shape; ``dtype`` is that of x."""
    generator = torch.Generator().manual_seed(hash((case.filter_size, case.n_in, case.n_out, case.size, case.batch)))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def draw(*shape: int) -> Tensor:
        return torch.randint(-1, 2, shape, generator=generator).float() if case.exact else normal(*shape)

    m, n = case.members, case.n_out
    x = draw(m, case.batch, case.size, case.size, case.n_in)
    kernel = draw(m, n, case.n_in, case.filter_size, case.filter_size)
    if not case.exact:
        kernel /= (case.n_in * case.filter_size**2) ** 0.5
    bias = torch.randint(-2, 3, (m, n), generator=generator).float() if case.exact else normal(m, n)
    norm = [normal(m, n), normal(m, n)] if case.norm else [None, None]
    after = case.size // 2 if case.pool else case.size
    dy = normal(m, case.batch, after, after, n).to(device, dtype)
    tensors = [None if t is None else t.to(device) for t in (x.to(dtype), kernel, bias, *norm)]
    return Layer(tensors, torch.arange(m, dtype=torch.int32, device=device) % 4, dy, case.pool)


def run(block: ConvBlock, layer: Layer) -> dict[str, Tensor]:
    """Results of a block, forward and backward, by name."""
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in layer.tensors]
    y, mean, variance = block(*leaves, layer.codes, pool=layer.pool)
    present = [(name, leaf) for name, leaf in zip(NAMES, leaves, strict=True) if leaf is not None]
    gradients = torch.autograd.grad(y, [leaf for _, leaf in present], layer.dy)
    results = {f"d_{name}": g for (name, _), g in zip(present, gradients, strict=True)} | {"y": y.detach()}
    if mean is not None and variance is not None:
        assert not mean.requires_grad and not variance.requires_grad
        results |= {"mean": mean, "variance": variance}
    return results


def oracle_block(
    x: Tensor, kernel: Tensor, bias: Tensor, beta: Tensor | None, gamma: Tensor | None, codes: Tensor, *, pool: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The block, member by member, with the activation after the pool as in the blocks (exact; ties stay ties)."""
    ys, means, variances = [], [], []
    for i, code in enumerate(codes.tolist()):
        z = F.conv2d(x[i].permute(0, 3, 1, 2), kernel[i], bias[i], padding="same")
        if beta is not None and gamma is not None:
            means.append(z.detach().mean((0, 2, 3)))
            variances.append(z.detach().var((0, 2, 3), correction=0))
            z = F.batch_norm(z, None, None, gamma[i], beta[i], training=True, eps=1e-5)
        z = F.max_pool2d(z, 2) if pool else z
        ys.append(ACTIVATIONS[code](z).permute(0, 2, 3, 1))
    return torch.stack(ys), torch.stack(means) if means else None, torch.stack(variances) if means else None


def oracle(layer: Layer) -> dict[str, Tensor]:
    """Results in float64 on the CPU, from the same rounded inputs."""
    tensors = [None if t is None else t.double().cpu() for t in layer.tensors]
    return run(oracle_block, Layer(tensors, layer.codes.cpu(), layer.dy.double().cpu(), layer.pool))


def error(got: Tensor, expected: Tensor) -> float:
    """Norm of the difference over norm of what is expected; a NaN is an error of NaN, which no bound passes."""
    return ((got.cpu().double() - expected).norm() / expected.norm()).item()
