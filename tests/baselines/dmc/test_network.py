"""The network against a plain Conv1d one in float64, and its draws."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.dmc.layers import DMCLayers
from baselines.dmc.network import DMCNetwork, ReLUBatchNorm
from nws_data.batch_norm import batch_norm
from tests.baselines.dmc.test_layers import n_values

LENGTH = 100


@pytest.fixture
def network() -> DMCNetwork:
    return DMCNetwork(DMCLayers.of(LENGTH, 3), seed=5).double()


@pytest.fixture(scope="module")
def drawn() -> DMCNetwork:
    """As it is made, never to be changed: seven million values take a second."""
    return DMCNetwork(DMCLayers.of(LENGTH, 3), seed=1)


def plain(network: DMCNetwork, x: Tensor, masks: list[Tensor] | None) -> Tensor:
    """The same network written down with Conv1d, sums for the norms and the batch's statistics."""
    x = x[:, None, :]
    for layer, convolution, norm in zip(
        network.layers.convolutions, network.convolutions, network.convolution_norms, strict=True
    ):
        x = F.relu(F.conv1d(x, convolution.weight[:, :, 0], convolution.bias, padding=2))
        mean, variance = x.mean((0, 2), keepdim=True), x.var((0, 2), keepdim=True, correction=0)
        x = (x - mean) / (variance + 1e-5).sqrt() * norm.weight[:, None] + norm.bias[:, None]
        x = torch.stack([x[..., 0 : x.shape[2] // 2 * 2 : 2], x[..., 1::2]]).amax(0) if layer.pool else x
    x = x.flatten(1)
    for number, norm in enumerate(network.matrix_norms):
        x = F.relu(x @ network.matrices[number].weight.T + network.matrices[number].bias)
        x = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt() * norm.weight + norm.bias
        x = x if masks is None else x * masks[number]
    return x @ network.matrices[-1].weight.T + network.matrices[-1].bias


def test_forward_and_gradients_are_those_of_a_plain_network(network):
    x = torch.randn(4, LENGTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for norm in [*network.convolution_norms, *network.matrix_norms]:  # a negative factor tells pool and norm apart
        norm.weight.data.uniform_(-1, 1, generator=torch.Generator().manual_seed(2))
    masks = [mask.double() for mask in network._masks(4, torch.device("cpu"))]
    parameters = list(network.parameters())
    expected = plain(network, x, masks)
    gradients = torch.autograd.grad(expected.square().sum(), parameters)
    got = network(x)
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)
    largest = max(gradient.abs().max().item() for gradient in gradients)
    for ours, theirs in zip(torch.autograd.grad(got.square().sum(), parameters), gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9 * largest)


def test_evaluation_uses_running_statistics_unless_told(network):
    x = torch.randn(4, LENGTH, dtype=torch.float64)
    network(x)
    network.eval()
    torch.testing.assert_close(network(x)[:1], network(x[:1]))  # no companions
    before = {name: value.clone() for name, value in network.state_dict().items()}
    told = DMCNetwork(network.layers, batch_statistics=True).double().eval()
    told.load_state_dict(network.state_dict())
    torch.testing.assert_close(told(x), plain(network, x, None), rtol=1e-8, atol=1e-10)
    assert all(torch.equal(value, before[name]) for name, value in told.state_dict().items())


def test_values_are_those_the_paper_counts(drawn):
    assert sum(value.numel() for value in drawn.state_dict().values()) == n_values(drawn.layers)


def test_running_variance_is_biased():
    norm, x = ReLUBatchNorm(2), torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    norm(x)
    np.testing.assert_allclose(norm.running_mean, [0.2, 0.5])
    np.testing.assert_allclose(norm.running_var, [0.9 + 0.1 * 1.0, 0.9])  # the unbiased variance would be 2


def test_initial_weights_are_truncated_glorot_normals(drawn):
    weight = drawn.matrices[1].weight
    sigma = (2 / 2048) ** 0.5
    assert weight.abs().max() <= 2 * sigma and weight.abs().max() > 1.99 * sigma
    assert weight.std().item() == pytest.approx(0.8796 * sigma, rel=0.01)  # a normal cut at two sigma
    kernel = drawn.convolutions[-1].weight
    sigma = (2 / (5 * 256 + 5 * 256)) ** 0.5
    assert kernel.std().item() == pytest.approx(0.8796 * sigma, rel=0.01)
    assert all(not module.bias.any() for module in [*drawn.convolutions, *drawn.matrices])


@pytest.mark.slow
def test_draws_follow_from_seed_and_step_alone(drawn):
    def masks(network: DMCNetwork, step: int) -> Tensor:
        network.step = step
        return torch.cat(network._masks(64, torch.device("cpu")), dim=1)

    state = torch.random.get_rng_state()
    first, again, other = copy.copy(drawn), *(DMCNetwork(DMCLayers.of(LENGTH, 3), seed) for seed in (1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.matrices[0].weight, other.matrices[0].weight)
    got = masks(first, 7)
    assert torch.equal(masks(again, 7), got)
    assert not torch.equal(masks(first, 8), got) and not torch.equal(masks(other, 7), got)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert got.shape == (64, 4 * 1024 + 64) and set(got.unique().tolist()) == {0, 2}
    assert got.double().mean().item() == pytest.approx(1, abs=0.01)


def test_asinh_of_the_inputs(drawn) -> None:
    """The same network on weights that went through asinh by hand; odd, increasing, linear near 0."""
    weights = torch.randn(4, LENGTH) * torch.logspace(-3, 3, LENGTH)
    raw, tamed = copy.deepcopy(drawn).eval(), DMCNetwork(drawn.layers, seed=1, inputs="asinh").eval()
    assert torch.equal(tamed(weights), raw((20 * weights).asinh()))
    assert not torch.equal(tamed(weights), raw(weights))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "length", "inputs", "bound"),
    [
        (8, 2_500, "raw", 1e-3),
        (8, 2_500, "asinh", 1e-3),
        pytest.param(16, 5_000, "raw", 1e-3, marks=pytest.mark.long),
        pytest.param(16, 5_000, "asinh", 1e-3, marks=pytest.mark.long),
        pytest.param(4, 92_868, "raw", 0.01, marks=pytest.mark.long),
    ],
)
def test_gradients_of_a_float32_step_are_those_of_float64(n, length, inputs, bound, monkeypatch):
    """On values as far apart as real ones. With PyTorch's norm the median is off by 0.01 at 2,500, by 0.05 at 5,000 and by
    2 at 92,868; of every fifth gradient, which is enough for a median.

    The ReLUs of the float64 step pass what those of the float32 step pass: a value that rounds to the other side of 0 is a
    step of the loss's gradient, not an error of the arithmetic. There are few of them. Norms over only four values amplify
    what is rounded before them. Left alone, the float64 step is within 0.02, which leaves room for one such unit.
    """
    generator = torch.Generator().manual_seed(0)
    weights = 0.1 * torch.randn(n, length, generator=generator)
    weights[torch.rand(n, length, generator=generator) < 0.01] *= 1000
    network = DMCNetwork(DMCLayers.of(length, 3), 0, inputs)
    sides: list[Tensor] = []
    others = []

    def noted(x, *rest, relu):
        sides.append(x > 0)
        return batch_norm(x, *rest, relu=relu)

    def on_the_same_side(x, *rest, relu):
        passed = sides.pop(0)
        others.append(((x > 0) != passed).double().mean())
        return batch_norm(x * passed, *rest, relu=False)

    gradients = []
    for copied, x, norm in (
        (network, weights, noted),
        (copy.deepcopy(network).double(), weights.double(), on_the_same_side),
        (copy.deepcopy(network).double(), weights.double(), batch_norm),
    ):
        monkeypatch.setattr("baselines.dmc.network.batch_norm", norm)
        loss = F.cross_entropy(copied(x), torch.arange(n) % 3)
        found = torch.autograd.grad(loss, list(copied.parameters()))
        gradients.append(torch.cat([gradient.flatten()[::5].double() for gradient in found]))
    ours, *others_exact = gradients
    for exact, most in zip(others_exact, (bound, 0.02), strict=True):
        kept = exact != 0
        assert ((ours - exact)[kept] / exact[kept]).abs().median() < most
        assert F.cosine_similarity(ours, exact, dim=0) > 0.999
    assert len(others) == len(network.convolution_norms) + len(network.matrix_norms) and max(others) < 1e-3


def test_factors_of_the_norms_start_as_in_the_authors_scripts(drawn):
    factors = torch.cat([norm.weight.detach() for norm in [*drawn.convolution_norms, *drawn.matrix_norms]])
    assert factors.mean().item() == pytest.approx(1, abs=1e-4)
    assert factors.std().item() == pytest.approx(0.002, rel=0.05)
