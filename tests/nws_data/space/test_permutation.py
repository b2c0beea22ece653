import pytest
import torch

from nws_data.errors import SelectionError
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import HyperParameters
from nws_data.space.network import load_network
from nws_data.space.permutation import permutation_spec, permute, random_permutations

ARCHITECTURES = [(5, 3, 3, 32, 128), (3, 5, 5, 16, 64), (7, 4, 4, 48, 192)]


def network_parts(fields, batch_norm):
    names = ("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc")
    hyperparameters = HyperParameters(
        dataset="digits", learning_rate=0.001, batch_size=32, augmentation=False, optimizer="adam", activation="elu",
        initialization="glorot_normal", batch_norm=batch_norm, **dict(zip(names, fields, strict=True)),
    )  # fmt: skip
    architecture = Architecture.of(hyperparameters)
    vector = torch.randn(architecture.n_weights, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.1
    for layer in architecture.layers:
        if layer.has_norm:
            vector[layer["variance"].slice] = vector[layer["variance"].slice].abs() + 0.5
    return hyperparameters, architecture, vector


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("fields", ARCHITECTURES)
def test_permuted_networks_compute_the_same_function(fields, batch_norm):
    hyperparameters, architecture, vector = network_parts(fields, batch_norm)
    permuted = permute(vector, architecture, random_permutations(architecture, 3))
    assert (permuted != vector).float().mean() > 0.9
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    before, after = (load_network(v.float(), hyperparameters).double()(images) for v in (vector, permuted))
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


def test_every_group_moves_the_whole_function_alone():
    hyperparameters, architecture, vector = network_parts(ARCHITECTURES[0], True)
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    before = load_network(vector.float(), hyperparameters).double()(images)
    for group in permutation_spec(architecture):
        permuted = permute(vector, architecture, {group.name: torch.arange(group.size).flip(0)})
        assert not torch.equal(permuted, vector)
        after = load_network(permuted.float(), hyperparameters).double()(images)
        torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


def test_inverse_and_batch():
    _, architecture, vector = network_parts(ARCHITECTURES[1], True)
    orders = random_permutations(architecture, 5)
    back = permute(permute(vector, architecture, orders), architecture, {k: v.argsort() for k, v in orders.items()})
    assert torch.equal(back, vector)
    batch = torch.stack([vector, 2 * vector])
    assert torch.equal(permute(batch, architecture, orders)[1], permute(2 * vector, architecture, orders))


def test_errors():
    _, architecture, vector = network_parts(ARCHITECTURES[0], True)
    with pytest.raises(SelectionError, match="must end in 92868"):
        permute(vector[1:], architecture, {})
    with pytest.raises(SelectionError, match=r"choose one of conv1, conv2, conv3, fc1, fc2$"):
        permute(vector, architecture, {"fc3": torch.arange(20)})
    with pytest.raises(SelectionError, match=r"permutation of 0\.\.7"):
        permute(vector, architecture, {"conv1": torch.zeros(8, dtype=torch.int64)})
