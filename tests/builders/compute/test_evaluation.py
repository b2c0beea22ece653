"""Evaluation by every backend of a CPU against the plain one-model oracle in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from builders.compute.backend import CPU_BACKENDS, implementation
from builders.plan.shape import Shape
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


Scorer = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


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


def scorer(backend: str, hp: HyperParameters, vector: torch.Tensor, precision: str = "float64") -> Scorer:
    training = implementation(backend)(Shape.of(hp), precision)
    training.load(vector, hp, 0)
    return training.scorer()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_equal_the_oracle(backend, name, batch_norm, channels):
    hp = hyperparameters(activation="elu", batch_norm=batch_norm, **ARCHITECTURES[name])
    vector, raw = trained_looking(hp), images(5, channels)
    expected = Oracle(hp, vector).forward(to_float(raw).double())
    torch.testing.assert_close(scorer(backend, hp, vector)(raw), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("activation", CLASSES["activation"])
def test_every_activation_equals_the_oracle(backend, activation):
    hp = hyperparameters(activation=activation)
    vector, raw = trained_looking(hp), images(5, 3)
    # Negative gammas too: the pool must come after the norm.
    gamma = Architecture.of(hp).layer("conv2")["gamma"].slice
    vector[gamma] *= torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4)
    expected = Oracle(hp, vector).forward(to_float(raw).double())
    torch.testing.assert_close(scorer(backend, hp, vector)(raw), expected, rtol=1e-9, atol=1e-9)


def test_float32_is_close(backend):
    hp = hyperparameters(activation="tanh")
    vector, raw = trained_looking(hp), images(20, 3)
    expected = Oracle(hp, vector).forward(to_float(raw).double())
    found = scorer(backend, hp, vector, "float32")(raw)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def accuracy(score: Scorer, raw: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor | None = None) -> float:
    rows = torch.arange(len(labels)) if rows is None else rows
    return float((score(raw[rows]).argmax(1) == labels[rows]).double().mean())


@pytest.mark.parametrize("n", [1, 128, 129, 300])
def test_accuracy_counts_what_the_oracle_gets_right(backend, n):
    hp = hyperparameters()
    vector, raw = trained_looking(hp), images(n, 1)
    predicted = Oracle(hp, vector).forward(to_float(raw).double()).argmax(1)
    labels = predicted.clone()
    labels[: n // 3] = (labels[: n // 3] + 1) % 20
    score = scorer(backend, hp, vector)
    assert accuracy(score, raw, labels) == (n - n // 3) / n
    assert accuracy(score, raw, labels.to(torch.uint8)) == (n - n // 3) / n
    assert accuracy(score, raw, labels, torch.arange(n // 3, n)) == 1
    if n > 3:
        assert accuracy(score, raw, labels, torch.arange(n // 3)) == 0


def test_a_constant_answer(backend):
    hp = hyperparameters(batch_norm=False)
    vector = torch.zeros(Architecture.of(hp).n_weights, dtype=torch.float64)
    vector[-20 + 3] = 1.0  # the output layer's bias stands last
    score = scorer(backend, hp, vector, "float32")
    labels = torch.tensor([3, 1, 3, 3, 9])
    assert accuracy(score, images(5, 1), labels) == 0.6
    assert accuracy(score, images(5, 1), labels, torch.tensor([1, 4, 0])) == pytest.approx(1 / 3)


def test_a_network_of_nan_still_has_an_accuracy(backend):
    hp = hyperparameters()
    vector = torch.full((Architecture.of(hp).n_weights,), float("nan"))
    score = scorer(backend, hp, vector, "float32")
    assert 0 <= accuracy(score, images(10, 1), torch.arange(10)) <= 1


def test_the_vector_is_left_as_it_was(backend):
    hp = hyperparameters()
    vector = trained_looking(hp).float()
    training = implementation(backend)(Shape.of(hp), "float32")
    training.load(vector, hp, 0)
    accuracy(training.scorer(), images(10, 1), torch.arange(10))
    assert torch.equal(training.vector, vector)
