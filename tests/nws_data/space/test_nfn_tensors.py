"""Per-layer tensors for equivariant networks: the way back is exact, and permutations act on the axes they should."""

from __future__ import annotations

import pytest
import torch

from nws_data.errors import SelectionError
from nws_data.space.architecture import Architecture
from nws_data.space.nfn_tensors import from_nfn, to_nfn
from nws_data.space.permutation import permute, random_permutations

ARCHITECTURES = (Architecture(5, 3, 3, 32, 128), Architecture(3, 4, 4, 16, 64, batch_norm=False))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_way_back_is_exact(architecture: Architecture) -> None:
    vectors = torch.arange(2 * architecture.n_weights, dtype=torch.float64).view(2, -1)
    assert torch.equal(from_nfn(*to_nfn(vectors, architecture), architecture), vectors)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_permuted_networks_have_permuted_axes(architecture: Architecture) -> None:
    vectors = torch.arange(2 * architecture.n_weights, dtype=torch.float64).view(2, -1)
    orders = random_permutations(architecture, 7)
    weights, biases = to_nfn(vectors, architecture)
    moved_weights, moved_biases = to_nfn(permute(vectors, architecture, orders), architecture)
    inputs = torch.arange(3)
    for i, layer in enumerate(architecture.layers):
        outputs = orders.get(layer.name, torch.arange(layer.n_out))
        assert torch.equal(moved_weights[i], weights[i][:, :, outputs][:, :, :, inputs])
        assert torch.equal(moved_biases[i], biases[i][:, :, outputs])
        inputs = outputs


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(SelectionError, match=r"\(B, 92868\)"):
        to_nfn(torch.zeros(1, 5), ARCHITECTURES[0])


def test_tensors_of_another_architecture_are_refused() -> None:
    tensors = to_nfn(torch.zeros(1, ARCHITECTURES[0].n_weights), ARCHITECTURES[0])
    with pytest.raises(SelectionError, match="not the tensors of to_nfn"):
        from_nfn(*tensors, ARCHITECTURES[1])


def test_the_package_takes_them() -> None:
    from nfn.common import WeightSpaceFeatures, network_spec_from_wsfeat

    weights, biases = to_nfn(torch.zeros(2, ARCHITECTURES[0].n_weights), ARCHITECTURES[0])
    spec = network_spec_from_wsfeat(WeightSpaceFeatures(weights, biases))
    assert spec.get_io() == (3, 20) and [len(kernel.shape) for kernel in spec.weight_spec] == [4, 4, 4, 4, 2, 2]
