"""A step of the native path equals the plain one-model oracle, and its bits follow from the training alone."""

from __future__ import annotations

import itertools

import pytest
import torch

from builders.compute.evaluation import FoldedNetwork
from builders.compute.native.fleet import NativeFleet
from builders.compute.native.inference import NativeInference
from builders.compute.portable.fleet import Fleet
from builders.plan.fleet_shape import FleetShape
from builders.recipe.optimizers import rate
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters
from tests.builders.compute.portable.test_fleet import MIXED, batches, run_oracle, start
from tests.builders.conftest import SMALLEST, hyperparameters
from tests.pairs import all_pairs


def run(
    hp: HyperParameters, seed: int, steps: int, precision: str, break_ties: bool = False, kind=NativeFleet
) -> torch.Tensor:
    """Train one network; return its vector."""
    fleet = kind(FleetShape.of(hp), precision)
    fleet.load(0, start(hp, seed, break_ties), hp.optimizer)
    for t, (images, labels) in enumerate(batches(seed, steps, hp.batch_size)):
        fleet.step([images], [labels], [rate(hp.optimizer, hp.learning_rate, t // 2, t)], [seed], [t])
    return fleet.vectors[0].clone()


@pytest.mark.parametrize(
    ("optimizer", "activation", "initialization"),
    all_pairs(itertools.product(*(CLASSES[name] for name in ("optimizer", "activation", "initialization")))),
)
def test_float64_equals_the_oracle(optimizer, activation, initialization):
    hp = hyperparameters(optimizer=optimizer, activation=activation, initialization=initialization, learning_rate=0.003)
    expected = run_oracle(hp, 7, 4, break_ties=True)
    torch.testing.assert_close(run(hp, 7, 4, "float64", break_ties=True), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "changes",
    [MIXED, FIXED_ARCHITECTURE | {"batch_norm": False}, SMALLEST | {"batch_norm": False}]
    + [{"filter_size": f, "width_conv": w, "depth_conv": 5} for f in (3, 5, 7) for w in (16, 32, 48)],
)
def test_other_architectures_equal_the_oracle(changes):
    hp = hyperparameters(optimizer="momentum", activation="elu", initialization="glorot_normal", **changes)
    torch.testing.assert_close(run(hp, 3, 2, "float64"), run_oracle(hp, 3, 2), rtol=0, atol=1e-8)


@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-5), ("bfloat16", 0.1)])
@pytest.mark.parametrize("activation", CLASSES["activation"])
def test_rounding_is_that_of_the_precision(precision, bound, activation):
    hp = hyperparameters(optimizer="momentum", activation=activation, initialization="glorot_normal", **MIXED)
    exact, before = run_oracle(hp, 3, 1), start(hp, 3)
    step, error = (exact - before).norm(), (run(hp, 3, 1, precision) - exact).norm()
    assert 0 < error < bound * step
    portable = (run(hp, 3, 1, precision, kind=Fleet) - exact).norm()
    assert error < 3 * portable


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_bits_do_not_depend_on_slot_or_company(precision):
    members = [(hyperparameters(optimizer=name, activation="tanh"), i) for i, name in enumerate(CLASSES["optimizer"])]
    fleet = NativeFleet(FleetShape.of(members[0][0]), precision, slots=3)
    for slot, (hp, seed) in enumerate(members[::-1]):
        fleet.load(slot, start(hp, seed), hp.optimizer)
    data = [batches(seed, 3, 32) for _, seed in members[::-1]]
    for t in range(3):
        rates = [rate(hp.optimizer, hp.learning_rate, t // 2, t) for hp, _ in members[::-1]]
        fleet.step([d[t][0] for d in data], [d[t][1] for d in data], rates, [2, 1, 0], [t] * 3)
    fleet.move(2, 1)
    together = [fleet.vectors[1], fleet.vectors[0]]
    assert torch.equal(together[0], run(*members[0], 3, precision))
    assert torch.equal(together[1], run(*members[2], 3, precision))


@pytest.mark.parametrize("changes", [SMALLEST, MIXED, SMALLEST | {"batch_norm": False}])
@pytest.mark.parametrize("activation", CLASSES["activation"])
def test_inference_equals_the_portable_one(changes, activation):
    hp = hyperparameters(activation=activation, initialization="glorot_normal", **changes)
    vector = run(hp, 5, 2, "float32")
    images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    architecture = Architecture.of(hp)
    expected = FoldedNetwork(vector.double(), architecture, activation).logits(images)
    found = NativeInference(vector, architecture, activation).logits(images)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


KINDS = [*FIXED_ARCHITECTURE, "optimizer", "activation"]


@pytest.mark.slow
@pytest.mark.parametrize("case", all_pairs(itertools.product(*(CLASSES[name] for name in KINDS))), ids=str)
def test_every_kind_of_architecture_equals_the_oracle(case):
    hp = hyperparameters(**dict(zip(KINDS, case, strict=True)))
    torch.testing.assert_close(run(hp, 3, 2, "float64", True), run_oracle(hp, 3, 2, True), rtol=0, atol=1e-8)
