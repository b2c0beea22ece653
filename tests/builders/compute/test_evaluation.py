"""Evaluation with folded norms against the plain one-model oracle in evaluation mode."""

from __future__ import annotations

import pytest
import torch

from builders.compute.evaluation import FoldedNetwork
from builders.recipe.augmentation import to_float
from builders.recipe.initialization import initial_vector
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters
from tests.builders.compute.oracle import Oracle
from tests.builders.conftest import planned

ARCHITECTURES = {
    "smallest": {},
    "fixed": FIXED_ARCHITECTURE,
    "deepest": {"filter_size": 7, "depth_conv": 5, "depth_fc": 5, "width_conv": 48, "width_fc": 192},
    "middle": {"filter_size": 5, "depth_conv": 4, "depth_fc": 4, "width_conv": 32, "width_fc": 128},
}


def hyperparameters(**changes) -> HyperParameters:
    return planned(0, **changes).hyperparameters


def trained_looking(hp: HyperParameters) -> torch.Tensor:
    """A float64 vector whose norms and biases are as far from their start as after training."""
    vector = initial_vector(hp, 3)
    generator = torch.Generator().manual_seed(1)
    for layer in Architecture.of(hp).layers:
        for tensor in layer.tensors:
            noise = torch.rand(tensor.stop - tensor.start, generator=generator, dtype=torch.float64)
            if tensor.kind == "variance":
                vector[tensor.slice] = 0.05 + 2 * noise
            elif tensor.kind != "kernel":
                vector[tensor.slice] += noise - 0.5
    return vector


def images(n: int, channels: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, channels, 32, 32), generator=torch.Generator().manual_seed(n)).to(torch.uint8)


def logits(hp: HyperParameters, vector: torch.Tensor, raw: torch.Tensor, dtype=torch.float64) -> torch.Tensor:
    return FoldedNetwork(vector.to(dtype), Architecture.of(hp), hp.activation).logits(raw)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_equal_the_oracle(name, batch_norm, channels):
    hp = hyperparameters(activation="elu", batch_norm=batch_norm, **ARCHITECTURES[name])
    vector, raw = trained_looking(hp), images(5, channels)
    expected = Oracle(hp, vector).forward(to_float(raw).double())
    torch.testing.assert_close(logits(hp, vector, raw), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("activation", CLASSES["activation"])
def test_every_activation_equals_the_oracle(activation):
    hp = hyperparameters(activation=activation)
    vector, raw = trained_looking(hp), images(5, 3)
    # Negative gammas too: the pool must come after the norm.
    gamma = Architecture.of(hp).layer("conv2")["gamma"].slice
    vector[gamma] *= torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4)
    expected = Oracle(hp, vector).forward(to_float(raw).double())
    torch.testing.assert_close(logits(hp, vector, raw), expected, rtol=1e-9, atol=1e-9)


def test_float32_is_close():
    hp = hyperparameters(activation="tanh")
    vector, raw = trained_looking(hp), images(20, 3)
    expected = Oracle(hp, vector).forward(to_float(raw).double())
    found = logits(hp, vector.float(), raw, torch.float32)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def accuracy(network: FoldedNetwork, raw: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor | None = None) -> float:
    rows = torch.arange(len(labels)) if rows is None else rows
    return float((network.logits(raw[rows]).argmax(1) == labels[rows]).double().mean())


@pytest.mark.parametrize("n", [1, 128, 129, 300])
def test_accuracy_counts_what_the_oracle_gets_right(n):
    hp = hyperparameters()
    vector, raw = trained_looking(hp), images(n, 1)
    predicted = Oracle(hp, vector).forward(to_float(raw).double()).argmax(1)
    labels = predicted.clone()
    labels[: n // 3] = (labels[: n // 3] + 1) % 20
    network = FoldedNetwork(vector, Architecture.of(hp), hp.activation)
    assert accuracy(network, raw, labels) == (n - n // 3) / n
    assert accuracy(network, raw, labels.to(torch.uint8)) == (n - n // 3) / n
    assert accuracy(network, raw, labels, torch.arange(n // 3, n)) == 1
    if n > 3:
        assert accuracy(network, raw, labels, torch.arange(n // 3)) == 0


def test_a_constant_answer():
    hp = hyperparameters(batch_norm=False)
    vector = torch.zeros(Architecture.of(hp).n_weights, dtype=torch.float64)
    vector[-20 + 3] = 1.0  # the output layer's bias stands last
    network = FoldedNetwork(vector.float(), Architecture.of(hp), hp.activation)
    labels = torch.tensor([3, 1, 3, 3, 9])
    assert accuracy(network, images(5, 1), labels) == 0.6
    assert accuracy(network, images(5, 1), labels, torch.tensor([1, 4, 0])) == pytest.approx(1 / 3)


def test_a_network_of_nan_still_has_an_accuracy():
    hp = hyperparameters()
    vector = torch.full((Architecture.of(hp).n_weights,), float("nan"))
    network = FoldedNetwork(vector.float(), Architecture.of(hp), hp.activation)
    assert 0 <= accuracy(network, images(10, 1), torch.arange(10)) <= 1


def test_the_vector_is_left_as_it_was():
    hp = hyperparameters()
    vector = trained_looking(hp).float()
    before = vector.clone()
    network = FoldedNetwork(vector.float(), Architecture.of(hp), hp.activation)
    accuracy(network, images(10, 1), torch.arange(10))
    assert torch.equal(vector, before)
