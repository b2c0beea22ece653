"""Permutation augmentation keeps the function, and is a function of (seed, epoch, item) alone."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from nws_data.errors import SelectionError
from nws_data.space.architecture import Architecture
from nws_data.space.network import Network, state_dict_from_vector
from nws_data.space.permutation import augment_permutations

ARCHITECTURE = Architecture(3, 4, 4, 16, 64)


def _vectors(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, ARCHITECTURE.n_weights, dtype=torch.float64, generator=generator) * 0.1


def test_augmented_networks_compute_the_same_function() -> None:
    vectors, network = _vectors(2), Network(ARCHITECTURE, "tanh").double().eval()
    moved = augment_permutations(vectors, ARCHITECTURE, 1, 0, torch.arange(2))
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for before, after in zip(vectors, moved, strict=True):
        outputs = [functional_call(network, state_dict_from_vector(v, ARCHITECTURE), images) for v in (before, after)]
        assert not torch.equal(before, after)
        torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-12)


def test_the_order_depends_on_seed_epoch_and_item_alone() -> None:
    vectors, items = _vectors(1).repeat(3, 1), torch.tensor([4, 9, 7])
    moved = augment_permutations(vectors, ARCHITECTURE, 1, 2, items)
    assert torch.equal(moved[1:2], augment_permutations(vectors[1:2], ARCHITECTURE, 1, 2, items[1:2]))
    for other in (
        moved[0],
        *(augment_permutations(vectors[:1], ARCHITECTURE, s, e, items[1:2])[0] for s, e in ((2, 2), (1, 3))),
    ):
        assert not torch.equal(moved[1], other)


def test_one_row_an_item() -> None:
    with pytest.raises(SelectionError, match="one row an item"):
        augment_permutations(_vectors(2), ARCHITECTURE, 0, 0, torch.arange(3))
