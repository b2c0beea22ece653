"""Orders are functions of (seed, epoch), and windows follow the epoch."""

from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset, random_split

import nws_data
from nws_data.errors import ArgumentError, SelectionError
from nws_data.read.sampler import EpochSampler


@pytest.fixture
def view(tiny_dataset: Any) -> nws_data.RandomWindows:
    return nws_data.RandomWindows(nws_data.open(tiny_dataset.root, "random").select(last=3), 50, target="optimizer")


def test_every_epoch_draws_each_item_once_in_a_new_order(view):
    sampler = EpochSampler(view, seed=4)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert view.epoch == epoch
    assert all(sorted(order) == list(range(len(view))) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    again = EpochSampler(view, seed=4)
    again.set_epoch(1)
    assert list(again) == orders[1] and list(EpochSampler(view, seed=5)) != orders[0]


def test_without_shuffling_the_order_is_the_view_s(view):
    assert list(EpochSampler(view, shuffle=False)) == list(range(len(view)))


def test_in_a_loader_the_windows_follow(view):
    sampler = EpochSampler(view, shuffle=False)
    loader = DataLoader(view, batch_size=16, sampler=sampler)
    seen = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        seen.append(torch.cat([weights for weights, _ in loader]))
    assert torch.equal(seen[0].nan_to_num(), seen[2].nan_to_num())
    assert not torch.equal(seen[0].nan_to_num(), seen[1].nan_to_num())


def test_the_windows_of_parts_and_joined_views_follow(view):
    other = nws_data.RandomWindows(view.data, 50, seed=1)
    fixed = nws_data.FixedWindows(view.data, 50, target="optimizer")
    part = random_split(ConcatDataset([view, Subset(other, range(9)), fixed]), [0.8, 0.2])[0]
    sampler = EpochSampler(part)
    sampler.set_epoch(3)
    assert (view.epoch, other.epoch) == (3, 3)
    assert sorted(sampler) == list(range(len(part)))
    assert EpochSampler(fixed).view is fixed
    with pytest.raises(SelectionError, match="takes a view, or a Subset or ConcatDataset of them, got TensorDataset"):
        EpochSampler(TensorDataset(view.labels))


def test_odd_arguments_are_refused(view):
    assert repr(EpochSampler(view, seed=3)) == f"EpochSampler({view!r}, seed=3, shuffle=True, epoch=0)"
    with pytest.raises(ArgumentError, match="seed must be in"):
        EpochSampler(view, seed=-1)
    with pytest.raises(ArgumentError, match="epoch must be in"):
        EpochSampler(view).set_epoch(2**32)
