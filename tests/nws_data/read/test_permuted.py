"""Permutation augmentation as a view: the same functions, in orders that follow from seed, epoch and item."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

import nws_data
from nws_data.errors import SelectionError
from nws_data.read.sampler import EpochSampler
from nws_data.read.views import PermutedVectors
from nws_data.space.permutation import augment_permutations
from tests.conftest import TinyDataset


@pytest.fixture(scope="module")
def data(tiny_dataset: TinyDataset) -> nws_data.NWSDataset:
    return nws_data.open(tiny_dataset.root, "fixed").select(last=1, finite=True)


def test_items_are_those_of_the_plain_view_in_another_order(data: nws_data.NWSDataset) -> None:
    plain, view = nws_data.GlobalVectors(data, target="optimizer"), PermutedVectors(data, target="optimizer", seed=3)
    view.set_epoch(5)
    (architecture,), _ = data.architectures()
    weights, labels = view[:]
    assert torch.equal(labels, plain[:][1])
    assert torch.equal(weights, augment_permutations(plain[:][0], architecture, 3, 5, torch.arange(len(data))))
    assert torch.equal(view[2][0], weights[2]) and torch.equal(view[[3, 1]][0], weights[[3, 1]])
    assert torch.equal(weights.sort(1).values, plain[:][0].sort(1).values)


def test_a_sampler_moves_the_orders_on(data: nws_data.NWSDataset) -> None:
    view = PermutedVectors(data)
    sampler = EpochSampler(view, shuffle=False)
    loader = DataLoader(view, batch_size=100, sampler=sampler)
    epochs = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        epochs.append(next(iter(loader))[0])
    assert torch.equal(epochs[0], epochs[2]) and not torch.equal(epochs[0], epochs[1])


def test_several_architectures_are_refused(tiny_dataset: TinyDataset) -> None:
    data = nws_data.open(tiny_dataset.root, "random")
    with pytest.raises(SelectionError, match="vectors of this selection have"):
        PermutedVectors(data)
