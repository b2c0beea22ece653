"""A step of every backend of a CPU equals the plain one-model oracle, and its bits follow from the training alone."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
import torch

from builders.compute.backend import CPU_BACKENDS, implementation
from builders.plan.shape import Shape
from builders.recipe.augmentation import to_float
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import rate
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters
from tests.builders.compute.oracle import Oracle, dropout_mask
from tests.builders.conftest import SMALLEST, hyperparameters
from tests.pairs import all_pairs

MIXED = {"filter_size": 5, "depth_conv": 5, "depth_fc": 4, "width_conv": 48, "width_fc": 128}


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def start(hp: HyperParameters, seed: int, break_ties: bool = False) -> torch.Tensor:
    """The initial vector; with equal kernels and ReLU, max-pool windows tie exactly, and which cell gets the gradient
    is rounding: the oracle then differs from itself when it sums its channels backwards. A jitter of 1e-7 breaks them."""
    vector = initial_vector(hp, seed)
    if break_ties:
        vector += 1e-7 * torch.randn(len(vector), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vector


def batches(seed: int, steps: int, batch_size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randint(0, 256, (batch_size, 3, 32, 32), generator=generator, dtype=torch.uint8),
            torch.randint(0, 10, (batch_size,), generator=generator),
        )
        for _ in range(steps)
    ]


def run(
    backend: str, hp: HyperParameters, seed: int, steps: int, precision: str, break_ties: bool = False, training=None
) -> torch.Tensor:
    """Train one network; return its vector."""
    training = training or implementation(backend)(Shape.of(hp), precision)
    training.load(start(hp, seed, break_ties), hp, seed)
    for t, (images, labels) in enumerate(batches(seed, steps, hp.batch_size)):
        training.step(images, labels, t, rate(hp.optimizer, hp.learning_rate, t // 2, t))
    return training.vector.clone()


@cache  # for both backends
def run_oracle(hp: HyperParameters, seed: int, steps: int, break_ties: bool = False) -> torch.Tensor:
    oracle = Oracle(hp, start(hp, seed, break_ties))
    units = sum(hp.width_fc // 2**i for i in range(hp.depth_fc - 1))
    for t, (images, labels) in enumerate(batches(seed, steps, hp.batch_size)):
        oracle.step(to_float(images).double(), labels, dropout_mask(seed, t, hp.batch_size, units), t // 2)
    return oracle.vector()


@pytest.mark.parametrize(
    ("optimizer", "activation", "initialization"),
    all_pairs(itertools.product(*(CLASSES[name] for name in ("optimizer", "activation", "initialization")))),
)
def test_float64_equals_the_oracle(backend, optimizer, activation, initialization):
    hp = hyperparameters(optimizer=optimizer, activation=activation, initialization=initialization, learning_rate=0.003)
    expected = run_oracle(hp, 7, 4, break_ties=True)
    torch.testing.assert_close(run(backend, hp, 7, 4, "float64", break_ties=True), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("changes", [MIXED, FIXED_ARCHITECTURE | {"batch_norm": False}, SMALLEST | {"batch_norm": False}])
def test_other_architectures_equal_the_oracle(backend, changes):
    hp = hyperparameters(optimizer="momentum", activation="elu", initialization="glorot_normal", **changes)
    torch.testing.assert_close(run(backend, hp, 3, 2, "float64"), run_oracle(hp, 3, 2), rtol=0, atol=1e-8)


# Autograd's sums in float32 round more than those of kernels.c, up to five times 1e-5 here.
@pytest.mark.parametrize(("precision", "bound", "plain_bound"), [("float32", 1e-5, 1e-4), ("bfloat16", 0.1, 0.1)])
@pytest.mark.parametrize("activation", CLASSES["activation"])
def test_rounding_is_that_of_the_precision(precision, bound, plain_bound, activation):
    hp = hyperparameters(optimizer="momentum", activation=activation, initialization="glorot_normal", **MIXED)
    exact, before = run_oracle(hp, 3, 1), start(hp, 3)
    step = (exact - before).norm()
    native, plain = ((run(name, hp, 3, 1, precision) - exact).norm() for name in ("native", "plain"))
    assert 0 < native < bound * step and 0 < plain < plain_bound * step
    assert native < 3 * plain


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_bits_do_not_depend_on_what_was_trained_before(backend, precision):
    members = [(hyperparameters(optimizer=name, activation="tanh"), i) for i, name in enumerate(CLASSES["optimizer"])]
    members[1] = hyperparameters(optimizer="rmsprop", augmentation=True), 1
    training = implementation(backend)(Shape.of(members[0][0]), precision)
    after = [run(backend, hp, seed, 3, precision, training=training) for hp, seed in members]
    for vector, (hp, seed) in zip(after, members, strict=True):
        assert torch.equal(vector, run(backend, hp, seed, 3, precision))


@pytest.mark.parametrize("changes", [SMALLEST, MIXED, SMALLEST | {"batch_norm": False}])
@pytest.mark.parametrize("activation", CLASSES["activation"])
def test_inference_equals_the_oracle(backend, changes, activation):
    hp = hyperparameters(activation=activation, initialization="glorot_normal", **changes)
    training = implementation(backend)(Shape.of(hp), "float32")
    vector = run(backend, hp, 5, 2, "float32", training=training)
    images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = Oracle(hp, vector.double()).forward(to_float(images).double())
    found = training.scorer()(images)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


KINDS = [*FIXED_ARCHITECTURE, "optimizer", "activation"]


@pytest.mark.slow
@pytest.mark.parametrize("case", all_pairs(itertools.product(*(CLASSES[name] for name in KINDS))), ids=str)
def test_every_kind_of_architecture_equals_the_oracle(backend, case):
    hp = hyperparameters(**dict(zip(KINDS, case, strict=True)))
    torch.testing.assert_close(run(backend, hp, 3, 2, "float64", True), run_oracle(hp, 3, 2, True), rtol=0, atol=1e-8)
