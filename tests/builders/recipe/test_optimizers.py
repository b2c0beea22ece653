"""The fused update against TensorFlow's formulas, written one parameter at a time in plain floats."""

from __future__ import annotations

import math

import pytest
import torch

from builders.recipe.optimizers import OPTIMIZERS, FleetOptimizer, rate

# Ordinary, tiny (where Adam's epsilon decides), zero and changing signs: one list of gradients a parameter.
GRADIENTS = [
    [0.5, -0.25, 0.125, 0.75, -1.5, 0.3],
    [1e-9, -3e-9, 2e-9, 1e-9, 5e-10, -1e-9],
    [0.0, 0.0, 1e-5, 0.0, 0.0, 0.0],
    [100.0, 90.0, -80.0, 1e-4, 0.0, -3.0],
]
START = [0.1, -0.2, 0.3, 1.0]
STEPS_PER_EPOCH = 2


def adam(p: float, gradients: list[float], lr: float) -> list[float]:
    """tf.train.AdamOptimizer: epsilon joins the uncorrected root, both corrections stand in the rate."""
    m = v = 0.0
    path = []
    for t, g in enumerate(gradients, 1):
        m = m + (g - m) * (1 - 0.9)
        v = v + (g * g - v) * (1 - 0.999)
        lr_t = lr * 0.96 ** ((t - 1) // STEPS_PER_EPOCH) * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        p -= lr_t * m / (math.sqrt(v) + 1e-8)
        path.append(p)
    return path


def rmsprop(p: float, gradients: list[float], lr: float) -> list[float]:
    """tf.train.RMSPropOptimizer: the mean square starts at 1, epsilon 1e-10 inside the root."""
    mean_square = 1.0
    path = []
    for t, g in enumerate(gradients):
        mean_square = 0.9 * mean_square + 0.1 * g * g
        p -= lr * 0.96 ** (t // STEPS_PER_EPOCH) * g / math.sqrt(mean_square + 1e-10)
        path.append(p)
    return path


def momentum(p: float, gradients: list[float], lr: float) -> list[float]:
    """tf.train.MomentumOptimizer with 0.95, without Nesterov: the rate multiplies the whole accumulator."""
    accumulator = 0.0
    path = []
    for t, g in enumerate(gradients):
        accumulator = 0.95 * accumulator + g
        p -= lr * 0.96 ** (t // STEPS_PER_EPOCH) * accumulator
        path.append(p)
    return path


FORMULAS = {"adam": adam, "rmsprop": rmsprop, "momentum": momentum}


def run(optimizers: list[str], learning_rates: list[float], dtype: torch.dtype) -> torch.Tensor:
    """Train one slot for each optimizer on GRADIENTS; return values ``(steps, slots, parameters)``."""
    fleet = FleetOptimizer(len(optimizers), len(START), dtype)
    for slot, name in enumerate(optimizers):
        fleet.load(slot, name)
    vectors = torch.tensor(START, dtype=dtype).repeat(len(optimizers), 1)
    path = []
    for step in range(6):
        g = torch.tensor([values[step] for values in GRADIENTS], dtype=dtype).repeat(len(optimizers), 1)
        epoch = step // STEPS_PER_EPOCH
        rates = [rate(name, lr, epoch, step) for name, lr in zip(optimizers, learning_rates, strict=True)]
        fleet.update(vectors, g, torch.tensor(rates, dtype=dtype)[:, None])
        path.append(vectors.clone())
    return torch.stack(path)


def test_a_mixed_fleet_follows_tensorflows_formulas():
    names, learning_rates = ["momentum", "adam", "rmsprop", "adam"], [0.0003, 0.001, 0.002, 0.005]
    path = run(names, learning_rates, torch.float64)
    for slot, (name, lr) in enumerate(zip(names, learning_rates, strict=True)):
        for i, gradients in enumerate(GRADIENTS):
            expected = torch.tensor(FORMULAS[name](START[i], gradients, lr), dtype=torch.float64)
            # The steps themselves are compared, so that a tiny one counts as much as a large one.
            steps = torch.diff(path[:, slot, i], prepend=torch.tensor([START[i]], dtype=torch.float64))
            wanted = torch.diff(expected, prepend=torch.tensor([START[i]], dtype=torch.float64))
            torch.testing.assert_close(steps, wanted, rtol=1e-9, atol=1e-15)


def test_first_steps_worked_by_hand():
    path = run(["adam", "rmsprop", "momentum"], [0.001] * 3, torch.float64)
    moved = path[0] - torch.tensor(START, dtype=torch.float64)
    # Adam, g = 0.5: m = 0.05, sqrt(v) = 0.5 sqrt(0.001), rate = 0.001 sqrt(0.001) / 0.1: a step of 0.001, but for epsilon.
    assert moved[0, 0].item() == pytest.approx(-0.001, rel=1e-6)
    # g = 1e-9: m = 1e-10, sqrt(v) + eps = 3.162e-11 + 1e-8 = 1.003162e-8, rate = 3.162278e-4: 3.1523e-6, not 0.001.
    assert moved[0, 1].item() == pytest.approx(-3.15231e-6, rel=1e-4)
    # RMSProp, g = 0.5: mean square 0.9 + 0.025, so 0.0005 / sqrt(0.925).
    assert moved[1, 0].item() == pytest.approx(-0.0005 / 0.925**0.5, rel=1e-9)
    # Momentum, g = 0.5.
    assert moved[2, 0].item() == pytest.approx(-0.0005, rel=1e-12)


def test_rmsprops_epsilon_stands_inside_the_root():
    # After 300 steps without a gradient the mean square is 0.9^300 = 1.9e-14; then g = 1e-6 makes it 1.17e-13:
    # a step of 0.001 * 1e-6 / sqrt(1.17e-13 + 1e-10). Outside the root epsilon would give 2.9e-3, 30 times as much.
    fleet = FleetOptimizer(1, 1, torch.float64)
    fleet.load(0, "rmsprop")
    vector, rates = torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 0.001, dtype=torch.float64)
    for g in [0.0] * 300 + [1e-6]:
        fleet.update(vector, torch.full((1, 1), g, dtype=torch.float64), rates)
    assert vector.item() == pytest.approx(-0.001 * 1e-6 / math.sqrt(0.9**301 + 1e-13 + 1e-10), rel=1e-9)


def test_float32_is_close():
    names = list(OPTIMIZERS)
    learning_rates = [0.002] * 3
    double = run(names, learning_rates, torch.float64)
    torch.testing.assert_close(run(names, learning_rates, torch.float32).double(), double, rtol=1e-5, atol=1e-6)


def test_learning_rate_falls_after_each_epoch():
    for name in ("rmsprop", "momentum"):
        assert rate(name, 0.002, 0, 0) == 0.002
        assert rate(name, 0.002, 0, 500) == 0.002
        assert rate(name, 0.002, 1, 500) == pytest.approx(0.00192, rel=1e-12)
        assert rate(name, 0.002, 2, 500) == pytest.approx(0.0018432, rel=1e-12)
    # Adam's corrections: step 1 sqrt(0.001) / 0.1, and 1 after very many steps.
    assert rate("adam", 0.002, 0, 0) == pytest.approx(0.002 * 0.001**0.5 / 0.1, rel=1e-9)
    assert rate("adam", 0.002, 2, 10**6) == pytest.approx(0.0018432, rel=1e-12)


def state(fleet: FleetOptimizer, slot: int) -> list[torch.Tensor]:
    return [fleet.m[slot].clone(), fleet.v[slot].clone()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_load_overwrites_whatever_was_there(name):
    fleet, fresh = FleetOptimizer(2, 3, torch.float32), FleetOptimizer(2, 3, torch.float32)
    for slot in range(2):
        fleet.load(slot, "adam")
        fresh.load(slot, name)
    vectors, rates = torch.zeros(2, 3), torch.full((2, 1), 0.001)
    fleet.update(vectors, torch.full((2, 3), float("nan")), rates)
    assert fleet.m.isnan().all()
    fleet.load(1, name)
    assert all(torch.equal(a, b) for a, b in zip(state(fleet, 1), state(fresh, 1), strict=True))
    vectors = torch.zeros(2, 3)
    fleet.update(vectors, torch.ones(2, 3), rates)
    fresh_vectors = torch.zeros(2, 3)
    fresh.update(fresh_vectors, torch.ones(2, 3), rates)
    assert torch.equal(vectors[1], fresh_vectors[1]) and vectors[1].isfinite().all()


def test_huge_gradients_with_momentum_stay_finite():
    # 1e30 squared is infinite in float32, and zero times infinite no number.
    fleet = FleetOptimizer(1, 2, torch.float32)
    fleet.load(0, "momentum")
    vectors = torch.zeros(1, 2)
    for _ in range(3):
        fleet.update(vectors, torch.tensor([[1e30, -1e30]]), torch.tensor([[0.005]]))
    assert vectors.isfinite().all()
    # 1 + 1.95 + (1 + 1.95 * 0.95) = 5.8025
    assert vectors[0].tolist() == pytest.approx([-0.005 * 5.8025e30, 0.005 * 5.8025e30], rel=1e-6)


def test_a_zero_gradient_moves_nothing():
    fleet = FleetOptimizer(3, 2, torch.float32)
    for slot, name in enumerate(OPTIMIZERS):
        fleet.load(slot, name)
    vectors = torch.tensor([[1.0, -2.0]]).repeat(3, 1)
    fleet.update(vectors, torch.zeros(3, 2), torch.full((3, 1), 0.005))
    assert torch.equal(vectors, torch.tensor([[1.0, -2.0]]).repeat(3, 1))
