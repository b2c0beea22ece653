"""The four initialisers against scipy's distributions, layer by layer, and the values that are never drawn."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from builders.recipe.initialization import initial_vector
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters
from tests.builders.conftest import hyperparameters

SEED = 2**62 + 12345


def fixed(initialization: str, **changes) -> HyperParameters:
    return hyperparameters(initialization=initialization, **(FIXED_ARCHITECTURE | changes))


FIXED = Architecture.of(fixed("constant"))
# Fans from the text: channels times filter area, or units.
FANS = {
    "conv1": (75, 200),
    "conv2": (200, 400),
    "conv3": (400, 800),
    "fc1": (512, 128),
    "fc2": (128, 64),
    "fc3": (64, 20),
}


def kernels(initialization: str, seed: int = SEED) -> dict[str, torch.Tensor]:
    vector = initial_vector(fixed(initialization), seed)
    return {layer.name: vector[layer["kernel"].slice] for layer in FIXED.layers}


@pytest.mark.parametrize("initialization", CLASSES["initialization"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_what_is_not_a_kernel(initialization, batch_norm):
    hp = fixed(initialization, batch_norm=batch_norm)
    vector = initial_vector(hp, SEED)
    assert vector.dtype == torch.float64 and vector.shape == (Architecture.of(hp).n_weights,)
    assert vector.isfinite().all()
    for layer in Architecture.of(hp).layers:
        for tensor in layer.tensors:
            value = vector[tensor.slice]
            if tensor.kind in ("bias", "beta", "mean"):
                assert (value == 0).all()
            elif tensor.kind == "variance":
                assert (value == 1).all()
            elif tensor.kind == "gamma":
                assert len(value.unique()) == len(value) and (value - 1).abs().max() < 0.01


def test_gamma_is_normal_about_one():
    gammas = []
    for seed in range(20):
        vector = initial_vector(fixed("constant"), seed)
        gammas += [vector[layer["gamma"].slice] for layer in FIXED.layers if layer.has_norm]
    drawn = torch.cat(gammas).numpy()
    assert len(drawn) == 20 * 248
    assert stats.kstest(drawn, stats.norm(1, 0.002).cdf).pvalue > 1e-3


def test_constant():
    for values in kernels("constant").values():
        assert (values == 0.1).all()


@pytest.mark.parametrize("name", FANS)
def test_random_normal(name):
    values = kernels("random_normal")[name]
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3
    assert values.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * len(values)))


@pytest.mark.parametrize("name", FANS)
def test_glorot_uniform(name):
    limit = math.sqrt(6 / sum(FANS[name]))
    values = kernels("glorot_uniform")[name]
    assert values.abs().max() < limit
    assert values.max() > 0.98 * limit and values.min() < -0.98 * limit
    assert stats.kstest(values.numpy(), stats.uniform(-limit, 2 * limit).cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", FANS)
def test_glorot_normal_is_truncated_at_two_sigma(name):
    sigma = math.sqrt(2 / sum(FANS[name]))
    values = kernels("glorot_normal")[name]
    assert values.abs().max() < 2 * sigma
    assert values.abs().max() > 1.9 * sigma
    assert stats.kstest(values.numpy(), stats.truncnorm(-2, 2, scale=sigma).cdf).pvalue > 1e-3


def test_glorot_normal_has_no_correction_of_its_spread():
    # A normal truncated at two sigma has 0.8796 of its standard deviation; TensorFlow up to about 1.7 left it so.
    values = kernels("glorot_normal")["fc1"]
    assert values.std().item() == pytest.approx(0.8796 * math.sqrt(2 / 640), rel=0.01)


@pytest.mark.parametrize("initialization", CLASSES["initialization"])
def test_deterministic_in_the_seed(initialization):
    hp = fixed(initialization)
    assert torch.equal(initial_vector(hp, SEED), initial_vector(hp, SEED))
    assert not torch.equal(initial_vector(hp, SEED), initial_vector(hp, SEED + 1))


def test_gammas_do_not_depend_on_the_initialisation():
    gamma = FIXED.layer("fc1")["gamma"].slice
    drawn = [initial_vector(fixed(name), SEED)[gamma] for name in CLASSES["initialization"]]
    assert all(torch.equal(drawn[0], other) for other in drawn[1:])


def test_neighbours_are_uncorrelated():
    values = kernels("random_normal")["fc1"]
    for lag in (1, 2, 3, 4, 512):
        assert abs(torch.corrcoef(torch.stack([values[:-lag], values[lag:]]))[0, 1]) < 4 / math.sqrt(len(values))


@pytest.mark.parametrize("initialization", CLASSES["initialization"])
def test_every_architecture_can_start(initialization):
    hp = fixed(initialization, filter_size=7, depth_conv=5, depth_fc=5, width_conv=48, width_fc=192)
    vector = initial_vector(hp, 0)
    assert len(vector) == 388_172 and vector.isfinite().all()
