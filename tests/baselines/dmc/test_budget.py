"""Budgets and the sampler that takes snapshots in turn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import nws_data
from baselines.dmc.budget import BUDGETS, RotatingSampler
from nws_data.errors import ArgumentError


@pytest.fixture
def view(tiny_dataset):
    data = nws_data.open(tiny_dataset.root, "random", split="train").select(last=3)
    return nws_data.RandomWindows(data, length=100, target="optimizer")


def test_the_papers_budget():
    paper = BUDGETS["paper"]
    assert (paper.epochs(92_868), paper.epochs(5_000), paper.snapshots_per_epoch, paper.batch_size) == (100, 500, 0, 64)


def test_every_training_shows_its_snapshots_in_turn(view):
    sampler = RotatingSampler(view, seed=3)
    trainings = view.data["training"]
    seen: Counter[int] = Counter()
    for epoch in range(3):
        sampler.set_epoch(epoch)
        items = list(sampler)
        assert len(items) == len(sampler) == len(np.unique(trainings)) == len(set(trainings[items]))
        seen.update(items)
    assert seen == Counter(range(len(view)))
    assert view.epoch == 2


def test_order_follows_from_seed_and_epoch(view):
    def order(seed: int, epoch: int) -> list[int]:
        sampler = RotatingSampler(view, seed, per_training=2)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 4) == order(1, 4)
    assert order(1, 4) != order(2, 4) and sorted(order(1, 4)) == sorted(order(2, 4))
    assert len(order(1, 4)) == 2 * len(view) // 3


def test_more_than_there_are_is_all(view):
    assert sorted(RotatingSampler(view, 0, per_training=9)) == list(range(len(view)))
    with pytest.raises(ArgumentError, match="snapshots_per_epoch must be at least 1, got 0"):
        RotatingSampler(view, 0, per_training=0)
