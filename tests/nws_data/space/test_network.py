"""The live network against a numpy/scipy computation, and vector to state_dict and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import signal, special

from nws_data.errors import FormatError
from nws_data.space.architecture import Architecture, all_architectures
from nws_data.space.hyperparameters import FIXED_ARCHITECTURE, HyperParameters
from nws_data.space.network import build_network, load_network, state_dict_from_vector, state_names

BASE = HyperParameters(
    dataset="mnist",
    learning_rate=0.001,
    batch_size=32,
    augmentation=False,
    optimizer="adam",
    activation="relu",
    initialization="glorot_uniform",
    **FIXED_ARCHITECTURE,
)
SMALL = replace(BASE, filter_size=3, depth_conv=4, depth_fc=4, width_conv=16, width_fc=64)
VARIANTS = [BASE, SMALL, replace(BASE, filter_size=7, depth_conv=5, depth_fc=5, width_conv=48, width_fc=192)]
VARIANTS += [replace(variant, batch_norm=False) for variant in VARIANTS]


def some_vector(hyperparameters: HyperParameters, seed: int = 0) -> np.ndarray:
    """Random weights whose variances are positive and whose activations stay moderate."""
    architecture, rng = Architecture.of(hyperparameters), np.random.default_rng(seed)
    vector = rng.normal(0, 0.3, architecture.n_weights).astype(np.float32)
    for layer in architecture.layers:
        if layer.has_norm:
            vector[layer["variance"].slice] = rng.uniform(0.5, 2, layer.n_out)
    return vector


NUMPY_ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "sigmoid": special.expit,
    "tanh": np.tanh,
}


def numpy_forward(image: np.ndarray, vector: np.ndarray, hyperparameters: HyperParameters) -> np.ndarray:
    """Algorithm 1 for one float64 image (3, 32, 32), straight from the vector."""
    activation, position, x = NUMPY_ACTIVATIONS[hyperparameters.activation], 0, image

    def take(*shape: int) -> np.ndarray:
        nonlocal position
        position += int(np.prod(shape))
        return vector[position - int(np.prod(shape)) : position].astype(np.float64).reshape(shape)

    def norm(x: np.ndarray) -> np.ndarray:
        if not hyperparameters.batch_norm:
            return x
        beta, gamma, mean, variance = (take(len(x)).reshape(-1, *[1] * (x.ndim - 1)) for _ in range(4))
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    w, f = hyperparameters.width_conv // 4, hyperparameters.filter_size
    for channels, pool in {4: [(w, True), (2 * w, True), (4 * w, False), (4 * w, True)]}[hyperparameters.depth_conv]:
        kernel, bias = take(channels, len(x), f, f), take(channels)
        sums = [sum(signal.correlate2d(x[i], k[i], "same") for i in range(len(x))) for k in kernel]
        x = activation(norm(np.array(sums) + bias[:, None, None]))
        if pool:
            x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).max(axis=(2, 4))
    x = np.array([x[c, i, j] for i in range(4) for j in range(4) for c in range(len(x))])  # height, width, channel
    for i in range(hyperparameters.depth_fc - 1):
        units = hyperparameters.width_fc // 2**i
        kernel, bias = take(units, len(x)), take(units)
        x = norm(activation(kernel @ x + bias))
    kernel, bias = take(20, len(x)), take(20)
    assert position == len(vector)
    return kernel @ x + bias


@pytest.mark.parametrize("activation", NUMPY_ACTIVATIONS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_forward_is_algorithm_1(activation: str, batch_norm: bool) -> None:
    hyperparameters = replace(SMALL, activation=activation, batch_norm=batch_norm)
    vector = some_vector(hyperparameters)
    image = np.random.default_rng(1).random((3, 32, 32))
    network = load_network(vector, hyperparameters).double()
    logits = network(torch.from_numpy(image)[None])[0].detach().numpy()
    assert logits.shape == (20,)
    np.testing.assert_allclose(logits, numpy_forward(image, vector, hyperparameters), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("hyperparameters", VARIANTS)
def test_vector_to_state_dict_and_back_is_exact(hyperparameters: HyperParameters) -> None:
    vector, architecture = some_vector(hyperparameters), Architecture.of(hyperparameters)
    network = load_network(vector, hyperparameters)
    assert not network.training
    for state in (network.state_dict(), state_dict_from_vector(vector, architecture)):
        values = torch.cat([state[name].flatten() for name, _ in state_names(architecture)])
        assert torch.equal(values, torch.from_numpy(vector))
        assert len(values) == sum(value.numel() for name, value in state.items() if not name.endswith("num_batches_tracked"))


@pytest.mark.parametrize("hyperparameters", VARIANTS)
def test_parameters_are_all_values_but_running_statistics(hyperparameters: HyperParameters) -> None:
    network = build_network(hyperparameters)
    running = sum(2 * layer.n_out for layer in network.architecture.layers if layer.has_norm)
    assert sum(p.numel() for p in network.parameters()) == network.architecture.n_weights - running
    assert network.training


def test_every_architecture_of_table_1_loads_strictly() -> None:
    for architecture in all_architectures():
        fields = {name: getattr(architecture, name) for name in FIXED_ARCHITECTURE}
        names = dict(build_network(replace(BASE, **fields)).named_parameters())
        state = state_dict_from_vector(torch.zeros(architecture.n_weights), architecture)
        assert names.keys() <= state.keys() and all(state[name].shape == p.shape for name, p in names.items())


def test_names_and_places() -> None:
    vector = np.arange(92868, dtype=np.float32)
    state = state_dict_from_vector(vector, Architecture.of(BASE))
    assert list(state)[:6] == [f"conv1.{n}" for n in ("weight", "bias")] + [
        f"conv1_norm.{n}" for n in ("bias", "weight", "running_mean", "running_var")
    ]
    assert state["conv1.weight"][1, 2, 3, 4] == 75 + 2 * 25 + 3 * 5 + 4
    assert state["conv1_norm.running_var"].tolist() == [float(8 * 75 + 4 * 8 + i) for i in range(8)]
    assert state["fc1.weight"][1, 0] == 16880 + 512 and list(state)[-2:] == ["fc3.weight", "fc3.bias"]


def test_first_fc_layer_reads_height_width_channel() -> None:
    """A unit that reads input (i, j, c) alone follows that pixel of that channel."""
    network = build_network(replace(SMALL, batch_norm=False)).eval()
    features = torch.rand(1, 16, 4, 4)
    seen = []
    network.fc1.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network.conv4.register_forward_hook(
        lambda module, inputs, output: features.repeat_interleave(2, 2).repeat_interleave(2, 3)
    )
    network(torch.rand(1, 3, 32, 32))
    assert seen[0][0, (2 * 4 + 3) * 16 + 5] == features[0, 5, 2, 3]


def test_dropout_and_batch_statistics_act_in_training_alone() -> None:
    network = load_network(some_vector(SMALL), SMALL)
    images = torch.rand(8, 3, 32, 32)
    assert torch.equal(network(images), network(images))
    torch.testing.assert_close(network(images)[:1], network(images[:1]), rtol=1e-4, atol=1e-5)
    before = network.conv1_norm.running_mean.clone()
    network.train()
    assert not torch.equal(network(images), network(images))
    batch_mean = network.conv1(images).mean(dim=(0, 2, 3))
    expected = 0.81 * before + 0.19 * batch_mean  # two batches with decay 0.9
    torch.testing.assert_close(network.conv1_norm.running_mean, expected.detach())


def test_gradients_reach_the_vector() -> None:
    vector = torch.from_numpy(some_vector(SMALL)).requires_grad_()
    network = build_network(SMALL).eval()
    state = state_dict_from_vector(vector, network.architecture)
    torch.func.functional_call(network, state, (torch.rand(2, 3, 32, 32),)).sum().backward()
    assert vector.grad is not None and vector.grad[: network.architecture.n_weights_conv].abs().sum() > 0


@pytest.mark.parametrize(
    "vector", [np.zeros(92867, np.float32), np.zeros((1, 92868), np.float32), np.zeros(92868, np.int64)]
)
def test_wrong_vectors_are_refused(vector: np.ndarray) -> None:
    with pytest.raises(FormatError, match=r"has shape \(92868,\) and a floating type, got"):
        load_network(vector, BASE)
